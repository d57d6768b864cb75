/**
 * Copies of the kernel's tables, kept current by its notifications. `apply` says whether what a packet's way depends on
 * has changed: the kernel announces much that changes nothing, and every announced change costs each flow a lookup.
 */
import type { NetworkAddress, NetworkChange, NetworkLink, NetworkNeighbor, NetworkRoute } from '@loxilb/sdk';
import { decodeAddress, decodeLink, decodeNeighbor, decodeRoute, RTM } from './decode.js';
import { type NetlinkMessage, NLM_F_REPLACE } from './message.js';

/** REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: the neighbour's MAC address may be used. */
const NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;

export class Tables {
  readonly links = new Map<number, NetworkLink>();
  readonly addresses = new Map<string, NetworkAddress>();
  readonly routes = new Map<string, NetworkRoute>();
  readonly neighbors = new Map<string, NetworkNeighbor>();

  /** True when they are others than those known so far: the notifications on their way will change nothing then. */
  replaceLinks(links: readonly NetworkLink[]): boolean {
    const before = new Map(this.links);
    fill(this.links, links, (link) => link.ifindex);
    return before.size !== this.links.size || links.some((link) => !isSame(before.get(link.ifindex), link));
  }

  replaceAddresses(addresses: readonly NetworkAddress[]): void {
    fill(this.addresses, addresses, addressKey);
  }

  replaceRoutes(routes: readonly NetworkRoute[]): void {
    fill(this.routes, routes, routeKey);
  }

  replaceNeighbors(neighbors: readonly NetworkNeighbor[]): void {
    fill(this.neighbors, neighbors, neighborKey);
  }

  /** Takes a notification in. Undefined when nothing that matters changed. */
  apply(message: NetlinkMessage): NetworkChange | undefined {
    switch (message.type) {
      case RTM.NEWLINK:
      case RTM.DELLINK:
        return this.applyLink(message) ? 'link' : undefined;
      case RTM.NEWADDR:
      case RTM.DELADDR:
        return this.applyAddress(message) ? 'address' : undefined;
      case RTM.NEWROUTE:
      case RTM.DELROUTE:
        return this.applyRoute(message) ? 'route' : undefined;
      case RTM.NEWNEIGH:
      case RTM.DELNEIGH:
        return this.applyNeighbor(message) ? 'neighbor' : undefined;
      default:
        return undefined;
    }
  }

  private applyLink(message: NetlinkMessage): boolean {
    const link = decodeLink(message);
    if (!link) return false;
    const before = this.links.get(link.ifindex);
    if (message.type === RTM.DELLINK) return this.links.delete(link.ifindex);
    this.links.set(link.ifindex, link);
    return !isSame(before, link);
  }

  private applyAddress(message: NetlinkMessage): boolean {
    const address = decodeAddress(message);
    if (!address) return false;
    const key = addressKey(address);
    if (message.type === RTM.DELADDR) return this.addresses.delete(key);
    // Renewed lifetimes are announced as new addresses.
    const known = this.addresses.has(key);
    this.addresses.set(key, address);
    return !known;
  }

  private applyRoute(message: NetlinkMessage): boolean {
    const route = decodeRoute(message);
    if (!route) return false;
    if (message.type === RTM.DELROUTE) return this.routes.delete(routeKey(route));
    if ((message.flags & NLM_F_REPLACE) !== 0) this.dropReplaced(route);
    this.routes.set(routeKey(route), route);
    return true;
  }

  private dropReplaced(route: NetworkRoute): void {
    for (const [key, other] of this.routes) {
      const same =
        other.destination === route.destination && other.table === route.table && other.metric === route.metric;
      if (same) this.routes.delete(key);
    }
  }

  private applyNeighbor(message: NetlinkMessage): boolean {
    const neighbor = decodeNeighbor(message);
    if (!neighbor) return false;
    const key = neighborKey(neighbor);
    const before = this.neighbors.get(key);
    if (message.type === RTM.DELNEIGH) {
      this.neighbors.delete(key);
      return before !== undefined && isValid(before);
    }
    this.neighbors.set(key, neighbor);
    return (before !== undefined && isValid(before)) !== isValid(neighbor) || before?.mac !== neighbor.mac;
  }
}

function isValid(neighbor: NetworkNeighbor): boolean {
  return (neighbor.state & NUD_VALID) !== 0;
}

/** Counters change all the time. */
function isSame(a: NetworkLink | undefined, b: NetworkLink): boolean {
  if (!a) return false;
  return JSON.stringify({ ...a, statistics: 0 }) === JSON.stringify({ ...b, statistics: 0 });
}

function addressKey(address: NetworkAddress): string {
  return `${address.ifindex} ${address.address}/${address.prefixLength}`;
}

function routeKey(route: NetworkRoute): string {
  return `${route.table} ${route.destination} ${route.metric} ${route.ifindex} ${route.gateway ?? ''} ${route.type}`;
}

function neighborKey(neighbor: NetworkNeighbor): string {
  return `${neighbor.ifindex} ${neighbor.address}`;
}

function fill<K, V>(table: Map<K, V>, values: readonly V[], key: (value: V) => K): void {
  table.clear();
  for (const value of values) table.set(key(value), value);
}
