import type { Logger } from '@loxilb/sdk';
import type { AddressBook } from './addresses.js';
import { isReachable, ownAddresses, runOf } from './derive.js';
import { lbError } from './errors.js';
import type { LbEndpoint } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { describeRule, endpointKey, isProgrammed, type Rule, ruleKey } from './model.js';
import type { Programmer } from './programmer.js';
import type { FreedIds, Retirement } from './retirement.js';
import { type EndpointState, type LbState, NO_VALUE, type ServiceState } from './state.js';
import { Undo } from './undo.js';
import type { VipAddresses } from './vip-addresses.js';

export interface LbRulesParts {
  readonly maps: LbMaps;
  readonly state: LbState;
  readonly book: AddressBook;
  readonly vips: VipAddresses;
  readonly retirement: Retirement;
  readonly programmer: Programmer;
  readonly log: Logger;
}

/** Rules in, map entries out: what the resource and the other plugins call. */
export class LbRules {
  constructor(private readonly parts: LbRulesParts) {}

  /** Succeeds completely, or throws a coded error and has changed nothing. */
  apply(desired: Rule): void {
    if (!isProgrammed(desired)) return;
    const { state, programmer } = this.parts;
    const key = ruleKey(desired);
    const existing = state.services.get(key);
    const service = existing ?? this.newService(desired);
    try {
      const left = programmer.program(service, desired, existing === undefined);
      this.settleEndpoints(service, left);
    } catch (error) {
      if (existing === undefined) state.serviceIds.release(service.id);
      throw error;
    }
    state.services.set(key, service);
    state.byId.set(service.id, service);
    this.refreshHosts();
  }

  /** New connections are refused at once; flows that run are ended off the event loop. */
  remove(rule: Rule): void {
    const { state, maps, vips, retirement, programmer } = this.parts;
    const key = ruleKey(rule);
    const service = state.services.get(key);
    if (service === undefined) return;
    const undo = new Undo();
    try {
      programmer.withdraw(service, undo);
      maps.serviceState.set(service.id, { cursor: 0, idleTicks: service.idleTicks, alive: 0, reset: 0 });
    } catch (error) {
      undo.run();
      throw error;
    }
    state.services.delete(key);
    state.byId.delete(service.id);
    state.runs.retire(runOf(service.value));
    for (const endpoint of service.endpoints) state.left(endpoint);
    retirement.retireService(
      service.id,
      [...service.endpoints, ...(service.leaving?.values() ?? [])].map(({ id }) => id),
    );
    for (const address of ownAddresses(service.rule)) vips.release(address);
    this.refreshHosts();
  }

  /** Flips an endpoint for every rule that uses it. False when no rule does. */
  setEndpointActive(address: string, protocol: string, port: number, active: boolean): boolean {
    const { state, maps, programmer } = this.parts;
    const record = state.findRecord(address, protocol, port);
    if (record === undefined) return false;
    if (record.active === active) return true;
    const users = record.users.toArray();
    const entries = users.map((endpoint) => ({ endpoint, entry: { ...endpoint.entry, active: active ? 1 : 0 } }));
    maps.endpoint.setMany(entries.map(({ endpoint, entry }) => [endpoint.id, entry]));
    for (const { endpoint, entry } of entries) endpoint.entry = entry;
    programmer.rebuildSlots(users.map(({ service }) => service));
    record.active = active;
    return true;
  }

  /**
   * After a change of addresses or routes: which address endpoints see, and what is "all addresses of this machine".
   * Established flows keep what they have.
   */
  refreshAddresses(): void {
    const { state, maps, book, programmer } = this.parts;
    this.refreshHosts();
    const changed: { endpoint: EndpointState; entry: LbEndpoint }[] = [];
    const rebuilt = new Set<ServiceState>();
    for (const service of state.services.values()) {
      const { rule } = service;
      for (const endpoint of service.endpoints) {
        const view = book.viewOf(rule, endpoint.entry.addr);
        if (view.source === endpoint.entry.source && view.self === endpoint.entry.self) continue;
        const entry = { ...endpoint.entry, ...view };
        if (isReachable(rule, entry) !== isReachable(rule, endpoint.entry)) rebuilt.add(service);
        changed.push({ endpoint, entry });
      }
    }
    if (changed.length === 0) return;
    maps.endpoint.setMany(changed.map(({ endpoint, entry }) => [endpoint.id, entry]));
    for (const { endpoint, entry } of changed) endpoint.entry = entry;
    programmer.rebuildSlots([...rebuilt]);
    this.parts.log.debug({ endpoints: changed.length }, 'source addresses towards endpoints changed');
  }

  /** Services for all addresses of this machine follow the addresses, and the rules that have one of their own. */
  private refreshHosts(): void {
    const { state, programmer, log } = this.parts;
    for (const service of state.places.hosts) {
      const undo = new Undo();
      try {
        const places = programmer.placesFor(service, service.rule);
        state.places.move(service, places, service.value, undo);
        service.places = places;
      } catch (error) {
        undo.run();
        // The next change of rules or addresses tries again.
        log.warn({ err: error, rule: describeRule(service.rule) }, 'rule does not have all addresses of this machine');
      }
    }
  }

  /** Ids whose last flow has gone. */
  freed({ services, endpoints }: FreedIds): void {
    const { state } = this.parts;
    for (const id of services) state.serviceIds.release(id);
    for (const id of endpoints) state.endpointIds.release(id);
    state.runs.releaseDue();
  }

  serviceName(id: number): string | undefined {
    return this.parts.state.byId.get(id)?.rule.name || undefined;
  }

  private newService(rule: Rule): ServiceState {
    const { serviceIds } = this.parts.state;
    const id = serviceIds.take();
    if (id === undefined) {
      throw lbError('LB_RULES_FULL', `no room for ${describeRule(rule)}: ${serviceIds.inUse} rules`, {
        remedy: 'raise maxServices of the lb plugin; ids of deleted rules come free when their flows have ended',
      });
    }
    return { id, rule, places: [], value: NO_VALUE, idleTicks: 0, reset: 0, endpoints: [], leaving: undefined };
  }

  /** Endpoints that came (back) have their rule again, those that left are watched until their flows have ended. */
  private settleEndpoints(service: ServiceState, left: readonly EndpointState[]): void {
    const { state, retirement } = this.parts;
    for (const endpoint of service.endpoints) {
      state.joined(endpoint);
      if (service.leaving?.delete(endpointKeyOf(endpoint))) retirement.reclaimEndpoint(endpoint.id);
    }
    for (const endpoint of left) this.watchLeaver(endpoint);
  }

  watchLeaver(endpoint: EndpointState): void {
    const { service } = endpoint;
    const key = endpointKeyOf(endpoint);
    service.leaving ??= new Map();
    service.leaving.set(key, endpoint);
    this.parts.retirement.retireEndpoint(endpoint.id, () => service.leaving?.delete(key));
  }
}

function endpointKeyOf({ entry, record }: EndpointState): string {
  return endpointKey({ endpointIP: entry.addr, targetPort: record.port });
}
