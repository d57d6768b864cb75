import type { Logger } from '@loxilb/sdk';
import { entriesLeft, type PassResult } from './pass.js';

export interface PassSchedulerOptions {
  /** `cut`: flows of endpoints marked to be cut end too. */
  run(cut: boolean): Promise<PassResult>;
  /** Grows whenever a flow began, moved, ended, or is to end sooner than a pass before could know. Cheap to ask. */
  activity(): bigint;
  readonly intervalMs: number;
  readonly log: Logger;
}

/** A pass of 200 ms runs at most every 4 s: 5 % of one CPU. */
const REST_PER_WORK = 20;
/** However late the first flow is to end. What nobody foresaw is put right by then, for 20 ms of an idle machine. */
const LONGEST_REST_MS = 60_000;

/**
 * Decides when expiry passes run: on request; at an interval while flows come and go; otherwise when the first of the
 * flows the last pass left is over; and not at all while there is none. One at a time.
 */
export class PassScheduler {
  readonly #options: PassSchedulerOptions;
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  #last: PassResult | undefined;
  /** When the last pass began: what it did itself, and what it may have missed therefore, is news for the next. */
  #activityAtLast: bigint | undefined;
  #dueAt = 0;
  #isHastened = false;
  #cutsNext = false;
  #isStopped = false;

  constructor(options: PassSchedulerOptions) {
    this.#options = options;
  }

  /** What the last pass found, undefined before the first. */
  get last(): PassResult | undefined {
    return this.#last;
  }

  start(): void {
    this.#schedule(this.#options.intervalMs);
  }

  /** Resolves when a running pass is over. No pass starts afterwards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running?.catch(() => {});
  }

  onPass(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves after a whole pass that began after this call; callers who ask meanwhile share it. Returns at once when
   * there is no flow at all.
   */
  request(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting;
    if (this.#running === undefined) return this.#begin();
    this.#waiting = this.#running
      .catch(() => {})
      .then(() => {
        this.#waiting = undefined;
        return this.#begin();
      });
    return this.#waiting;
  }

  /** The same, of a pass that also ends the flows of endpoints marked before this call. */
  requestCut(): Promise<void> {
    this.#cutsNext = true;
    return this.request();
  }

  /** Flows may be over sooner than the last pass found: the next one is not put off. */
  hasten(): void {
    this.#isHastened = true;
  }

  #begin(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    if (this.#hasNothingToDo()) {
      this.#cutsNext = false;
      return Promise.resolve();
    }
    this.#running = this.#pass().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #pass(): Promise<void> {
    const activity = this.#options.activity();
    const start = performance.now();
    const cut = this.#cutsNext;
    this.#cutsNext = false;
    this.#isHastened = false;
    this.#dueAt = 0;
    const result = await this.#options.run(cut);
    this.#dueAt = start + (entriesLeft(result) === 0 ? Infinity : Math.min(result.restMs, LONGEST_REST_MS));
    this.#activityAtLast = activity;
    this.#last = result;
    for (const listener of this.#listeners) this.#notify(listener);
  }

  #notify(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#options.log.error({ err: error }, 'listener of the expiry pass failed');
    }
  }

  #hasNothingToDo(): boolean {
    return this.#dueAt === Infinity && !this.#hasNews();
  }

  /** Flows are counted after they are in a table, so one that a pass missed is counted later. */
  #hasNews(): boolean {
    return this.#options.activity() !== this.#activityAtLast;
  }

  #isDue(): boolean {
    return this.#isHastened || performance.now() >= this.#dueAt || this.#hasNews();
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#tick(), delayMs);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      if (this.#isDue()) await this.request();
    } catch (error) {
      this.#options.log.error({ err: error }, 'expiry pass failed');
    }
    this.#schedule(Math.max(this.#options.intervalMs, REST_PER_WORK * (this.#last?.durationMs ?? 0)));
  }
}
