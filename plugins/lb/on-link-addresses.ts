import { BlockList } from 'node:net';
import type { AddressRefusal, Logger, Network } from '@loxilb/sdk';
import { ipFamily } from '@loxilb/sdk';
import { AddressQueue } from './address-queue.js';

const HOST_PREFIX = 128;

interface Link {
  readonly name: string;
  /** The networks it is on. */
  readonly networks: BlockList;
  /** Host addresses it has. */
  readonly hosts: Set<string>;
}

/**
 * IPv6 service addresses, beside `lo`, on the interfaces whose networks they belong to. The kernel answers ARP for any
 * address of the machine, but a neighbour solicitation (RFC 4861 7.2.3) only for one of the interface it came in by.
 */
export class OnLinkAddresses {
  private readonly queues = new Map<string, AddressQueue>();
  /** Interfaces by address; what is still on its way there included. */
  private readonly placed = new Map<string, ReadonlySet<string>>();
  private links: readonly Link[] | undefined;

  constructor(
    private readonly network: Network,
    private readonly log: Logger,
  ) {}

  /** At start: where an earlier daemon put these. */
  adopt(addresses: Iterable<string>): void {
    this.links = this.readLinks();
    for (const address of addresses) {
      const names = this.links.filter(({ hosts }) => hosts.has(address)).map(({ name }) => name);
      if (names.length > 0) this.placed.set(address, new Set(names));
    }
  }

  put(address: string): void {
    for (const { name } of this.homesOf(address)) this.change(address, name, true);
  }

  take(address: string): void {
    for (const name of this.placed.get(address) ?? []) this.change(address, name, false);
    this.placed.delete(address);
  }

  /** Interfaces or their networks have changed: has these addresses, which are ours, where they belong now. */
  follow(addresses: Iterable<string>): void {
    this.links = this.readLinks();
    for (const address of addresses) this.move(address, this.links);
  }

  /** Resolves when nothing waits. */
  async drain(): Promise<void> {
    await Promise.all([...this.queues.values()].map((queue) => queue.drain()));
  }

  private move(address: string, links: readonly Link[]): void {
    const before = this.placed.get(address);
    const homes = this.homesOf(address);
    for (const link of links) {
      const isThere = link.hosts.has(address);
      const belongs = homes.includes(link);
      if (belongs && !isThere) this.change(address, link.name, true);
      if (!belongs && (isThere || before?.has(link.name))) this.change(address, link.name, false);
    }
  }

  /** Where the address belongs; and notes that it is there. */
  private homesOf(address: string): readonly Link[] {
    if (ipFamily(address) !== 6) return [];
    this.links ??= this.readLinks();
    const homes = this.links.filter(({ networks }) => networks.check(address, 'ipv6'));
    if (homes.length > 0) this.placed.set(address, new Set(homes.map(({ name }) => name)));
    else this.placed.delete(address);
    return homes;
  }

  private change(address: string, name: string, present: boolean): void {
    const queue = this.queueOf(name);
    if (queue.mustQueue(address)) {
      queue.push(address, present);
      return;
    }
    try {
      if (present) this.network.addAddress(address, name);
      else this.network.removeAddress(address, name);
    } catch (error) {
      this.refused(address, name, { address, present, error });
    }
  }

  private queueOf(name: string): AddressQueue {
    let queue = this.queues.get(name);
    if (!queue) {
      queue = new AddressQueue(this.network, name, (address, _, refusal) => this.refused(address, name, refusal));
      this.queues.set(name, queue);
    }
    return queue;
  }

  /** Those that have a route to the service address reach it all the same. */
  private refused(address: string, name: string, refusal: AddressRefusal | undefined): void {
    if (!refusal) return;
    const what = refusal.present ? 'put on' : 'taken off';
    this.log.warn(
      { err: refusal.error, address, interface: name },
      `service address could not be ${what} the interface`,
    );
  }

  private readLinks(): Link[] {
    const links = new Map<number, Link>();
    for (const { ifindex, name, loopback } of this.network.links()) {
      if (!loopback) links.set(ifindex, { name, networks: new BlockList(), hosts: new Set() });
    }
    for (const { ifindex, address, prefixLength, family, scope } of this.network.addresses()) {
      const link = links.get(ifindex);
      if (!link || family !== 6 || scope !== 0) continue;
      if (prefixLength === HOST_PREFIX) link.hosts.add(address);
      else link.networks.addSubnet(address, prefixLength, 'ipv6');
    }
    return [...links.values()];
  }
}
