import { writeFileSync } from 'node:fs';
import type { AddressRefusal, Logger, MapSlice, Network } from '@loxilb/sdk';
import { AddressQueue } from './address-queue.js';
import type { AddressBook } from './addresses.js';
import { lbError } from './errors.js';
import { OnLinkAddresses } from './on-link-addresses.js';

const LOOPBACK = 'lo';
/** By then the kernel's word of a removed address has been read. */
const SETTLED_MS = 30_000;
/** Without it the kernel drops what a process of this machine sends to a service address: the source is its own. */
const ACCEPT_LOCAL = '/proc/sys/net/ipv4/conf/lo/accept_local';

/**
 * Service addresses on the loopback interface, IPv6 ones also where their network is: put there with the first rule that
 * needs them, taken off with the last.
 * An address the machine had before is left alone. The pinned map says which are ours; it is written before an address
 * is added and after it is removed, so that a crash leaves at worst a note too many.
 *
 * In a flood of changes the addresses follow a moment later, beside the event loop; one that the kernel then refuses is
 * logged, and the rule stays.
 */
export class VipAddresses {
  /** Rules per service address. */
  private readonly rules = new Map<string, number>();
  /** What we took off lately, and when: the book may still have it. */
  private readonly takenOff = new Map<string, number>();
  private readonly queue: AddressQueue;
  private readonly onLink: OnLinkAddresses;
  /** What the notes hold, once somebody has asked: that may be for each address of the machine. */
  private noted: Set<string> | undefined;
  private acceptsLocal = false;

  constructor(
    private readonly notes: MapSlice<string, number>,
    private readonly network: Network,
    private readonly book: AddressBook,
    private readonly log: Logger,
    private readonly options: { readonly enabled: boolean; readonly setSysctl: boolean },
  ) {
    this.queue = new AddressQueue(network, LOOPBACK, (...outcome) => this.queued(...outcome));
    this.onLink = new OnLinkAddresses(network, log);
  }

  /** Resolves when every address is where it belongs. */
  async drain(): Promise<void> {
    await Promise.all([this.queue.drain(), this.onLink.drain()]);
  }

  /** Interfaces or their networks have changed. */
  follow(): void {
    const noted = this.readNoted();
    this.onLink.follow([...this.rules.keys()].filter((address) => noted.has(address)));
  }

  /** The address is here only because a rule wants it. */
  isOurs(address: string): boolean {
    return this.takenOff.has(address) || this.readNoted().has(address);
  }

  /** Throws `LB_VIP_ADDRESS` and has changed nothing. */
  acquire(address: string): void {
    const rules = this.rules.get(address) ?? 0;
    if (rules === 0) this.add(address);
    this.rules.set(address, rules + 1);
  }

  release(address: string): void {
    const rules = (this.rules.get(address) ?? 0) - 1;
    if (rules > 0) {
      this.rules.set(address, rules);
      return;
    }
    this.rules.delete(address);
    this.remove(address);
  }

  /** At start: what is noted and not needed goes, what is needed and gone comes back. One entry per rule. */
  reconcile(addresses: readonly string[]): void {
    const noted = new Set([...this.notes.entries()].map(([address]) => address));
    this.onLink.adopt(noted);
    this.rules.clear();
    for (const address of addresses) this.rules.set(address, (this.rules.get(address) ?? 0) + 1);
    for (const address of noted) if (!this.options.enabled || !this.rules.has(address)) this.remove(address);
    for (const address of this.rules.keys()) this.addAtStart(address, noted.has(address));
    this.follow();
  }

  /** One address that cannot be added must not keep the others from working. */
  private addAtStart(address: string, noted: boolean): void {
    try {
      if (!noted || !this.options.enabled) this.add(address);
      else if (!this.book.isLocal(address)) this.put(address);
    } catch (error) {
      this.log.error({ err: error, address }, 'service address could not be added');
    }
  }

  private add(address: string): void {
    if (!this.options.enabled) return;
    if (!this.takenOff.has(address) && this.book.isLocal(address)) return;
    this.takenOff.delete(address);
    this.notes.set(address, 1);
    this.noted?.add(address);
    if (this.queue.mustQueue(address)) {
      this.acceptLocal();
      this.queue.push(address, true);
      this.onLink.put(address);
      return;
    }
    try {
      this.put(address);
    } catch (cause) {
      this.forget(address);
      throw lbError(
        'LB_VIP_ADDRESS',
        `service address ${address} could not be added to ${LOOPBACK}: ${String(cause)}`,
        {
          field: 'serviceArguments.externalIP',
          value: address,
          remedy: 'run with CAP_NET_ADMIN, or set vipAddresses of the lb plugin to off',
          cause,
        },
      );
    }
  }

  private put(address: string): void {
    this.acceptLocal();
    this.network.addAddress(address, LOOPBACK);
    this.onLink.put(address);
  }

  private remove(address: string): void {
    if (this.notes.get(address) === undefined) return;
    this.rememberTakenOff(address);
    this.onLink.take(address);
    if (this.queue.mustQueue(address)) {
      this.queue.push(address, false);
      return;
    }
    try {
      this.network.removeAddress(address, LOOPBACK);
      this.forget(address);
    } catch (error) {
      this.log.warn({ err: error, address }, 'service address could not be removed');
    }
  }

  private rememberTakenOff(address: string): void {
    const now = performance.now();
    for (const [old, when] of this.takenOff) {
      if (now - when < SETTLED_MS) break;
      this.takenOff.delete(old);
    }
    this.takenOff.delete(address);
    this.takenOff.set(address, now);
  }

  /** What became of a change that was not waited for. */
  private queued(address: string, present: boolean, refusal: AddressRefusal | undefined): void {
    const what = present ? 'added' : 'removed';
    if (refusal) this.log.error({ err: refusal.error, address }, `service address could not be ${what}`);
    // Noted again when it is wanted again, which may be by now.
    const gone = present ? refusal !== undefined : refusal === undefined;
    if (gone && !this.queue.has(address)) this.forget(address);
  }

  private readNoted(): ReadonlySet<string> {
    this.noted ??= new Set([...this.notes.entries()].map(([address]) => address));
    return this.noted;
  }

  private forget(address: string): void {
    this.notes.delete(address);
    this.noted?.delete(address);
  }

  private acceptLocal(): void {
    if (this.acceptsLocal || !this.options.setSysctl) return;
    this.acceptsLocal = true;
    try {
      writeFileSync(ACCEPT_LOCAL, '1');
    } catch (error) {
      this.log.warn({ err: error }, 'local clients may not reach service addresses: accept_local could not be set');
    }
  }
}
