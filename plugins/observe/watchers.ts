/**
 * Clients that watch packets. The packet path tells of packets only while there is one, and of no more than all of them
 * together want; the rest is sorted out here. Without a client nothing runs: no ring is read and no timer is set.
 */
import type { DataPlane, MapSlice, RingReader } from '@loxilb/sdk';
import { tooManyWatchers } from './errors.js';
import { EventQueue, formatMessage } from './event-queue.js';
import { bootTimeNow, decodeEvent, describeEvent } from './events.js';
import type { Labels } from './labels.js';
import { type DpEvent, type DpObserve, DpObserveKinds } from './layout.gen.js';
import { EVENT_RING } from './maps.js';
import type { EventKind, LostEvents } from './model.js';
import { kindOf } from './reasons.js';

const KIND_BITS: Readonly<Record<EventKind, number>> = {
  drop: DpObserveKinds.DP_OBSERVE_DROPS,
  pass: DpObserveKinds.DP_OBSERVE_PASSES,
  event: DpObserveKinds.DP_OBSERVE_EVENTS,
};

/** How often losses are told and silent connections are kept alive, while there are clients. */
const ROUND_MS = 5_000;
/** A client that takes nothing for so long is as good as gone, and the packet path would go on telling for it. */
const STALL_MS = 300_000;
const NOBODY: DpObserve = { kinds: 0, sample: 0, serviceId: 0, lost: 0 };

/** What a client wants to see. */
export interface WatchFilter {
  readonly kinds: readonly EventKind[];
  readonly serviceId?: number | undefined;
  /** One of so many events. */
  readonly sample: number;
}

interface Watcher {
  readonly filter: WatchFilter;
  readonly queue: EventQueue;
  /** Of the clock the packet path stamps events with: what is older was in the ring before. */
  readonly since: bigint;
}

export interface WatcherParts {
  readonly dataplane: Pick<DataPlane, 'ring'>;
  readonly observe: MapSlice<number, DpObserve>;
  readonly labels: Pick<Labels, 'service' | 'endpoint' | 'interface'>;
  readonly maxWatchers: number;
  readonly queueEvents: number;
  /** For tests; a number from 0 to below 1. */
  readonly random?: () => number;
}

export class Watchers {
  private readonly watchers = new Map<EventQueue, Watcher>();
  private ring: RingReader | undefined;
  private timer: NodeJS.Timeout | undefined;
  private bootTime = 0n;
  private lostSeen = 0;
  private sampled = 1;
  private readonly lost: Record<LostEvents['where'], number> = { client: 0, 'packet path': 0 };
  private readonly random: () => number;

  constructor(private readonly parts: WatcherParts) {
    this.random = parts.random ?? Math.random;
  }

  get count(): number {
    return this.watchers.size;
  }

  /** Events nobody was shown, since the start: of the packet path once, of clients each. */
  get losses(): Readonly<Record<LostEvents['where'], number>> {
    return this.lost;
  }

  /** An earlier daemon may have been killed while somebody watched. */
  reset(): void {
    const present = this.parts.observe.get(0);
    if (present?.kinds) this.parts.observe.set(0, NOBODY);
  }

  /** The client's stream, which begins at once. Throws `OBSERVE_WATCHERS`. */
  add(filter: WatchFilter): EventQueue {
    const { maxWatchers, queueEvents } = this.parts;
    if (this.watchers.size >= maxWatchers) throw tooManyWatchers(maxWatchers);
    const queue = new EventQueue({
      limit: queueEvents,
      onEnd: (ended) => this.remove(ended),
      onLost: () => this.lost.client++,
    });
    this.watchers.set(queue, { filter, queue, since: process.hrtime.bigint() });
    try {
      this.refresh();
    } catch (error) {
      void queue.return();
      throw error;
    }
    const { kinds, sample } = filter;
    queue.push(formatMessage('open', { kinds, sample }));
    return queue;
  }

  stop(): void {
    for (const queue of [...this.watchers.keys()]) void queue.return();
  }

  private remove(queue: EventQueue): void {
    if (this.watchers.delete(queue)) this.refresh();
  }

  /** Makes the packet path tell what is wanted now. Reading begins before it tells, and ends after. */
  private refresh(): void {
    const { dataplane, observe } = this.parts;
    const filters = [...this.watchers.values()].map(({ filter }) => filter);
    if (filters.length > 0 && !this.ring) {
      this.bootTime = bootTimeNow();
      this.lostSeen = observe.get(0)?.lost ?? 0;
      this.ring = dataplane.ring(EVENT_RING, (record) => this.take(record));
      this.timer = setInterval(() => this.round(), ROUND_MS);
    }
    const lost = observe.get(0)?.lost ?? 0;
    if (filters.length === 0 && this.ring) this.countLost();
    observe.set(0, filters.length > 0 ? { ...mergeFilters(filters), lost } : NOBODY);
    this.sampled = mergedSample(filters);
    if (filters.length > 0) return;
    clearInterval(this.timer);
    this.ring?.close();
    this.ring = undefined;
  }

  private take(record: Uint8Array): void {
    const event = decodeEvent(record);
    if (!event) return;
    // Once for all who want it.
    let message: string | undefined;
    for (const { filter, queue, since } of this.watchers.values()) {
      if (event.time < since || !this.wants(filter, event)) continue;
      message ??= formatMessage('packet', describeEvent(event, this.parts.labels, this.bootTime));
      queue.push(message);
    }
  }

  private wants({ kinds, serviceId, sample }: WatchFilter, event: DpEvent): boolean {
    if (!kinds.includes(kindOf(event.reason))) return false;
    if (serviceId !== undefined && event.serviceId !== serviceId) return false;
    // The packet path has already left out what nobody wants.
    return sample <= this.sampled || this.random() * sample < this.sampled;
  }

  /** Events the packet path had no room for since this was asked last. */
  private countLost(): number {
    const lost = this.parts.observe.get(0)?.lost ?? 0;
    const events = (lost - this.lostSeen) >>> 0;
    this.lostSeen = lost;
    this.lost['packet path'] += events;
    return events;
  }

  private round(): void {
    const events = this.countLost();
    for (const queue of [...this.watchers.keys()]) {
      if (queue.stalledFor() > STALL_MS) void queue.return();
      else if (events > 0) queue.lose(events);
      else queue.keepAlive();
    }
  }
}

/** No more than everybody together wants. */
export function mergeFilters(filters: readonly WatchFilter[]): Omit<DpObserve, 'lost'> {
  const kinds = filters.flatMap((filter) => filter.kinds).reduce((bits, kind) => bits | KIND_BITS[kind], 0);
  const [first] = filters;
  const same = filters.every(({ serviceId }) => serviceId === first?.serviceId);
  return { kinds, sample: mergedSample(filters), serviceId: (same && first?.serviceId) || 0 };
}

function mergedSample(filters: readonly WatchFilter[]): number {
  return Math.min(...filters.map(({ sample }) => sample));
}
