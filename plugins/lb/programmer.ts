import type { AddressBook } from './addresses.js';
import { lbError } from './errors.js';
import type { LbEndpoint, LbService, LbServiceKey } from './layout.gen.js';
import { type LbMaps, secondsToTicks } from './maps.js';
import {
  describeRule,
  endpointKey,
  looksAfterAddress,
  type Rule,
  type RuleEndpoint,
  SELECTION,
  serviceAddress,
  serviceKey,
  serviceKeyText,
} from './model.js';
import { selectionSlots } from './selection.js';
import type { SlotRun } from './slot-runs.js';
import { type EndpointRecord, type EndpointState, type LbState, type ServiceState, WEIGHT_LEFT } from './state.js';
import { Undo } from './undo.js';
import type { VipAddresses } from './vip-addresses.js';

export interface ProgrammerParts {
  readonly maps: LbMaps;
  readonly state: LbState;
  readonly book: AddressBook;
  readonly vips: Pick<VipAddresses, 'acquire' | 'release'>;
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
  readonly isNew: boolean;
  readonly planned: readonly PlannedEndpoint[];
  /** Endpoints of the service that the desired rule does not have. */
  readonly left: readonly EndpointState[];
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
  constructor(private readonly parts: ProgrammerParts) {}

  /** Makes the data plane follow `desired` and returns the endpoints that have left. */
  program(service: ServiceState, desired: Rule, isNew: boolean): readonly EndpointState[] {
    const key = serviceKey(desired);
    this.checkFree(service, key, desired);
    const undo = new Undo();
    try {
      const planned = this.planEndpoints(service, desired, undo);
      const change = { service, desired, isNew, planned, left: leavers(service, planned), undo };
      this.writeEndpoints(change);
      this.writeState(change);
      const run = this.writeSlots(change);
      const value = this.valueOf(service.id, desired, run);
      this.writeService(change, key, value);
      this.moveAddress(change);
      this.closeLeavers(change);
      this.remember(change, key, value);
      return change.left;
    } catch (error) {
      undo.run();
      throw error;
    }
  }

