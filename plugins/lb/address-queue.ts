import { setTimeout as sleep } from 'node:timers/promises';
import type { AddressRefusal, Network } from '@loxilb/sdk';

/** Handing one batch over costs more than a change itself, so some are let gather. */
const GATHER_MS = 10;
/** Changes that may be made one by one before more of them wait in line, and how fast this allowance comes back. */
const ALLOWANCE = 64;
const PER_MILLISECOND = 0.1;

/**
 * Address changes of a flood of rules, made beside the event loop in the order they came. Single changes are none of
 * its business: they are made at once, so that the request that wants them can still be refused.
 */
export class AddressQueue {
  /** What was asked for last, by address. */
  private waiting = new Map<string, boolean>();
  private running: Promise<void> | undefined;
  private runningOn: ReadonlyMap<string, boolean> = new Map();
  private allowance = ALLOWANCE;
  private counted = performance.now();

  constructor(
    private readonly network: Pick<Network, 'changeAddresses'>,
    private readonly interfaceName: string,
    private readonly done: (address: string, present: boolean, refusal: AddressRefusal | undefined) => void,
  ) {}

  /** Takes one change from the allowance. True when it is used up, or earlier changes of the address are not done. */
  mustQueue(address: string): boolean {
    const now = performance.now();
    this.allowance = Math.min(ALLOWANCE, this.allowance + (now - this.counted) * PER_MILLISECOND) - 1;
    this.counted = now;
    if (this.allowance < 0) this.allowance = 0;
    else if (!this.has(address)) return false;
    return true;
  }

  has(address: string): boolean {
    return this.waiting.has(address) || this.runningOn.has(address);
  }

  push(address: string, present: boolean): void {
    this.waiting.delete(address);
    this.waiting.set(address, present);
    this.running ??= this.run();
  }

  /** Resolves when nothing is left to do. */
  async drain(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    while (this.waiting.size > 0) {
      await sleep(GATHER_MS);
      const batch = this.waiting;
      this.waiting = new Map();
      this.runningOn = batch;
      const changes = [...batch].map(([address, present]) => ({ address, present }));
      const refused = await this.network.changeAddresses(changes, this.interfaceName);
      this.runningOn = new Map();
      const refusals = new Map(refused.map((refusal) => [refusal.address, refusal]));
      for (const [address, present] of batch) this.done(address, present, refusals.get(address));
    }
    this.running = undefined;
  }
}
