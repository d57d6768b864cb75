import type { DataPlane } from '@loxilb/sdk';
import { Addenda } from './addenda.js';
import { addressesOf } from './address-table.js';
import type { Affinities } from './affinities.js';
import { Claims } from './claims.js';
import { ownAddresses, runOf, slotsOf } from './derive.js';
import type { DrainTable } from './drain-table.js';
import { lbError } from './errors.js';
import { CUT_FLAGS } from './flow-cuts.js';
import type { LbEndpoint, LbService, LbServiceState, LbSlot } from './layout.gen.js';
import { findLeftovers, retire } from './leftovers.js';
import type { LbMaps } from './maps.js';
import { describeRule, type Rule, type RuleEndpoint, ruleKey, SELECTION } from './model.js';
import { type Pinned, type PinnedEndpoint, type PinnedService, readPinned, slotReader } from './pinned.js';
import { isHostRule, keysOf, keyText, type Place, type PlaceKey, writeKeys } from './places.js';
import { idleOf, type Programmer, stillCut } from './programmer.js';
import type { Retirement } from './retirement.js';
import { sameFields } from './same-fields.js';
import type { SlotRun } from './slot-runs.js';
import { type EndpointState, type LbState, NO_VALUE, type ServiceState, WEIGHT_LEFT } from './state.js';
import type { VipAddresses } from './vip-addresses.js';

export interface ReconcileParts {
  readonly maps: LbMaps;
  readonly state: LbState;
  readonly programmer: Programmer;
  readonly retirement: Retirement;
  readonly vips: VipAddresses;
  readonly dataplane: Pick<DataPlane, 'rawBatches'>;
  readonly drains: DrainTable;
  readonly affinities: Affinities;
  /** Of an endpoint that is in no rule any more; `wasLeaving`: an earlier daemon knew. */
  readonly resumeLeaver: (endpoint: EndpointState, wasLeaving: boolean) => void;
}

export interface ReconcileResult {
  readonly rules: number;
  /** Map entries written or removed; 0 when everything was right. */
  readonly changed: number;
}

/** A rule on its way to being a `ServiceState`. */
export interface Draft {
  readonly rule: Rule;
  /** Where packets are to find it. */
  readonly places: readonly Place[];
  readonly pinnedState: LbServiceState | undefined;
  /** In the rule's order. */
  readonly pinnedEndpoints: readonly (PinnedEndpoint | undefined)[];
  /** The run the service points at now, when this process could take it over. */
  readonly pinnedRun: SlotRun | undefined;
  id: number | undefined;
}

/**
 * At start: makes the pinned maps equal to the stored rules. Services and endpoints keep their ids, so flows that run
 * stay with them; entries that are right are not written. What no rule wants is taken out of service and its flows end
 * or are watched as after a delete.
 */
export function reconcile(rules: readonly Rule[], parts: ReconcileParts): ReconcileResult {
  parts.drains.adopt();
  const pinned = readPinned(parts.maps, parts.dataplane);
  const claimed = new Set<number>();
  const places = divide(rules, parts.programmer);
  const drafts = rules.map((rule) => adopt(rule, places.get(rule) ?? [], pinned, claimed, parts));
  const leftovers = findLeftovers(pinned, drafts, claimed, parts);
  const writes = new Writes();
  const readSlot = slotReader(
    parts.maps,
    parts.dataplane,
    drafts.flatMap(({ pinnedRun }) => pinnedRun ?? []),
  );
  for (const draft of drafts) complete(draft, pinned, readSlot, writes, parts);
  const addenda = new Addenda(parts.maps, parts.state.services.values());
  const added = addenda.add();
  writes.flush(parts.maps);
  const switched = parts.state.places.adoptFlags() ? 1 : 0;
  const retired = retire(leftovers, parts);
  const removed = retired.changed + addenda.prune() + countAddresses(retired.watched, parts) + forgetClients(parts);
  parts.vips.reconcile([...rules.flatMap(ownAddresses), ...retired.addresses]);
  return { rules: rules.length, changed: added + writes.count + switched + removed };
}

