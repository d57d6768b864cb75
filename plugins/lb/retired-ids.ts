import type { Affinities } from './affinities.js';
import type { DrainTable } from './drain-table.js';
import type { LbMaps } from './maps.js';

/** A packet that chose an endpoint just before it left needs this long at most to show in the flow counts. */
export const GRACE_MS = 100;
/** Services whose ids are given free between two turns of the event loop. */
const CHUNK = 256;

export interface RetiredService {
  readonly endpointIds: readonly number[];
  readonly since: number;
  /** While flows drain or are cut the service stays as it is; then it is dead, and what still runs ends with it. */
  flows: 'draining' | 'cutting' | 'running' | 'ending' | 'ended';
  readonly reset: boolean;
  /** Endpoints whose flows were to be cut already, with whether both ends are told: they do not drain. */
  readonly cutting: ReadonlyMap<number, boolean>;
  readonly over: () => void;
}

export interface RetiredEndpoint {
  readonly serviceId: number;
  readonly since: number;
  flows: 'draining' | 'cutting';
  readonly reset: boolean;
  readonly freed: () => void;
}

export interface FreedIds {
  readonly services: readonly number[];
  readonly endpoints: readonly number[];
}

/** Counters of ids that come free. */
export interface TrafficKeeper {
  /** Endpoint ids with the service that keeps what they had, if it lives on. */
  endpointsFreed(ids: readonly number[], serviceOf: (id: number) => number | undefined): void;
  servicesFreed(ids: readonly number[]): void;
}

export interface RetiredIdsParts {
  readonly maps: Pick<LbMaps, 'flows' | 'endpoint' | 'serviceState'>;
  readonly drains: DrainTable;
  readonly traffic: TrafficKeeper;
  readonly affinities: Pick<Affinities, 'forget'>;
  readonly onFree: (ids: FreedIds) => void;
}

/** The ids that rest, and what it takes to give one free. */
export class RetiredIds {
  readonly services = new Map<number, RetiredService>();
  readonly endpoints = new Map<number, RetiredEndpoint>();

  constructor(private readonly parts: RetiredIdsParts) {}

  isIdle(id: number): boolean {
    const flows = this.parts.maps.flows.get(id);
    return flows === undefined || (flows.active === 0 && flows.pending === 0);
  }

  /** These rest with their service from now on. Returns those whose flows are being cut, with whether both ends are told. */
  takeCutting(endpointIds: readonly number[]): ReadonlyMap<number, boolean> {
    const cutting = new Map<number, boolean>();
    for (const id of endpointIds) {
      const endpoint = this.endpoints.get(id);
      if (endpoint?.flows === 'cutting') cutting.set(id, endpoint.reset);
      this.endpoints.delete(id);
    }
    return cutting;
  }

  /** Gives free what is without flows, in turns of the event loop. Tells whether some were too young to be looked at. */
  async sweep(now: number, isStopped: () => boolean): Promise<boolean> {
    const before = now - GRACE_MS;
    let waiting = false;
    let chunk: number[] = [];
    for (const [id, service] of this.services) {
      const isEnded = service.flows === 'ended';
      if (!isEnded && service.flows !== 'draining') continue;
      if (service.since > before) waiting = true;
      else if (isEnded && this.areIdle(service)) chunk.push(id);
      if (chunk.length < CHUNK) continue;
      await this.freeServices(chunk);
      chunk = [];
      await new Promise((resolve) => setImmediate(resolve));
      if (isStopped()) return false;
    }
    await this.freeServices(chunk);
    if (isStopped()) return false;
    return this.sweepEndpoints(before) || waiting;
  }

  /** Services whose flows have ended before their deadline. Endpoints without flows are not noted any longer. */
  drained(now: number): [number, RetiredService][] {
    const { drains } = this.parts;
    const over: [number, RetiredService][] = [];
    for (const [id, service] of this.services) {
      if (service.flows !== 'draining' || service.since > now - GRACE_MS) continue;
      const idle = service.endpointIds.filter((endpoint) => this.isIdle(endpoint));
      drains.end(idle);
      if (idle.length === service.endpointIds.length) over.push([id, service]);
      // A flow that came later than the last note went has no deadline to wait for.
      else if (!service.endpointIds.some((endpoint) => drains.get(endpoint))) service.flows = 'cutting';
    }
    return over;
  }

  /** The endpoint's entry goes last: while it is there, a new daemon knows that the id is not clean. */
  free(services: readonly number[], endpoints: readonly number[], serviceOf: (id: number) => number | undefined): void {
    const { maps, drains, traffic, onFree } = this.parts;
    if (endpoints.length > 0) {
      drains.end(endpoints);
      traffic.endpointsFreed(endpoints, serviceOf);
      maps.flows.deleteMany(endpoints);
      maps.endpoint.deleteMany(endpoints);
    }
    if (services.length > 0) {
      traffic.servicesFreed(services);
      maps.serviceState.deleteMany(services);
    }
    onFree({ services, endpoints });
  }

  private areIdle({ endpointIds }: RetiredService): boolean {
    return endpointIds.every((id) => this.isIdle(id));
  }

  private sweepEndpoints(before: number): boolean {
    let waiting = false;
    const idle: number[] = [];
    for (const [id, endpoint] of this.endpoints) {
      if (endpoint.since > before) waiting = true;
      else if (this.isIdle(id)) idle.push(id);
    }
    if (idle.length === 0) return waiting;
    this.free([], idle, (id) => this.endpoints.get(id)?.serviceId);
    for (const id of idle) {
      this.endpoints.get(id)?.freed();
      this.endpoints.delete(id);
    }
    return waiting;
  }

  private async freeServices(ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return;
    await this.parts.affinities.forget(ids);
    this.free(
      ids,
      ids.flatMap((id) => this.services.get(id)?.endpointIds ?? []),
      () => undefined,
    );
    for (const id of ids) this.services.delete(id);
  }
}
