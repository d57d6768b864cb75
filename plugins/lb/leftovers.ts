import { runOf } from './derive.js';
import { ENDS_NOW } from './ending.js';
import { Few } from './few.js';
import { CUT_FLAGS } from './flow-cuts.js';
import type { Pinned, PinnedEndpoint } from './pinned.js';
import { deleteKeys, keysOf, keyText, type PlaceKey } from './places.js';
import { leftEntry } from './programmer.js';
import type { Draft, ReconcileParts } from './reconcile.js';
import type { SlotRun } from './slot-runs.js';
import { type EndpointState, WEIGHT_LEFT } from './state.js';

/** What the maps hold and no rule wants. */
export interface Leftovers {
  readonly keys: readonly PlaceKey[];
  readonly runs: readonly SlotRun[];
  /** In service until now. Endpoint ids by service id. */
  readonly serving: ReadonlyMap<number, readonly number[]>;
  /** Taken out of service by an earlier daemon; flows of these drained or were being cut. */
  readonly resumed: ReadonlyMap<number, readonly PinnedEndpoint[]>;
  /** The same, and they were to end, or had. */
  readonly retired: ReadonlyMap<number, readonly number[]>;
  /** Endpoints of services that live on without them. */
  readonly endpoints: readonly PinnedEndpoint[];
}

/** What is in the maps and in no rule. Its ids are taken at once, so that nothing new gets them. */
export function findLeftovers(
  pinned: Pinned,
  drafts: readonly Draft[],
  claimed: ReadonlySet<number>,
  { state, drains }: ReconcileParts,
): Leftovers {
  const kept = new Set(drafts.map(({ id }) => id));
  const wantedKeys = new Set(drafts.flatMap(({ places }) => places.flatMap(keysOf)).map(keyText));
  const stale = [...pinned.services].filter(([text]) => !wantedKeys.has(text)).map(([, service]) => service);
  const serving = new Map<number, readonly number[]>(stale.map(({ value }) => [value.serviceId, []]));
  const retired = new Map<number, readonly number[]>();
  const resumed = new Map<number, readonly PinnedEndpoint[]>();
  const endpoints: PinnedEndpoint[] = [];
  const isEnding = ({ id, entry }: PinnedEndpoint): boolean => drains.get(id) !== undefined || isCut(entry.flags);
  for (const id of new Set([...serving.keys(), ...pinned.states.keys(), ...pinned.endpoints.keys()])) {
    const unclaimed = (pinned.endpoints.get(id) ?? []).filter(
      (endpoint) => !claimed.has(endpoint.id) && state.endpointIds.reserve(endpoint.id),
    );
    if (kept.has(id)) {
      endpoints.push(...unclaimed);
      serving.delete(id);
    } else if (!state.serviceIds.reserve(id)) serving.delete(id);
    else if (serving.has(id)) serving.set(id, unclaimed.map(idOf));
    else if (pinned.states.get(id)?.alive === 1 && unclaimed.some(isEnding)) resumed.set(id, unclaimed);
    else retired.set(id, unclaimed.map(idOf));
  }
  const runs = stale.map(({ value }) => runOf(value)).filter((run) => state.runs.reserve(run));
  return { keys: stale.map(({ key }) => key), runs, serving, resumed, retired, endpoints };
}

function idOf({ id }: { readonly id: number }): number {
  return id;
}

function isCut(flags: number): boolean {
  return (flags & CUT_FLAGS) !== 0;
}

export interface Retired {
  /** Map entries changed. */
  readonly changed: number;
  /** Service addresses that are needed until flows have drained. */
  readonly addresses: readonly string[];
  /** What each of those services still counts for in `lb_address`. */
  readonly watched: readonly (readonly string[])[];
}

/** Takes leftovers out of service, and lets their ids rest until no flow carries them. */
export function retire(leftovers: Leftovers, parts: ReconcileParts): Retired {
  const { keys, runs, serving, resumed, retired, endpoints } = leftovers;
  const { maps, state, retirement } = parts;
  deleteKeys(maps, keys);
  for (const run of runs) state.runs.retire(run);
  const ended = [...serving.keys(), ...retired.keys()].map(
    (id) => [id, { cursor: 0, idleTicks: 0, alive: 0, reset: 0 }] as const,
  );
  if (ended.length > 0) maps.serviceState.setMany(ended);
  for (const [id, endpointIds] of serving) retirement.retireService(id, endpointIds, ENDS_NOW);
  retirement.adoptServices(retired, ENDS_NOW);
  const services = [...resumed].map(([id, all]) => resumeService(id, all, parts));
  const closed = closeEndpoints(endpoints, parts);
  dropNotes([...resumed.values()].flat(), endpoints, parts);
  return {
    changed: keys.length + ended.length + closed,
    addresses: services.flatMap(({ addresses }) => addresses),
    watched: services.map(({ watched }) => watched),
  };
}

/** Returns the addresses the service still needs. */
function resumeService(
  id: number,
  endpoints: readonly PinnedEndpoint[],
  { state, retirement, drains, vips }: ReconcileParts,
): { readonly addresses: readonly string[]; readonly watched: readonly string[] } {
  const note = endpoints.map((one) => drains.get(one.id)).find((one) => one !== undefined);
  const isReset = note?.reset === 1 || endpoints.some(({ entry }) => (entry.flags & CUT_FLAGS) === CUT_FLAGS);
  const addresses = note?.ownsAddress ? [note.addr] : [];
  const watched = [...new Set([...(note ? [note.addr] : []), ...endpoints.map(({ entry }) => entry.addr)])];
  retirement.resumeService(id, endpoints.map(idOf), isReset, () => {
    for (const address of addresses) vips.release(address);
    state.addresses.release(watched);
  });
  return { addresses, watched };
}

function closeEndpoints(endpoints: readonly PinnedEndpoint[], parts: ReconcileParts): number {
  const open = endpoints.filter(({ entry }) => entry.weight !== WEIGHT_LEFT);
  if (open.length > 0) parts.maps.endpoint.setMany(open.map(({ id, entry }) => [id, leftEntry(entry)]));
  const closed = endpoints.filter(({ entry }) => entry.weight === WEIGHT_LEFT);
  const resting = new Set(
    parts.retirement.adoptEndpoints(new Map(closed.map(({ id, entry }) => [id, entry.serviceId]))),
  );
  // With a note it was about to come back, and the daemon died before that was answered: it drains on.
  for (const one of open) watch(one, parts.drains.get(one.id) !== undefined, parts);
  for (const one of closed) if (resting.has(one.id)) watch(one, true, parts);
  return open.length;
}

function watch({ id, entry }: PinnedEndpoint, wasLeaving: boolean, { state, resumeLeaver }: ReconcileParts): void {
  const service = state.byId.get(entry.serviceId);
  if (service === undefined) return;
  const { addr: address, port } = entry;
  const record = { address, port, protocol: service.rule.protocol, active: true, users: new Few<EndpointState>() };
  resumeLeaver({ id, service, record, entry: leftEntry(entry) }, wasLeaving);
}

/** Of endpoints that are in a rule again: the change that took them out was never answered. */
function dropNotes(
  resumed: readonly PinnedEndpoint[],
  endpoints: readonly PinnedEndpoint[],
  { drains }: ReconcileParts,
): void {
  const resting = new Set([...resumed, ...endpoints].map(idOf));
  drains.end([...drains.entries()].map(([id]) => id).filter((id) => !resting.has(id)));
}
