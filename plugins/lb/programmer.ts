import { type Conntrack, ipFamily, type LoxilbError } from '@loxilb/sdk';
import { addressesOf } from './address-table.js';
import type { AddressBook } from './addresses.js';
import type { Claim } from './claims.js';
import { isReachable, ownAddresses, runOf, slotsOf } from './derive.js';
import { lbError } from './errors.js';
import { endpointFlags, serviceFlags } from './flags.js';
import { CUT_FLAGS } from './flow-cuts.js';
import type { LbEndpoint, LbService } from './layout.gen.js';
import { type LbMaps, secondsToTicks } from './maps.js';
import {
  describeEndpoint,
  describeRule,
  effectiveWeight,
  endpointKey,
  type Rule,
  type RuleEndpoint,
  resetsIdleFlows,
  SELECTION,
} from './model.js';
import { isHostRule, type Place, placesOf } from './places.js';
import { sameFields } from './same-fields.js';
import { writeSctpVips } from './sctp-vips.js';
import type { SlotRun } from './slot-runs.js';
import { SourceTable } from './sources.js';
import { portCount } from './spans.js';
import { type EndpointRecord, type EndpointState, type LbState, type ServiceState, WEIGHT_LEFT } from './state.js';
import { Undo } from './undo.js';
import type { VipAddresses } from './vip-addresses.js';

export interface ProgrammerParts {
  readonly maps: LbMaps;
  readonly state: LbState;
  readonly book: AddressBook;
  readonly vips: Pick<VipAddresses, 'acquire' | 'release' | 'isOurs'>;
  readonly conntrack: Pick<Conntrack, 'idleTimesChanged'>;
  readonly persistTimeoutSeconds: number;
}

/** An endpoint as it will be. */
interface PlannedEndpoint {
  readonly state: EndpointState;
  readonly record: EndpointRecord;
  readonly entry: LbEndpoint;
  readonly fresh: boolean;
}

interface Change {
  readonly service: ServiceState;
  readonly desired: Rule;
  /** The rule until now, undefined for a new one. */
  readonly before: Rule | undefined;
  readonly places: readonly Place[];
  readonly planned: readonly PlannedEndpoint[];
  /** Endpoints of the service that the desired rule does not have. */
  readonly left: readonly EndpointState[];
  /** What the service counts for in `lb_address`. */
  readonly addresses: readonly string[];
  readonly undo: Undo;
}

/** Services whose slots are rebuilt by one batch of writes. */
const REBUILD_CHUNK = 256;

/**
 * Turns rules into map entries. A service changes in one step as packets see it: endpoints and a new run of slots are
 * written beside the old ones, then the service's value, which points at the run, is replaced. When something fails on
 * the way, what was done before is taken back.
 */
export class Programmer {
  private readonly sources: SourceTable;

  constructor(private readonly parts: ProgrammerParts) {
    this.sources = new SourceTable(parts.maps);
  }

  /** Makes the data plane follow `desired` and returns the endpoints that have left. */
  program(service: ServiceState, desired: Rule, isNew: boolean): readonly EndpointState[] {
    const before = isNew ? undefined : service.rule;
    const places = this.placesFor(service, desired);
    this.checkFree(service, places, desired);
    const undo = new Undo();
    try {
      const planned = this.planEndpoints(service, desired, undo);
      const left = leavers(service, planned);
      const addresses = addressesOf({ places, endpoints: [...planned, ...left] }, service.leaving);
      const change = { service, desired, before, places, planned, left, addresses, undo };
      this.writeEndpoints(change);
      this.writeState(change);
      const run = this.writeSlots(change);
      const value = this.valueOf(service.id, desired, run);
      this.writeService(change, value);
      this.moveAddresses(change);
      this.closeLeavers(change);
      this.remember(change, value);
      return change.left;
    } catch (error) {
      undo.run();
      throw error;
    }
  }

