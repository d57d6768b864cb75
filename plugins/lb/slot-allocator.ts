/**
 * Runs of consecutive slots, handed out by the buddy method: a run takes the next power of two, starts at a multiple of
 * it, and two free halves become one again. Where a run lies follows from the pinned maps after a restart, so nothing
 * of this needs to be stored.
 */
export class SlotAllocator {
  /** Free blocks of 2^order slots, by their first slot. */
  private readonly free: Set<number>[];

  constructor(readonly capacity: number) {
    this.free = Array.from({ length: 32 - Math.clz32(capacity) }, () => new Set<number>());
    let base = 0;
    for (let order = this.free.length - 1; order >= 0; order--) {
      if ((capacity & (1 << order)) === 0) continue;
      this.blocks(order).add(base);
      base += 1 << order;
    }
  }

  /** First slot of a run of `count`, undefined when there is no room. No slots need no room. */
  allocate(count: number): number | undefined {
    if (count === 0) return 0;
    const wanted = orderOf(count);
    let order = wanted;
    while (order < this.free.length && this.blocks(order).size === 0) order++;
    if (order >= this.free.length) return undefined;
    const base = this.blocks(order).values().next().value as number;
    return this.carve(base, order, base, wanted);
  }

  /** Takes the very run `base`, `count`. False when it is not one this allocator could have given, or is taken. */
  reserve(base: number, count: number): boolean {
    if (count === 0) return true;
    const wanted = orderOf(count);
    if (base % 2 ** wanted !== 0) return false;
    for (let order = wanted; order < this.free.length; order++) {
      const block = base - (base % 2 ** order);
      if (!this.blocks(order).has(block)) continue;
      this.carve(block, order, base, wanted);
      return true;
    }
    return false;
  }

  release(base: number, count: number): void {
    if (count === 0) return;
    let start = base;
    let order = orderOf(count);
    for (; order < this.free.length - 1; order++) {
      const buddy = start ^ (1 << order);
      if (!this.blocks(order).delete(buddy)) break;
      start = Math.min(start, buddy);
    }
    this.blocks(order).add(start);
  }

  /** Free slots, for tests and metrics. */
  get available(): number {
    return this.free.reduce((sum, blocks, order) => sum + blocks.size * 2 ** order, 0);
  }

  /** Splits the free block `block` down to the block of order `wanted` at `target` and takes that. */
  private carve(block: number, order: number, target: number, wanted: number): number {
    this.blocks(order).delete(block);
    let start = block;
    for (let half = order - 1; half >= wanted; half--) {
      const upper = start + 2 ** half;
      const inUpper = target >= upper;
      this.blocks(half).add(inUpper ? start : upper);
      if (inUpper) start = upper;
    }
    return target;
  }

  private blocks(order: number): Set<number> {
    return this.free[order] as Set<number>;
  }
}

function orderOf(count: number): number {
  return 32 - Math.clz32(count - 1);
}
