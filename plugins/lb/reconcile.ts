import type { DataPlane } from '@loxilb/sdk';
import { lbError } from './errors.js';
import { Few } from './few.js';
import type { LbEndpoint, LbService, LbServiceKey, LbServiceState, LbSlot } from './layout.gen.js';
import { type LbMaps, secondsToTicks } from './maps.js';
import { describeRule, type Rule, type RuleEndpoint, ruleKey, serviceKey, serviceKeyText } from './model.js';
import { type Pinned, type PinnedEndpoint, readPinned, slotReader } from './pinned.js';
import { leftEntry, ownAddress, type Programmer, runOf, sameEntry, sameValue, slotsOf } from './programmer.js';
import type { Retirement } from './retirement.js';
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
  readonly watchLeaver: (endpoint: EndpointState) => void;
}

export interface ReconcileResult {
  readonly rules: number;
  /** Map entries written or removed; 0 when everything was right. */
  readonly changed: number;
}

/** A rule on its way to being a `ServiceState`. */
interface Draft {
  readonly rule: Rule;
  readonly key: LbServiceKey;
  readonly pinnedValue: LbService | undefined;
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
  const pinned = readPinned(parts.maps, parts.dataplane);
  const claimed = new Set<number>();
  const drafts = rules.map((rule) => adopt(rule, pinned, claimed, parts));
  const leftovers = findLeftovers(pinned, drafts, claimed, parts);
  const writes = new Writes();
  const readSlot = slotReader(
    parts.maps,
    parts.dataplane,
    drafts.flatMap(({ pinnedRun }) => pinnedRun ?? []),
  );
  for (const draft of drafts) complete(draft, readSlot, writes, parts);
  writes.flush(parts.maps);
  const removed = retire(leftovers, parts);
  parts.vips.reconcile(rules.map(ownAddress).filter((address) => address !== undefined));
  return { rules: rules.length, changed: writes.count + removed };
}

/** Everything in the order packets may meet it: what is pointed at before what points. */
class Writes {
  readonly endpoints: [number, LbEndpoint][] = [];
  readonly states: [number, LbServiceState][] = [];
  readonly slots: [number, LbSlot][] = [];
  readonly services: [LbServiceKey, LbService][] = [];

  get count(): number {
    return this.endpoints.length + this.states.length + this.slots.length + this.services.length;
  }

  flush(maps: LbMaps): void {
    if (this.endpoints.length > 0) maps.endpoint.setMany(this.endpoints);
    if (this.states.length > 0) maps.serviceState.setMany(this.states);
    if (this.slots.length > 0) maps.slot.setMany(this.slots);
    if (this.services.length > 0) maps.service.setMany(this.services);
  }
}

/** Takes over what the maps have of this rule: service id, endpoint ids, the run of slots. */
function adopt(rule: Rule, pinned: Pinned, claimed: Set<number>, { state }: ReconcileParts): Draft {
  const key = serviceKey(rule);
  const service = pinned.services.get(serviceKeyText(key));
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
    key,
    id,
    pinnedValue: id === undefined ? undefined : service?.value,
    pinnedState: id === undefined ? undefined : pinned.states.get(id),
    pinnedEndpoints,
    pinnedRun: run && state.runs.reserve(run) ? run : undefined,
  };
}

/** Finds each endpoint of the rule among the pinned ones; mostly they are in the same order. */
function matchEndpoints(rule: Rule, pinned: readonly PinnedEndpoint[]): (PinnedEndpoint | undefined)[] {
  return rule.endpoints.map(({ endpointIP, targetPort }, index) => {
    const isIt = ({ entry }: PinnedEndpoint): boolean => entry.addr === endpointIP && entry.port === targetPort;
    const likely = pinned[index];
    return likely && isIt(likely) ? likely : pinned.find(isIt);
  });
}

interface Leftovers {
  readonly keys: readonly LbServiceKey[];
  readonly runs: readonly SlotRun[];
  /** In service until now. Endpoint ids by service id. */
  readonly serving: ReadonlyMap<number, readonly number[]>;
  /** Taken out of service by an earlier daemon. */
  readonly retired: ReadonlyMap<number, readonly number[]>;
  /** Endpoints of services that live on without them. */
  readonly endpoints: readonly PinnedEndpoint[];
}