  /** Builds the slots of these services anew from what their endpoints are now. */
  rebuildSlots(services: readonly ServiceState[]): void {
    const { state } = this.parts;
    for (let start = 0; start < services.length; start += REBUILD_CHUNK) {
      const chunk = services.slice(start, start + REBUILD_CHUNK);
      const undo = new Undo();
      try {
        const runs = chunk.map((service) => {
          const ids = slotsOf(service.rule, service.endpoints);
          const run = state.runs.allocate(ids.length);
          undo.add(() => state.runs.discard(run));
          return { service, run, ids, value: { ...service.value, slotBase: run.base, slotCount: run.count } };
        });
        state.runs.write(runs.map(({ run, ids }) => [run, ids]));
        undo.add(() => state.places.rewrite(chunk.map((service) => [service, service.value])));
        state.places.rewrite(runs.map(({ service, value }) => [service, value]));
        for (const { service, value } of runs) {
          state.runs.retire(runOf(service.value));
          service.value = value;
        }
      } catch (error) {
        undo.run();
        throw error;
      }
    }
  }

  entryOf(rule: Rule, endpoint: RuleEndpoint, serviceId: number, active: boolean): LbEndpoint {
    return {
      addr: endpoint.endpointIP,
      ...this.parts.book.viewOf(rule, endpoint.endpointIP),
      port: endpoint.targetPort,
      ports: portCount(endpoint),
      active: active ? 1 : 0,
      flags: endpointFlags(rule, endpoint),
      serviceId,
      weight: effectiveWeight(rule, endpoint),
    };
  }

  valueOf(serviceId: number, rule: Rule, run: SlotRun): LbService {
    return {
      serviceId,
      slotBase: run.base,
      slotCount: run.count,
      affinityTicks: rule.sel === SELECTION.persist ? secondsToTicks(this.parts.persistTimeoutSeconds) : 0,
      select: rule.sel,
      mode: rule.mode,
      flags: serviceFlags(rule),
      port: rule.port,
    };
  }

  /** Where packets are to find the service. */
  placesFor(service: ServiceState, rule: Rule): Place[] {
    const places = this.allPlaces(rule);
    return isHostRule(rule) ? this.parts.state.places.leftFor(service, places) : places;
  }

  /** The same if there were no other rule. */
  allPlaces(rule: Rule): Place[] {
    const { book, vips } = this.parts;
    return placesOf(rule, () =>
      book.ownAddresses(ipFamily(rule.externalIP)).filter((address) => !vips.isOurs(address)),
    );
  }

  /** Two ranges may overlap, and a private or secondary address may make two rules one service. */
  private checkFree(service: ServiceState, places: readonly Place[], desired: Rule): void {
    for (const place of places) {
      const [rival] = this.parts.state.places.rivals(place, service, isHostRule(desired));
      if (rival) throw taken(desired, place, rival);
    }
  }

  private planEndpoints(service: ServiceState, desired: Rule, undo: Undo): PlannedEndpoint[] {
    const present = new Map(service.endpoints.map((one) => [`${one.entry.addr}|${one.entry.port}`, one]));
    return desired.endpoints.map((wanted) => {
      const key = endpointKey(wanted);
      const known = present.get(key) ?? service.leaving?.get(key);
      const record = this.parts.state.record(desired, wanted);
      undo.add(() => this.parts.state.forgetUnused(record));
      const entry = this.entryOf(desired, wanted, service.id, record.active);
      if (!known) checkReachable(desired, wanted, entry);
      if (known) return { state: known, record, entry: stillCut(known.entry, entry), fresh: false };
      return { state: this.newEndpoint(service, record, entry, undo), record, entry, fresh: true };
    });
  }

  private newEndpoint(service: ServiceState, record: EndpointRecord, entry: LbEndpoint, undo: Undo): EndpointState {
    const { state } = this.parts;
    const id = state.endpointIds.take();
    if (id === undefined) {
      throw lbError('LB_ENDPOINTS_FULL', `all ${state.endpointIds.capacity - 1} endpoint ids are in use`, {
        field: 'endpoints',
        remedy: 'raise maxEndpoints of the lb plugin',
      });
    }
    undo.add(() => state.endpointIds.release(id));
    return { id, service, record, entry };
  }

