import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { RawSender } from '@loxilb/sdk';
import { CtResetReason } from './layout.gen.js';
import { isOneWay, reasonOf, resetToClient, resetToEndpoint } from './reset-packet.js';

/** What became of the resets, since the start. */
export interface ResetCounts {
  /** Flows that ended while they were open, by why. */
  readonly flows: { idle: number; cut: number };
  readonly sent: { client: number; endpoint: number };
  readonly failed: { client: number; endpoint: number };
  /** Endpoints of DSR flows: nobody here knows what they expect. */
  oneWay: number;
  /** Flows nobody was told of, because too many ended at once. */
  lost: number;
}

type Side = keyof ResetCounts['sent'];

/** Longest time resets hold the event loop at one go. */
const SLICE_MS = 8;
/** Resets between two looks at the clock. */
const STEP = 16;
const BUSY_WAIT_MS = 10;
/** After this many waits for the device a reset is given up, so that the ones behind it get their turn. */
const BUSY_WAITS = 10;
/** Flows waiting, some 20 MB. A ring full is a third of it. */
const QUEUE_LIMIT = 131_072;
const FORGET_AT = 8192;

/**
 * Tells both ends of flows that were ended while they were open. Events come in bursts - a failed endpoint may have had
 * ten thousands of flows - and are worked off in slices.
 */
export class ResetSender {
  readonly counts: ResetCounts = {
    flows: { idle: 0, cut: 0 },
    sent: { client: 0, endpoint: 0 },
    failed: { client: 0, endpoint: 0 },
    oneWay: 0,
    lost: 0,
  };
  #queue: Uint8Array[] = [];
  #next = 0;
  /** The endpoint's reset of the flow at `#next` is still to be sent. */
  #clientDone = false;
  #work: Promise<void> | undefined;

  constructor(
    private readonly sender: RawSender,
    private readonly limit = QUEUE_LIMIT,
  ) {}

  /** Takes a `struct ct_reset_event`, which it keeps. */
  take(event: Uint8Array): void {
    this.counts.flows[reasonOf(event) === CtResetReason.CT_RESET_IDLE ? 'idle' : 'cut']++;
    if (this.#queue.length - this.#next >= this.limit) {
      this.counts.lost++;
      return;
    }
    this.#queue.push(event);
    this.#work ??= this.#workOff();
  }

  /** Resolves when everything that was taken has been sent or given up. */
  async settle(): Promise<void> {
    await this.#work;
  }

  async #workOff(): Promise<void> {
    let waits = 0;
    await nextTurn();
    while (this.#next < this.#queue.length) {
      this.#forgetSent();
      if (this.#sendSlice(waits >= BUSY_WAITS)) {
        waits = 0;
        await nextTurn();
      } else {
        waits++;
        await delay(BUSY_WAIT_MS);
      }
    }
    this.#queue = [];
    this.#next = 0;
    this.#work = undefined;
  }

  /** Now and then: an array gives back its front only at the price of moving the rest. */
  #forgetSent(): void {
    if (this.#next < FORGET_AT) return;
    this.#queue.splice(0, this.#next);
    this.#next = 0;
  }

  /** False when the device takes no more. `giveUp` counts the first reset it does not take as failed. */
  #sendSlice(giveUp: boolean): boolean {
    const end = performance.now() + SLICE_MS;
    let patience = !giveUp;
    for (let count = 1; this.#next < this.#queue.length; count++) {
      if (!this.#sendNext(patience)) return false;
      patience = true;
      if (count % STEP === 0 && performance.now() >= end) return true;
    }
    return true;
  }

  #sendNext(patient: boolean): boolean {
    const event = this.#queue[this.#next] as Uint8Array;
    if (!this.#clientDone && !this.#send('client', resetToClient(event), patient)) return false;
    this.#clientDone = true;
    if (isOneWay(event)) this.counts.oneWay++;
    else if (!this.#send('endpoint', resetToEndpoint(event), patient)) return false;
    this.#clientDone = false;
    this.#next++;
    return true;
  }

  #send(side: Side, packet: Uint8Array | undefined, patient: boolean): boolean {
    const result = packet ? this.sender.send(packet) : 'refused';
    if (result === 'busy' && patient) return false;
    this.counts[result === 'sent' ? 'sent' : 'failed'][side]++;
    return true;
  }
}
