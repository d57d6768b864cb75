import type { Logger } from '@loxilb/sdk';
import type { AddressBook } from './addresses.js';
import type { Affinities } from './affinities.js';
import { isReachable, ownAddresses, runOf } from './derive.js';
import type { DrainTable } from './drain-table.js';
import { downAction, type EndingDefaults, type Leaving, leavingOf } from './ending.js';
import { lbError } from './errors.js';
import { CUT_FLAGS, cutFlags } from './flow-cuts.js';
import type { LbEndpoint } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { describeRule, endpointKey, isProgrammed, type Rule, ruleKey, SELECTION } from './model.js';
import type { Place } from './places.js';
import { leftEntry, type Programmer } from './programmer.js';
import type { FreedIds } from './retired-ids.js';
import type { Retirement } from './retirement.js';
import { type EndpointState, type LbState, NO_VALUE, type ServiceState } from './state.js';
import { Undo } from './undo.js';
import type { VipAddresses } from './vip-addresses.js';

export interface LbRulesParts {
  readonly maps: LbMaps;
  readonly state: LbState;
  readonly book: AddressBook;
  readonly vips: VipAddresses;
  readonly retirement: Retirement;
  readonly drains: DrainTable;
  readonly affinities: Affinities;
  readonly programmer: Programmer;
  readonly endings: EndingDefaults;
  readonly log: Logger;
}

/** Rules in, map entries out: what the resource and the other plugins call. */
export class LbRules {
  constructor(private readonly parts: LbRulesParts) {}

  /**
   * Succeeds completely, or throws a coded error and has changed nothing. `drainSeconds` is for the flows of endpoints
   * that leave, where the request says so itself.
   */
  apply(desired: Rule, drainSeconds?: number): void {
    if (!isProgrammed(desired)) return;
    const { state, programmer } = this.parts;
    const key = ruleKey(desired);
    const existing = state.services.get(key);
    const service = existing ?? this.newService(desired);
    try {
      const left = programmer.program(service, desired, existing === undefined);
      this.settleEndpoints(service, left, leavingOf(desired, this.parts.endings, drainSeconds));
    } catch (error) {
      if (existing === undefined) state.serviceIds.release(service.id);
      throw error;
    }
    state.services.set(key, service);
    state.byId.set(service.id, service);
    if (desired.sel === SELECTION.persist) this.parts.affinities.note(service.id);
    this.refreshHosts();
  }

  /** New connections are refused at once; flows that run drain, or are ended off the event loop. */
  remove(rule: Rule, drainSeconds?: number): void {
    const { state, vips, retirement, programmer, endings } = this.parts;
    const key = ruleKey(rule);
    const service = state.services.get(key);
    if (service === undefined) return;
    const leaving = leavingOf(service.rule, endings, drainSeconds);
    const undo = new Undo();
    try {
      programmer.withdraw(service, undo);
      if (leaving.drainSeconds === 0) state.addresses.exclude(service, [], undo);
      this.close(service, leaving);
    } catch (error) {
      undo.run();
      throw error;
    }
    state.services.delete(key);
    state.byId.delete(service.id);
    state.runs.retire(runOf(service.value));
    for (const endpoint of service.endpoints) state.left(endpoint);
    const releaseAddresses = () => {
      for (const address of ownAddresses(service.rule)) vips.release(address);
    };
    retirement.retireService(service.id, everyEndpoint(service).map(idOf), leaving, () => {
      if (leaving.drainSeconds === 0) return;
      releaseAddresses();
      state.addresses.release(service.addresses);
    });
    // Clients that still talk to the address ask for its MAC address.
    if (leaving.drainSeconds === 0) releaseAddresses();
    this.refreshHosts();
  }

  /** A service whose flows are to go on, or to be told, lives a little longer than its rule. */
  private close(service: ServiceState, { drainSeconds, reset }: Leaving): void {
    const { maps } = this.parts;
    if (drainSeconds > 0) {
      maps.endpoint.setMany(everyEndpoint(service).map(({ id, entry }) => [id, leftEntry(entry)]));
    } else if (!reset) {
      maps.serviceState.set(service.id, { cursor: 0, idleTicks: service.idleTicks, alive: 0, reset: 0 });
    }
  }