  /** Builds the slots of these services anew from what their endpoints are now. */
  rebuildSlots(services: readonly ServiceState[]): void {
    const { state, maps } = this.parts;
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
        maps.service.setMany(runs.map(({ service, value }) => [service.key, value]));
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
      active: active ? 1 : 0,
      serviceId,
      weight: endpoint.weight,
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
    };
  }

  /** A private address may make two rules one service. */
  private checkFree(service: ServiceState, key: LbServiceKey, desired: Rule): void {
    const other = this.parts.state.byServiceKey.get(serviceKeyText(key));
    if (other === undefined || other === service) return;
    throw lbError(
      'LB_SERVICE_TAKEN',
      `packets of ${describeRule(desired)} already belong to ${describeRule(other.rule)}`,
      {
        field: 'serviceArguments.privateIP',
        value: serviceAddress(desired),
      },
    );
  }

  private planEndpoints(service: ServiceState, desired: Rule, undo: Undo): PlannedEndpoint[] {
    const present = new Map(service.endpoints.map((one) => [`${one.entry.addr}|${one.entry.port}`, one]));
    return desired.endpoints.map((wanted) => {
      const key = endpointKey(wanted);
      const known = present.get(key) ?? service.leaving?.get(key);
      const record = this.parts.state.record(desired, wanted);
      undo.add(() => this.parts.state.forgetUnused(record));
      const entry = this.entryOf(desired, wanted, service.id, record.active);
      if (known) return { state: known, record, entry, fresh: false };
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
    const changed = planned.filter(({ state, entry, fresh }) => fresh || !sameEntry(state.entry, entry));
    if (changed.length === 0) return;
    const before = changed.filter(({ fresh }) => !fresh).map(({ state }) => [state.id, state.entry] as const);
    const fresh = changed.filter((one) => one.fresh).map(({ state }) => state.id);
    endpoint.setMany(changed.map(({ state, entry }) => [state.id, entry]));
    undo.add(() => {
      if (before.length > 0) endpoint.setMany(before);
      if (fresh.length > 0) endpoint.deleteMany(fresh);
    });
  }

  private writeState({ service, desired, isNew, undo }: Change): void {
    const { serviceState } = this.parts.maps;
    const idleTicks = secondsToTicks(desired.inactiveTimeOut);
    if (isNew) {
      serviceState.set(service.id, { cursor: 0, idleTicks, alive: 1 });
      undo.add(() => serviceState.delete(service.id));
    } else if (idleTicks !== service.idleTicks) {
      const before = service.idleTicks;
      this.setIdleTicks(service.id, idleTicks);
      undo.add(() => this.setIdleTicks(service.id, before));
    }
  }

  /** The cursor belongs to the packets; a step of theirs between these two lines is lost, which no one can see. */
  private setIdleTicks(serviceId: number, idleTicks: number): void {
    const { serviceState } = this.parts.maps;
    serviceState.set(serviceId, { cursor: serviceState.get(serviceId)?.cursor ?? 0, idleTicks, alive: 1 });
  }

  private writeSlots({ service, desired, isNew, planned, undo }: Change): SlotRun {
    if (!isNew && sameSelection(service, desired, planned)) return runOf(service.value);
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

  private writeService({ service, isNew, undo }: Change, key: LbServiceKey, value: LbService): void {
    const { service: map } = this.parts.maps;
    const moved = !isNew && serviceKeyText(key) !== serviceKeyText(service.key);
    if (!isNew && !moved && sameValue(service.value, value)) return;
    const { key: oldKey, value: oldValue } = service;
    map.set(key, value);
    undo.add(() => {
      if (isNew || moved) map.delete(key);
      else map.set(oldKey, oldValue);
    });
    if (!moved) return;
    map.delete(oldKey);
    undo.add(() => map.set(oldKey, oldValue));
  }

  private moveAddress({ service, desired, isNew, undo }: Change): void {
    const { vips } = this.parts;
    const before = isNew ? undefined : ownAddress(service.rule);
    const after = ownAddress(desired);
    if (before === after) return;
    if (after !== undefined) {
      vips.acquire(after);
      undo.add(() => vips.release(after));
    }
    if (before !== undefined) {
      vips.release(before);
      undo.add(() => vips.acquire(before));
    }
  }

  /** Clients bound to an endpoint that left must choose anew. */
  private closeLeavers({ left }: Change): void {
    if (left.length === 0) return;
    this.parts.maps.endpoint.setMany(left.map((state) => [state.id, leftEntry(state.entry)]));
  }

  private remember({ service, desired, isNew, planned, left }: Change, key: LbServiceKey, value: LbService): void {
    const { state } = this.parts;
    const oldRun = runOf(service.value);
    if (!isNew) {
      state.byServiceKey.delete(serviceKeyText(service.key));
      if (oldRun.base !== value.slotBase || oldRun.count !== value.slotCount) state.runs.retire(oldRun);
    }
    state.byServiceKey.set(serviceKeyText(key), service);
    for (const endpoint of left) {
      endpoint.entry = leftEntry(endpoint.entry);
      state.left(endpoint);
    }
    for (const { state: endpoint, record, entry } of planned) Object.assign(endpoint, { record, entry });
    Object.assign(service, { rule: desired, key, value, idleTicks: secondsToTicks(desired.inactiveTimeOut) });
    service.endpoints = planned.map(({ state: endpoint }) => endpoint);
  }
}

/** The address a rule wants on this machine, undefined when somebody else looks after it. */
export function ownAddress(rule: Rule): string | undefined {
  return looksAfterAddress(rule) ? serviceAddress(rule) : undefined;
}

export function slotsOf(
  rule: Rule,
  endpoints: readonly { readonly id: number; readonly entry: LbEndpoint }[],
): number[] {
  return selectionSlots(
    rule.sel,
    endpoints.map(({ id, entry }) => ({ id, ...entry, active: entry.active === 1 })),
  );
}

export function runOf(value: LbService): SlotRun {
  return { base: value.slotBase, count: value.slotCount };
}

export function leftEntry(entry: LbEndpoint): LbEndpoint {
  return { ...entry, active: 0, weight: WEIGHT_LEFT };
}

export function sameEntry(a: LbEndpoint, b: LbEndpoint): boolean {
  return (
    a.addr === b.addr &&
    a.source === b.source &&
    a.self === b.self &&
    a.port === b.port &&
    a.active === b.active &&
    a.serviceId === b.serviceId &&
    a.weight === b.weight
  );
}

export function sameValue(a: LbService, b: LbService): boolean {
  return (
    a.serviceId === b.serviceId &&
    a.slotBase === b.slotBase &&
    a.slotCount === b.slotCount &&
    a.affinityTicks === b.affinityTicks &&
    a.select === b.select &&
    a.mode === b.mode
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
      return before === state && before.entry.weight === entry.weight && before.entry.active === entry.active;
    })
  );
}