/** Of services that are gone; those there are may have some, or get some. */
function forgetClients({ state, affinities }: ReconcileParts): number {
  for (const { id, rule } of state.byId.values()) if (rule.sel === SELECTION.persist) affinities.note(id);
  return affinities.keepOnly(state.byId);
}

/** With those of services whose flows drain, though they have no rule any more. */
function countAddresses(watched: readonly (readonly string[])[], { state }: ReconcileParts): number {
  const services = [...state.services.values()];
  for (const service of services) service.addresses = addressesOf(service, service.leaving);
  return state.addresses.reconcile([...services.map(({ addresses }) => addresses), ...watched]);
}

/** Rules for all addresses of this machine get what those with an address of their own leave. */
function divide(rules: readonly Rule[], programmer: Programmer): Map<Rule, readonly Place[]> {
  const claims = new Claims<Rule>();
  const divided = new Map<Rule, readonly Place[]>();
  for (const rule of rules) {
    if (isHostRule(rule)) continue;
    const places = programmer.allPlaces(rule);
    for (const place of places) claims.add(place, rule);
    divided.set(rule, places);
  }
  for (const rule of rules) {
    if (!isHostRule(rule)) continue;
    divided.set(
      rule,
      programmer.allPlaces(rule).filter((place) => claims.rivals(place).length === 0),
    );
  }
  return divided;
}

/** Everything in the order packets may meet it: what is pointed at before what points. */
class Writes {
  readonly endpoints: [number, LbEndpoint][] = [];
  readonly states: [number, LbServiceState][] = [];
  readonly slots: [number, LbSlot][] = [];
  readonly services: [PlaceKey, LbService][] = [];

  get count(): number {
    return this.endpoints.length + this.states.length + this.slots.length + this.services.length;
  }

  flush(maps: LbMaps): void {
    if (this.endpoints.length > 0) maps.endpoint.setMany(this.endpoints);
    if (this.states.length > 0) maps.serviceState.setMany(this.states);
    if (this.slots.length > 0) maps.slot.setMany(this.slots);
    writeKeys(maps, this.services);
  }
}

/** Takes over what the maps have of this rule: service id, endpoint ids, the run of slots. */
function adopt(
  rule: Rule,
  places: readonly Place[],
  pinned: Pinned,
  claimed: Set<number>,
  { state }: ReconcileParts,
): Draft {
  const service = pinnedService(places, pinned);
  const id = service && state.serviceIds.reserve(service.value.serviceId) ? service.value.serviceId : undefined;
  const run = service && runOf(service.value);
  const pinnedEndpoints = id === undefined ? [] : matchEndpoints(rule, pinned.endpoints.get(id) ?? []);
  for (const [index, endpoint] of pinnedEndpoints.entries()) {
    if (endpoint === undefined) continue;
    if (!state.endpointIds.reserve(endpoint.id)) pinnedEndpoints[index] = undefined;
    else claimed.add(endpoint.id);
    // Unhealthy then is unhealthy now; one that had left the rule was never judged.
    const isDown = endpoint.entry.active === 0 && endpoint.entry.weight !== WEIGHT_LEFT;
    if (isDown) state.record(rule, rule.endpoints[index] as RuleEndpoint).active = false;
  }
  return {
    rule,
    places,
    id,
    pinnedState: id === undefined ? undefined : pinned.states.get(id),
    pinnedEndpoints,
    pinnedRun: run && state.runs.reserve(run) ? run : undefined,
  };
}

/** What the maps have of it, wherever that is. */
function pinnedService(places: readonly Place[], { services }: Pinned): PinnedService | undefined {
  for (const place of places) {
    for (const key of keysOf(place)) {
      const found = services.get(keyText(key));
      if (found) return found;
    }
  }
  return undefined;
}