  private writeEndpoints({ planned, undo }: Change): void {
    const { endpoint } = this.parts.maps;
    const changed = planned.filter(({ state, entry, fresh }) => fresh || !sameFields(state.entry, entry));
    if (changed.length === 0) return;
    const before = changed.filter(({ fresh }) => !fresh).map(({ state }) => [state.id, state.entry] as const);
    const fresh = changed.filter((one) => one.fresh).map(({ state }) => state.id);
    endpoint.setMany(changed.map(({ state, entry }) => [state.id, entry]));
    undo.add(() => {
      if (before.length > 0) endpoint.setMany(before);
      if (fresh.length > 0) endpoint.deleteMany(fresh);
    });
  }

  private writeState({ service, desired, before, undo }: Change): void {
    const { serviceState } = this.parts.maps;
    const idle = idleOf(desired);
    if (before === undefined) {
      serviceState.set(service.id, { cursor: 0, ...idle, alive: 1 });
      undo.add(() => serviceState.delete(service.id));
    } else if (idle.idleTicks !== service.idleTicks || idle.reset !== service.reset) {
      const old = { idleTicks: service.idleTicks, reset: service.reset };
      this.setIdle(service.id, idle);
      undo.add(() => this.setIdle(service.id, old));
    }
  }

  /** The cursor belongs to the packets; a step of theirs between these two lines is lost, which no one can see. */
  private setIdle(serviceId: number, idle: ReturnType<typeof idleOf>): void {
    const { serviceState } = this.parts.maps;
    serviceState.set(serviceId, { cursor: serviceState.get(serviceId)?.cursor ?? 0, ...idle, alive: 1 });
    this.parts.conntrack.idleTimesChanged();
  }

  private writeSlots({ service, desired, before, planned, undo }: Change): SlotRun {
    if (before && sameSelection(service, desired, planned)) return runOf(service.value);
    const { runs } = this.parts.state;
    const ids = slotsOf(
      desired,
      planned.map(({ state: { id }, entry }) => ({ id, entry })),
    );
    const run = runs.allocate(ids.length);
    undo.add(() => runs.discard(run));
    runs.write([[run, ids]]);
    return run;
  }

  /** What the value refers to is there before it, and goes after it. */
  private writeService(change: Change, value: LbService): void {
    const { service, desired, before, places, addresses, undo } = change;
    const { maps, state } = this.parts;
    state.addresses.admit(service, addresses, undo);
    this.sources.admit(service.id, before, desired, undo);
    writeSctpVips(maps, service.id, before, desired, undo);
    state.places.move(service, places, value, undo);
    // One for all addresses may have had to cede some.
    for (const host of state.places.hosts) if (host !== service) state.addresses.follow(host, undo);
    this.sources.exclude(service.id, before, desired, undo);
    state.addresses.exclude(service, addresses, undo);
  }

  private moveAddresses({ desired, before, undo }: Change): void {
    const { vips } = this.parts;
    const [had, wanted] = [before ? ownAddresses(before) : [], ownAddresses(desired)];
    for (const address of wanted.filter((one) => !had.includes(one))) {
      vips.acquire(address);
      undo.add(() => vips.release(address));
    }
    for (const address of had.filter((one) => !wanted.includes(one))) {
      vips.release(address);
      undo.add(() => vips.acquire(address));
    }
  }

  /** Takes away what belongs to a service besides its slots and endpoints. */
  withdraw(service: ServiceState, undo: Undo): void {
    const { maps, state } = this.parts;
    state.places.remove(service, undo);
    this.sources.exclude(service.id, service.rule, undefined, undo);
    writeSctpVips(maps, service.id, service.rule, undefined, undo);
  }

