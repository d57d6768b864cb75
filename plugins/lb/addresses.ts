import type { Network } from '@loxilb/sdk';
import { ipFamily } from '@loxilb/sdk';
import type { LbEndpoint } from './layout.gen.js';
import { NO_ADDRESS } from './maps.js';
import { changesFamily, MODE, type Rule, serviceAddress } from './model.js';

/** What rules need to know of this machine's addresses and routes. Remembered until the kernel tells of a change. */
export class AddressBook {
  private local: Set<string> | undefined;
  private readonly sources = new Map<string, string>();

  constructor(private readonly network: Network) {}

  forget(): void {
    this.local = undefined;
    this.sources.clear();
  }

  /** The address belongs to this machine. */
  isLocal(address: string): boolean {
    this.local ??= new Set(this.network.addresses().map((one) => one.address));
    return this.local.has(address) || address.startsWith('127.');
  }

  /** This machine's addresses that others can reach it by. */
  ownAddresses(family: 4 | 6): string[] {
    const usable = this.network.addresses().filter((one) => one.family === family && !isOnThisLinkOnly(one.address));
    return [...new Set(usable.map(({ address }) => address))];
  }

  /** This machine's own address on the way to `destination`, `::` when there is no route. */
  towards(destination: string): string {
    let source = this.sources.get(destination);
    if (source === undefined) {
      source = this.network.sourceAddressFor(destination) ?? NO_ADDRESS;
      if (ipFamily(source) !== ipFamily(destination)) source = NO_ADDRESS;
      this.sources.set(destination, source);
    }
    return source;
  }

  /** The members of an endpoint's entry that depend on addresses and routes. */
  viewOf(rule: Rule, endpointIP: string): Pick<LbEndpoint, 'source' | 'self'> {
    return { source: this.clientAddress(rule, endpointIP), self: this.towards(endpointIP) };
  }

  /** Who the endpoint sees as its client; `::` is the client itself. */
  private clientAddress(rule: Rule, endpointIP: string): string {
    const vip = serviceAddress(rule);
    if (rule.mode === MODE.dsr) return NO_ADDRESS;
    // The client's own address is none in the endpoint's family.
    if (changesFamily(rule, endpointIP)) return this.towards(endpointIP);
    // A packet from one of our addresses to one of our addresses is a martian to the kernel.
    if (rule.mode === MODE.default || endpointIP === vip || this.isLocal(endpointIP)) return NO_ADDRESS;
    if (rule.mode === MODE.fullnat) return vip;
    const own = this.towards(endpointIP);
    return own === NO_ADDRESS && rule.mode !== MODE.hostonearm ? vip : own;
  }
}

function isOnThisLinkOnly(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || /^fe[89ab]/.test(address);
}
