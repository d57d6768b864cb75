/**
 * Coalesces changes: listeners hear of a first change at once, and of those that follow at most every 50 ms, less often
 * when they take long: with ten thousand addresses, looking at all of them for each that is added would never end.
 */
import type { Logger, NetworkChange } from '@loxilb/sdk';

const MIN_INTERVAL_MS = 50;
/** Listeners get at most one part in this many of the time. */
const SHARE = 5;

type Listener = (kinds: ReadonlySet<NetworkChange>) => void;

export class ChangeNotifier {
  private readonly listeners = new Set<Listener>();
  private readonly before = new Set<() => void>();
  private pending = new Set<NetworkChange>();
  private timer: NodeJS.Timeout | undefined;
  private notBefore = 0;

  constructor(private readonly log: Logger) {}

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** `prepare` runs once before the listeners are told, however often it is asked for with one function. */
  report(kind: NetworkChange, prepare?: () => void): void {
    this.pending.add(kind);
    if (prepare) this.before.add(prepare);
    this.timer ??= setTimeout(() => this.flush(), Math.max(0, this.notBefore - performance.now())).unref();
  }

  close(): void {
    clearTimeout(this.timer);
    this.listeners.clear();
  }

  private flush(): void {
    const started = performance.now();
    for (const prepare of this.before) this.guard(prepare);
    this.before.clear();
    const kinds = this.pending;
    this.pending = new Set();
    this.timer = undefined;
    this.notBefore = started + MIN_INTERVAL_MS;
    for (const listener of this.listeners) this.guard(() => listener(kinds));
    const ended = performance.now();
    this.notBefore = Math.max(this.notBefore, ended + (ended - started) * (SHARE - 1));
  }

  /** One listener's failure is not the others'. */
  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.log.error({ err: error }, 'handling a network change failed');
    }
  }
}
