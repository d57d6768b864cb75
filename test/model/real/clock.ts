/**
 * Time of the daemon's code in the hands of the test: timers, Date and performance stand still until `run` moves them.
 * setImmediate and promises are real.
 */
interface Timer {
  readonly due: number;
  readonly order: number;
  readonly call: () => void;
}

/** When every list begins. */
export const START_MS = 1_800_000_000_000;

export class Clock {
  private now = START_MS;
  private order = 0;
  private readonly timers = new Map<number, Timer>();
  private readonly real = { setTimeout, clearTimeout, dateNow: Date.now, performanceNow: performance.now };

  /** Every time the same moment. */
  install(): void {
    this.now = START_MS;
    const set = (call: (...given: unknown[]) => void, ms = 0, ...given: unknown[]) =>
      this.set(() => call(...given), ms);
    Object.assign(globalThis, { setTimeout: set, clearTimeout: (handle: unknown) => this.clear(handle) });
    Date.now = () => this.now;
    performance.now = () => this.now - START_MS;
  }

  uninstall(): void {
    const { dateNow, performanceNow, ...timers } = this.real;
    Object.assign(globalThis, timers);
    Date.now = dateNow;
    performance.now = performanceNow;
  }

  /** Timers of a process that is gone. */
  forget(): void {
    this.timers.clear();
  }

  /** As on a machine that was asleep: what is due fires once, late. */
  jump(ms: number): void {
    this.now += ms;
  }

  /** Lets so much time go by, with everything that is due in it. */
  async run(ms: number): Promise<void> {
    const end = this.now + ms;
    await turn();
    for (let next = this.first(end); next; next = this.first(end)) {
      const [id, timer] = next;
      this.timers.delete(id);
      this.now = Math.max(this.now, timer.due);
      timer.call();
      await turn();
    }
    this.now = end;
  }

  private first(end: number): [number, Timer] | undefined {
    let first: [number, Timer] | undefined;
    for (const entry of this.timers) if (entry[1].due <= end && (!first || isBefore(entry[1], first[1]))) first = entry;
    return first;
  }

  private set(call: () => void, ms: number): object {
    const order = ++this.order;
    this.timers.set(order, { due: this.now + Math.max(0, ms), order, call });
    const handle = { id: order, ref: () => handle, unref: () => handle, hasRef: () => false };
    return handle;
  }

  private clear(handle: unknown): void {
    if (typeof handle === 'object' && handle !== null && 'id' in handle) this.timers.delete(Number(handle.id));
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.due < other.due || (one.due === other.due && one.order < other.order);
}

/** What promises and setImmediate have under way. */
async function turn(): Promise<void> {
  for (let round = 0; round < 2; round++) await new Promise((resolve) => setImmediate(resolve));
}