/** Finds each endpoint of the rule among the pinned ones; mostly they are in the same order. */
function matchEndpoints(rule: Rule, pinned: readonly PinnedEndpoint[]): (PinnedEndpoint | undefined)[] {
  return rule.endpoints.map(({ endpointIP, targetPort }, index) => {
    const isIt = ({ entry }: PinnedEndpoint): boolean => entry.addr === endpointIP && entry.port === targetPort;
    const likely = pinned[index];
    return likely && isIt(likely) ? likely : pinned.find(isIt);
  });
}

/** Gives the rule what it has not got yet, and notes what the maps lack. */
function complete(
  draft: Draft,
  pinned: Pinned,
  readSlot: (slot: number) => number,
  writes: Writes,
  parts: ReconcileParts,
): void {
  const { state, programmer } = parts;
  const { rule, places } = draft;
  const id = draft.id ?? takeId(state.serviceIds, rule);
  draft.id = id;
  const idle = idleOf(rule);
  const nothing = { addresses: [], endpoints: [], leaving: undefined };
  const service: ServiceState = { id, rule, places, value: NO_VALUE, ...idle, ...nothing };
  const endpoints = rule.endpoints.map((_, index) => completeEndpoint(index, draft, service, writes, parts));
  const run = completeRun(draft, slotsOf(rule, endpoints), readSlot, writes, state);
  const value = programmer.valueOf(id, rule, run);
  for (const key of places.flatMap(keysOf)) {
    const there = pinned.services.get(keyText(key))?.value;
    if (!there || !sameFields(there, value)) writes.services.push([key, value]);
  }
  const wantedState = { cursor: draft.pinnedState?.cursor ?? 0, ...idle, alive: 1 };
  if (!draft.pinnedState || !sameFields(draft.pinnedState, wantedState)) writes.states.push([id, wantedState]);
  Object.assign(service, { value, endpoints });
  for (const endpoint of endpoints) state.joined(endpoint);
  state.services.set(ruleKey(rule), service);
  state.byId.set(id, service);
  state.places.adopt(service);
}

function completeEndpoint(
  index: number,
  { rule, pinnedEndpoints }: Draft,
  service: ServiceState,
  writes: Writes,
  { state, programmer, retirement }: ReconcileParts,
): EndpointState {
  const wanted = rule.endpoints[index] as RuleEndpoint;
  const record = state.record(rule, wanted);
  const pinned = pinnedEndpoints[index];
  const fresh = programmer.entryOf(rule, wanted, service.id, record.active);
  const hadLeft = pinned?.entry.weight === WEIGHT_LEFT;
  const entry = pinned && !hadLeft ? stillCut(pinned.entry, fresh) : fresh;
  const id = pinned?.id ?? takeId(state.endpointIds, rule);
  if (!pinned || !sameFields(pinned.entry, entry)) writes.endpoints.push([id, entry]);
  if ((entry.flags & CUT_FLAGS) !== 0) retirement.cut([id]);
  return { id, service, record, entry };
}

function completeRun(
  { pinnedRun }: Draft,
  ids: readonly number[],
  readSlot: (slot: number) => number,
  writes: Writes,
  { runs }: LbState,
): SlotRun {
  if (pinnedRun?.count === ids.length && ids.every((id, index) => readSlot(pinnedRun.base + index) === id)) {
    return pinnedRun;
  }
  if (pinnedRun) runs.retire(pinnedRun);
  const run = runs.allocate(ids.length);
  for (const [index, endpointId] of ids.entries()) writes.slots.push([run.base + index, { endpointId }]);
  return run;
}

function takeId(pool: LbState['serviceIds'], rule: Rule): number {
  const id = pool.take();
  if (id !== undefined) return id;
  throw lbError('LB_RULES_FULL', `the maps have no room for stored rule ${describeRule(rule)} and those after it`, {
    remedy: 'raise maxServices and maxEndpoints of the lb plugin to at least what they were',
  });
}