  /** Clients bound to an endpoint that left must choose anew. */
  private closeLeavers({ left }: Change): void {
    if (left.length === 0) return;
    this.parts.maps.endpoint.setMany(left.map((state) => [state.id, leftEntry(state.entry)]));
  }

  private remember(change: Change, value: LbService): void {
    const { service, desired, before, places, planned, left, addresses } = change;
    const { state } = this.parts;
    const oldRun = runOf(service.value);
    if (before && (oldRun.base !== value.slotBase || oldRun.count !== value.slotCount)) state.runs.retire(oldRun);
    for (const endpoint of left) {
      endpoint.entry = leftEntry(endpoint.entry);
      state.left(endpoint);
    }
    for (const { state: endpoint, record, entry } of planned) Object.assign(endpoint, { record, entry });
    Object.assign(service, { rule: desired, places, addresses, value, ...idleOf(desired) });
    service.endpoints = planned.map(({ state: endpoint }) => endpoint);
  }
}

/** Idle time of established flows, and whether its end is told to both ends. */
export function idleOf(rule: Rule): { idleTicks: number; reset: number } {
  return { idleTicks: secondsToTicks(rule.inactiveTimeOut), reset: resetsIdleFlows(rule) ? 1 : 0 };
}

/** An endpoint that is down stays marked until its flows are cut, whatever else changes. */
export function stillCut(before: LbEndpoint, entry: LbEndpoint): LbEndpoint {
  const isDown = entry.active === 0 && before.active === 0;
  return isDown ? { ...entry, flags: entry.flags | (before.flags & CUT_FLAGS) } : entry;
}

export function leftEntry(entry: LbEndpoint): LbEndpoint {
  return { ...entry, active: 0, weight: WEIGHT_LEFT };
}

function taken(desired: Rule, place: Place, { owner, place: theirs }: Claim<ServiceState>): LoxilbError {
  if (place.port === theirs.port && place.portMax === theirs.portMax) {
    return lbError(
      'LB_SERVICE_TAKEN',
      `packets of ${describeRule(desired)} already belong to ${describeRule(owner.rule)}`,
      {
        field: 'serviceArguments.externalIP',
        value: place.addr,
      },
    );
  }
  return lbError(
    'LB_RANGE_OVERLAP',
    `port range ${desired.port}-${desired.portMax} of ${describeRule(desired)} overlaps rule ${describeRule(owner.rule)}`,
    {
      field: 'serviceArguments.portMax',
      value: desired.portMax,
      remedy: 'a single port inside a range is fine, two ranges that share a port are not',
    },
  );
}

function checkReachable(rule: Rule, endpoint: RuleEndpoint, entry: LbEndpoint): void {
  if (isReachable(rule, entry)) return;
  const family = ipFamily(endpoint.endpointIP);
  throw lbError(
    'LB_NO_SOURCE',
    `${describeEndpoint(endpoint)} cannot be reached for ${describeRule(rule)}: this machine has no IPv${family} address towards it`,
    { field: 'endpoints', value: endpoint.endpointIP, remedy: `give this machine an IPv${family} address and a route` },
  );
}

function leavers(service: ServiceState, planned: readonly PlannedEndpoint[]): EndpointState[] {
  const staying = new Set(planned.map(({ state }) => state));
  return service.endpoints.filter((endpoint) => !staying.has(endpoint));
}

function sameSelection(service: ServiceState, desired: Rule, planned: readonly PlannedEndpoint[]): boolean {
  return (
    service.rule.sel === desired.sel &&
    service.endpoints.length === planned.length &&
    planned.every(({ state, entry }, index) => {
      const before = service.endpoints[index];
      return before === state && sameShare(service.rule, before.entry, desired, entry);
    })
  );
}

function sameShare(oldRule: Rule, before: LbEndpoint, rule: Rule, after: LbEndpoint): boolean {
  return (
    before.weight === after.weight &&
    before.active === after.active &&
    isReachable(oldRule, before) === isReachable(rule, after)
  );
}
