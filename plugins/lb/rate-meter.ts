/** Readings closer together than this say the same: a rate of less time would be noise. */
const SHORTEST_MS = 1_000;
/** A reading older than this says nothing about now. */
const LONGEST_MS = 300_000;

interface Reading {
  readonly count: number;
  readonly at: number;
  readonly rate: number | undefined;
}

/**
 * Rates of counters, from one reading to the next. Nobody who asks costs nothing; who asks gets the average of the time
 * since somebody asked before.
 */
export class RateMeter {
  private readonly readings = new Map<number, Reading>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Per second; undefined when there is nothing to compare with. */
  read(id: number, count: number): number | undefined {
    const at = this.now();
    const before = this.readings.get(id);
    if (before !== undefined && at - before.at < SHORTEST_MS) return before.rate;
    const rate = before === undefined ? undefined : rateOf(before, count, at);
    this.readings.set(id, { count, at, rate });
    return rate;
  }

  /** The id will be somebody else's. */
  forget(ids: readonly number[]): void {
    for (const id of ids) this.readings.delete(id);
  }
}

function rateOf(before: Reading, count: number, at: number): number | undefined {
  const elapsed = at - before.at;
  if (elapsed > LONGEST_MS || count < before.count) return undefined;
  return Math.round(((count - before.count) * 100_000) / elapsed) / 100;
}
