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

export interface QueueParts {
  /** Messages kept for a client that takes none. */
  readonly limit: number;
  readonly onEnd: (queue: EventQueue) => void;
  /** A message was dropped. */
  readonly onLost?: () => void;
}

/**
 * An iterator of stream messages. What a slow client does not take is dropped beyond `limit`, counted, and told when it
 * takes again.
 */
export class EventQueue implements AsyncIterableIterator<string> {
  private readonly waiting: string[] = [];
  private readonly lost: Record<LostEvents['where'], number> = { client: 0, 'packet path': 0 };
  private ended = false;
  private taker: ((result: Taken) => void) | undefined;
  private takenAt = performance.now();

  constructor(private readonly parts: QueueParts) {}

  push(message: string): void {
    if (this.ended) return;
    if (this.taker) this.give(message);
    else if (this.waiting.length < this.parts.limit) this.waiting.push(message);
    else {
      this.lost.client++;
      this.parts.onLost?.();
    }
  }

  /** Events the packet path had no room for: told with what is taken next, however much waits. */
  lose(events: number): void {
    this.lost['packet path'] += events;
    if (this.taker) this.give(this.takeLosses());
  }

  /** Milliseconds for which something has been waiting for the client. */
  stalledFor(): number {
    return this.waiting.length === 0 ? 0 : performance.now() - this.takenAt;
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
      this.parts.onEnd(this);
    }
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Everything that waits in one piece: a client that is behind catches up with few writes. */
  private take(): string | undefined {
    this.takenAt = performance.now();
    const messages = this.waiting.splice(0).join('') + this.takeLosses();
    return messages === '' ? undefined : messages;
  }

  private takeLosses(): string {
    return (['packet path', 'client'] as const)
      .map((where) => {
        const events = this.lost[where];
        this.lost[where] = 0;
        return events > 0 ? formatMessage('lost', { events, where } satisfies LostEvents) : '';
      })
      .join('');
  }

  private give(message: string): void {
    const taker = this.taker;
    this.taker = undefined;
    taker?.({ done: false, value: message });
  }
}