  /**
   * Flips an endpoint for every rule that uses it. False when no rule does. Flows of one that goes down end as its rule
   * wants it.
   */
  setEndpointActive(address: string, protocol: string, port: number, active: boolean): boolean {
    const { state, maps, programmer, retirement } = this.parts;
    const record = state.findRecord(address, protocol, port);
    if (record === undefined) return false;
    if (record.active === active) return true;
    const users = record.users.toArray();
    const entries = users.map((endpoint) => ({ endpoint, entry: this.flipped(endpoint, active) }));
    maps.endpoint.setMany(entries.map(({ endpoint, entry }) => [endpoint.id, entry]));
    for (const { endpoint, entry } of entries) endpoint.entry = entry;
    programmer.rebuildSlots(users.map(({ service }) => service));
    record.active = active;
    if (active) for (const { id } of users) retirement.reclaimEndpoint(id);
    else retirement.cut(users.filter(({ entry }) => (entry.flags & CUT_FLAGS) !== 0).map(idOf));
    return true;
  }

  private flipped({ entry, service }: EndpointState, active: boolean): LbEndpoint {
    const flags = entry.flags & ~CUT_FLAGS;
    if (active) return { ...entry, active: 1, flags };
    const action = downAction(service.rule, this.parts.endings);
    return { ...entry, active: 0, flags: action === 'keep' ? flags : flags | cutFlags(action === 'reset') };
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
        this.setPlaces(service, places, undo);
      } catch (error) {
        undo.run();
        // The next change of rules or addresses tries again.
        log.warn({ err: error, rule: describeRule(service.rule) }, 'rule does not have all addresses of this machine');
      }
    }
  }

  private setPlaces(service: ServiceState, places: readonly Place[], undo: Undo): void {
    const { places: before } = service;
    undo.add(() => {
      service.places = before;
    });
    service.places = places;
    this.parts.state.addresses.follow(service, undo);
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
    const nothing = { places: [], addresses: [], endpoints: [], leaving: undefined };
    return { id, rule, value: NO_VALUE, idleTicks: 0, reset: 0, ...nothing };
  }

  /** Endpoints that came (back) have their rule again, those that left are watched until their flows have ended. */
  private settleEndpoints(service: ServiceState, left: readonly EndpointState[], leaving: Leaving): void {
    const { state, retirement } = this.parts;
    for (const endpoint of service.endpoints) {
      state.joined(endpoint);
      if (!service.leaving?.delete(endpointKeyOf(endpoint))) continue;
      retirement.reclaimEndpoint(endpoint.id);
      // It had failed before it left, and is down yet.
      if ((endpoint.entry.flags & CUT_FLAGS) !== 0) retirement.cut([endpoint.id]);
    }
    for (const endpoint of left) retirement.retireEndpoint(endpoint.id, service.id, leaving, this.leave(endpoint));
  }

  /** At start: an endpoint an earlier daemon had taken out of its rule, or the rule has lost since. */
  resumeLeaver(endpoint: EndpointState, wasLeaving: boolean): void {
    const { retirement, drains, endings } = this.parts;
    const { id, service, entry } = endpoint;
    const leaving = leavingOf(service.rule, endings);
    const freed = this.leave(endpoint);
    const isMarked = (entry.flags & CUT_FLAGS) === CUT_FLAGS;
    const note = drains.get(id);
    // A drain ends as it was meant to when it began, whatever the rule says by now.
    const isReset = note ? note.reset === 1 : isMarked || leaving.reset;
    if (wasLeaving) retirement.resumeEndpoint(id, service.id, isReset, freed);
    else retirement.retireEndpoint(id, service.id, leaving, freed);
  }

  /** Returns what is to be done when no flow of it is left. */
  private leave(endpoint: EndpointState): () => void {
    const { service } = endpoint;
    const key = endpointKeyOf(endpoint);
    service.leaving ??= new Map();
    service.leaving.set(key, endpoint);
    return () => {
      service.leaving?.delete(key);
      this.followAddresses(service);
    };
  }

  /** An entry too many does no harm, and goes with the next change of the rule. */
  private followAddresses(service: ServiceState): void {
    const undo = new Undo();
    try {
      this.parts.state.addresses.follow(service, undo);
    } catch (error) {
      undo.run();
      this.parts.log.warn({ err: error }, 'address of an endpoint that left is still watched for fragments');
    }
  }
}

function everyEndpoint({ endpoints, leaving }: ServiceState): EndpointState[] {
  return [...endpoints, ...(leaving?.values() ?? [])];
}

function idOf({ id }: { readonly id: number }): number {
  return id;
}

function endpointKeyOf({ entry, record }: EndpointState): string {
  return endpointKey({ endpointIP: entry.addr, targetPort: record.port });
}
