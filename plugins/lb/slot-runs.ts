import type { MapSlice } from '@loxilb/sdk';
import { lbError } from './errors.js';
import type { LbSlot } from './layout.gen.js';
import { SlotAllocator } from './slot-allocator.js';

export interface SlotRun {
  readonly base: number;
  readonly count: number;
}

/** A packet that read the old run may still be looking at it. It needs microseconds; the rest is for a busy CPU. */
const GRACE_MS = 50;

/** Runs of slots: written whole before a service points at them, given free some time after it no longer does. */
export class SlotRuns {
  private readonly allocator: SlotAllocator;
  private readonly retired: { readonly run: SlotRun; readonly freeAt: number }[] = [];

  constructor(
    private readonly map: MapSlice<number, LbSlot>,
    private readonly now: () => number = Date.now,
  ) {
    this.allocator = new SlotAllocator(map.spec.maxEntries);
  }

  get available(): number {
    return this.allocator.available;
  }

  /** Throws `LB_SLOTS_FULL`. */
  allocate(count: number): SlotRun {
    this.releaseDue();
    const base = this.allocator.allocate(count);
    if (base !== undefined) return { base, count };
    throw lbError('LB_SLOTS_FULL', `no room for ${count} selection slots, ${this.allocator.available} are free`, {
      value: count,
      remedy: 'raise maxSlots of the lb plugin, or use selection rr where hash is not needed',
    });
  }

  reserve(run: SlotRun): boolean {
    return this.allocator.reserve(run.base, run.count);
  }

  /** For a run no service points at, and none has for a while. */
  discard(run: SlotRun): void {
    this.clear([run]);
    this.allocator.release(run.base, run.count);
  }

  retire(run: SlotRun): void {
    if (run.count > 0) this.retired.push({ run, freeAt: this.now() + GRACE_MS });
  }

  /** Before the end: nothing of old runs is left in the map. */
  async drain(): Promise<void> {
    const last = this.retired.at(-1);
    if (last === undefined) return;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, last.freeAt - this.now())));
    this.releaseDue();
  }

  write(runs: readonly (readonly [SlotRun, readonly number[]])[]): void {
    const entries: [number, LbSlot][] = [];
    for (const [run, ids] of runs)
      for (const [index, endpointId] of ids.entries()) entries.push([run.base + index, { endpointId }]);
    if (entries.length > 0) this.map.setMany(entries);
  }

  /** Gives retired runs free whose time has come. */
  releaseDue(): void {
    const now = this.now();
    let due = 0;
    while (due < this.retired.length && (this.retired[due]?.freeAt ?? 0) <= now) due++;
    if (due === 0) return;
    const runs = this.retired.slice(0, due).map(({ run }) => run);
    this.clear(runs);
    this.retired.splice(0, due);
    for (const run of runs) this.allocator.release(run.base, run.count);
  }

  private clear(runs: readonly SlotRun[]): void {
    const slots = runs.flatMap(({ base, count }) => Array.from({ length: count }, (_, index) => base + index));
    if (slots.length > 0) this.map.deleteMany(slots);
  }
}
