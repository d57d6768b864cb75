import { AddressTable } from './address-table.js';
import { Few } from './few.js';
import { IdPool } from './id-pool.js';
import type { LbEndpoint, LbService } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import type { Rule, RuleEndpoint } from './model.js';
import { PlaceTable } from './place-table.js';
import type { Place } from './places.js';
import { SlotRuns } from './slot-runs.js';

/** A rule as it is programmed. */
export interface ServiceState {
  readonly id: number;
  rule: Rule;
  /** Where packets find it. */
  places: readonly Place[];
  /** What it counts for in `lb_address`. */
  addresses: readonly string[];
  /** What the data plane holds there. */
  value: LbService;
  idleTicks: number;
  /** 1: flows that idle out are reset. */
  reset: number;
  /** In the rule's order. */
  endpoints: EndpointState[];
  /** Endpoints that left the rule while flows of theirs ran on, by endpoint key. */
  leaving: Map<string, EndpointState> | undefined;
}

/** An endpoint of one service; its id is for life. */
export interface EndpointState {
  readonly id: number;
  readonly service: ServiceState;
  /** Looked up again when the endpoint comes back after it had left. */
  record: EndpointRecord;
  /** What `lb_endpoint` holds under `id`. */
  entry: LbEndpoint;
}

/** Address, protocol and port, whatever rules use them: health is a property of this. */
export interface EndpointRecord {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
  active: boolean;
  /** The endpoints of rules it stands for. */
  readonly users: Few<EndpointState>;
}

/** Of a service that is not in the map yet. */
export const NO_VALUE: LbService = {
  serviceId: 0,
  slotBase: 0,
  slotCount: 0,
  affinityTicks: 0,
  select: 0,
  mode: 0,
  flags: 0,
  port: 0,
};

/** Weight of an entry whose endpoint has left its rule: tells a restarted daemon that it is not merely unhealthy. */
export const WEIGHT_LEFT = 0xffff_ffff;

/** What this process remembers of the maps, and what is free in them. */
export class LbState {
  /** By rule key. */
  readonly services = new Map<string, ServiceState>();
  readonly byId = new Map<number, ServiceState>();
  readonly places: PlaceTable;
  readonly addresses: AddressTable;
  readonly serviceIds: IdPool;
  readonly endpointIds: IdPool;
  readonly runs: SlotRuns;
  private readonly recordsByKey = new Map<string, EndpointRecord>();

  constructor(maps: LbMaps) {
    this.serviceIds = new IdPool(maps.service.spec.maxEntries);
    this.endpointIds = new IdPool(maps.endpoint.spec.maxEntries);
    this.runs = new SlotRuns(maps.slot);
    this.places = new PlaceTable(maps);
    this.addresses = new AddressTable(maps);
  }

  get records(): Iterable<EndpointRecord> {
    return this.recordsByKey.values();
  }

  findRecord(address: string, protocol: string, port: number): EndpointRecord | undefined {
    return this.recordsByKey.get(recordKey(address, protocol, port));
  }

  /** The record of an endpoint of `rule`; a new one counts as active until somebody knows better. */
  record(rule: Rule, { endpointIP, targetPort }: RuleEndpoint): EndpointRecord {
    const key = recordKey(endpointIP, rule.protocol, targetPort);
    let record = this.recordsByKey.get(key);
    if (record === undefined) {
      record = { address: endpointIP, protocol: rule.protocol, port: targetPort, active: true, users: new Few() };
      this.recordsByKey.set(key, record);
    }
    return record;
  }

  joined(endpoint: EndpointState): void {
    endpoint.record.users.add(endpoint);
  }

  left(endpoint: EndpointState): void {
    endpoint.record.users.delete(endpoint);
    this.forgetUnused(endpoint.record);
  }

  /** Drops a record no rule uses, e.g. of a rule that could not be programmed. */
  forgetUnused(record: EndpointRecord): void {
    if (record.users.size === 0) this.recordsByKey.delete(recordKey(record.address, record.protocol, record.port));
  }
}

function recordKey(address: string, protocol: string, port: number): string {
  return `${address}|${protocol}|${port}`;
}
