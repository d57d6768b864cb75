import type { Logger } from '@loxilb/sdk';
import { entriesLeft, type PassResult } from './pass.js';

export interface PassSchedulerOptions {
  /** `cut`: flows of endpoints marked to be cut end too. */
  run(cut: boolean): Promise<PassResult>;
  /** Flows created since the maps were made. */
  flowsCreated(): bigint;
  readonly intervalMs: number;
  readonly log: Logger;
}

/** A pass of 200 ms runs at most every 4 s: 5 % of one CPU. */
const REST_PER_WORK = 20;
/**
 * The first empty pass may have missed a flow that went from one table to the other. Where there has never been a flow,
 * one pass says enough: flows are counted after they are in a table, so one that it missed is counted later.
 */
const EMPTY_PASSES_TO_REST = 2;

/**
 * Decides when expiry passes run: at an interval, on request, and not at all while there is nothing to expire. One at
 * a time.
 */
export class PassScheduler {
  readonly #options: PassSchedulerOptions;
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  #last: PassResult | undefined;
  #createdAtLast: bigint | undefined;
  #emptyPasses = 0;
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
    this.#createdAtLast ??= this.#options.flowsCreated();
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

  #begin(): Promise<void> {
    if (this.#isStopped || this.#hasNothingToDo()) return Promise.resolve();
    this.#running = this.#pass().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #pass(): Promise<void> {
    const created = this.#options.flowsCreated();
    const cut = this.#cutsNext;
    this.#cutsNext = false;
    const result = await this.#options.run(cut);
    const isQuiet = entriesLeft(result) === 0 && created === this.#createdAtLast;
    this.#emptyPasses = isQuiet ? this.#emptyPasses + 1 : 0;
    this.#createdAtLast = created;
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
    const enough = this.#createdAtLast === 0n ? 1 : EMPTY_PASSES_TO_REST;
    return this.#emptyPasses >= enough && this.#options.flowsCreated() === this.#createdAtLast;
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#tick(), delayMs);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      await this.request();
    } catch (error) {
      this.#options.log.error({ err: error }, 'expiry pass failed');
    }
    this.#schedule(Math.max(this.#options.intervalMs, REST_PER_WORK * (this.#last?.durationMs ?? 0)));
  }
}
