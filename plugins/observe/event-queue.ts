/** What waits for one client: bounded, and ended from either side. */
import type { LostEvents } from './model.js';

/** A message of the stream: `event: <name>`, `data: <JSON>` (HTML, server-sent events). */
export function formatMessage(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Keeps proxies and the client from taking silence for the end. */
export const KEEP_ALIVE = ': alive\n\n';

type Taken = IteratorResult<string, undefined>;
const DONE: Taken = { done: true, value: undefined };

/**
 * An iterator of stream messages. What a slow client does not take is dropped beyond `limit`, counted, and told when it
 * takes again.
 */
export class EventQueue implements AsyncIterableIterator<string> {
  private readonly waiting: string[] = [];
  private lost = 0;
  private ended = false;
  private taker: ((result: Taken) => void) | undefined;

  constructor(
    private readonly limit: number,
    private readonly onEnd: (queue: EventQueue) => void,
  ) {}

  push(message: string): void {
    if (this.ended) return;
    if (this.taker) this.give(message);
    else if (this.waiting.length < this.limit) this.waiting.push(message);
    else this.lost++;
  }

  /** Only for a client that waits: for others it is no news. */
  keepAlive(): void {
    if (this.taker) this.give(KEEP_ALIVE);
  }

  next(): Promise<Taken> {
    const message = this.take();
    if (message !== undefined) return Promise.resolve({ done: false, value: message });
    if (this.ended) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.taker = resolve;
    });
  }

  /** The client has gone, or is to go. */
  return(): Promise<Taken> {
    if (!this.ended) {
      this.ended = true;
      this.waiting.length = 0;
      this.taker?.(DONE);
      this.taker = undefined;
      this.onEnd(this);
    }
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Everything that waits in one piece: a client that is behind catches up with few writes. */
  private take(): string | undefined {
    if (this.waiting.length === 0) return undefined;
    const messages = this.waiting.splice(0).join('');
    const lost: LostEvents = { events: this.lost, where: 'client' };
    this.lost = 0;
    return lost.events > 0 ? messages + formatMessage('lost', lost) : messages;
  }

  private give(message: string): void {
    const taker = this.taker;
    this.taker = undefined;
    taker?.({ done: false, value: message });
  }
}