/** What is in the maps and in no rule. Its ids are taken at once, so that nothing new gets them. */
function findLeftovers(
  pinned: Pinned,
  drafts: readonly Draft[],
  claimed: ReadonlySet<number>,
  { state }: ReconcileParts,
): Leftovers {
  const kept = new Set(drafts.map(({ id }) => id));
  const wantedKeys = new Set(drafts.map(({ key }) => serviceKeyText(key)));
  const stale = [...pinned.services].filter(([text]) => !wantedKeys.has(text)).map(([, service]) => service);
  const serving = new Map<number, readonly number[]>(stale.map(({ value }) => [value.serviceId, []]));
  const retired = new Map<number, readonly number[]>();
  const endpoints: PinnedEndpoint[] = [];
  for (const id of new Set([...serving.keys(), ...pinned.states.keys(), ...pinned.endpoints.keys()])) {
    const unclaimed = (pinned.endpoints.get(id) ?? []).filter(
      (endpoint) => !claimed.has(endpoint.id) && state.endpointIds.reserve(endpoint.id),
    );
    if (kept.has(id)) endpoints.push(...unclaimed);
    else if (!state.serviceIds.reserve(id)) serving.delete(id);
    else {
      const section = serving.has(id) ? serving : retired;
      section.set(id, unclaimed.map(idOf));
    }
  }
  const runs = stale.map(({ value }) => runOf(value)).filter((run) => state.runs.reserve(run));
  return { keys: stale.map(({ key }) => key), runs, serving, retired, endpoints };
}

function idOf({ id }: { readonly id: number }): number {
  return id;
}

/** Gives the rule what it has not got yet, and notes what the maps lack. */
function complete(draft: Draft, readSlot: (slot: number) => number, writes: Writes, parts: ReconcileParts): void {
  const { state, programmer } = parts;
  const { rule, key } = draft;
  const id = draft.id ?? takeId(state.serviceIds, rule);
  draft.id = id;
  const idleTicks = secondsToTicks(rule.inactiveTimeOut);
  const service: ServiceState = { id, rule, key, value: NO_VALUE, idleTicks, endpoints: [], leaving: undefined };
  const endpoints = rule.endpoints.map((_, index) => completeEndpoint(index, draft, service, writes, parts));
  const run = completeRun(draft, slotsOf(rule, endpoints), readSlot, writes, state);
  const value = programmer.valueOf(id, rule, run);
  if (!draft.pinnedValue || !sameValue(draft.pinnedValue, value)) writes.services.push([key, value]);
  if (draft.pinnedState?.alive !== 1 || draft.pinnedState.idleTicks !== idleTicks) {
    writes.states.push([id, { cursor: draft.pinnedState?.cursor ?? 0, idleTicks, alive: 1 }]);
  }
  Object.assign(service, { value, endpoints });
  for (const endpoint of endpoints) state.joined(endpoint);
  state.services.set(ruleKey(rule), service);
  state.byId.set(id, service);
  state.byServiceKey.set(serviceKeyText(key), service);
}

function completeEndpoint(
  index: number,
  { rule, pinnedEndpoints }: Draft,
  service: ServiceState,
  writes: Writes,
  { state, programmer }: ReconcileParts,
): EndpointState {
  const wanted = rule.endpoints[index] as RuleEndpoint;
  const record = state.record(rule, wanted);
  const entry = programmer.entryOf(rule, wanted, service.id, record.active);
  const pinned = pinnedEndpoints[index];
  const id = pinned?.id ?? takeId(state.endpointIds, rule);
  if (!pinned || !sameEntry(pinned.entry, entry)) writes.endpoints.push([id, entry]);
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

/** Takes leftovers out of service, and lets their ids rest until no flow carries them. Returns the entries changed. */
function retire({ keys, runs, serving, retired, endpoints }: Leftovers, parts: ReconcileParts): number {
  const { maps, state, retirement } = parts;
  if (keys.length > 0) maps.service.deleteMany(keys);
  for (const run of runs) state.runs.retire(run);
  const ended = [...serving.keys(), ...retired.keys()].map(
    (id) => [id, { cursor: 0, idleTicks: 0, alive: 0 }] as const,
  );
  if (ended.length > 0) maps.serviceState.setMany(ended);
  for (const [id, endpointIds] of serving) retirement.retireService(id, endpointIds);
  retirement.adoptServices(retired);
  return keys.length + ended.length + closeEndpoints(endpoints, parts);
}

function closeEndpoints(endpoints: readonly PinnedEndpoint[], parts: ReconcileParts): number {
  const open = endpoints.filter(({ entry }) => entry.weight !== WEIGHT_LEFT);
  if (open.length > 0) parts.maps.endpoint.setMany(open.map(({ id, entry }) => [id, leftEntry(entry)]));
  const closed = endpoints.filter(({ entry }) => entry.weight === WEIGHT_LEFT);
  const resting = new Set(parts.retirement.adoptEndpoints(closed.map(({ id }) => id)));
  for (const one of [...open, ...closed.filter(({ id }) => resting.has(id))]) watch(one, parts);
  return open.length;
}

function watch({ id, entry }: PinnedEndpoint, { state, watchLeaver }: ReconcileParts): void {
  const service = state.byId.get(entry.serviceId);
  if (service === undefined) return;
  const { addr: address, port } = entry;
  const record = { address, port, protocol: service.rule.protocol, active: true, users: new Few<EndpointState>() };
  watchLeaver({ id, service, record, entry: leftEntry(entry) });
}
