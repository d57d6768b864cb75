import type { Conntrack, Logger } from '@loxilb/sdk';
import type { LbMaps } from './maps.js';

/** Deletes that come close together are purged together. */
const COALESCE_MS = 10;
/** A packet that chose an endpoint just before it left needs this long at most to show in the flow counts. */
const GRACE_MS = 100;
/** Services whose ids are given free between two turns of the event loop. */
const CHUNK = 256;

interface RetiredService {
  readonly endpointIds: readonly number[];
  readonly since: number;
  flows: 'running' | 'ending' | 'ended';
}

interface RetiredEndpoint {
  readonly since: number;
  readonly freed: () => void;
}

export interface FreedIds {
  readonly services: readonly number[];
  readonly endpoints: readonly number[];
}

/**
 * Ids nobody chooses any more but flows may still carry. Flows of a deleted service are ended by the conntrack plugin;
 * flows of an endpoint that left its rule run on. An id is free when no live flow is counted for it; until then nobody
 * else gets it, so old flows never count for, or go with, something new.
 */
export class Retirement {
  private readonly services = new Map<number, RetiredService>();
  private readonly endpoints = new Map<number, RetiredEndpoint>();
  private readonly toPurge = new Set<number>();
  private timer: NodeJS.Timeout | undefined;
  private working = false;
  private stopped = false;

  constructor(
    private readonly maps: Pick<LbMaps, 'flows' | 'stats' | 'endpoint' | 'serviceState'>,
    private readonly conntrack: Pick<Conntrack, 'purgeServices'>,
    private readonly onFree: (ids: FreedIds) => void,
    private readonly log: Logger,
    private readonly now: () => number = Date.now,
  ) {}

  /** Endpoint ids of the service that are quarantined already belong in the list as well. */
  retireService(id: number, endpointIds: readonly number[]): void {
    for (const endpoint of endpointIds) this.endpoints.delete(endpoint);
    this.services.set(id, { endpointIds, since: this.now(), flows: 'running' });
    this.toPurge.add(id);
    this.schedule(COALESCE_MS);
  }

  retireEndpoint(id: number, freed: () => void): void {
    this.endpoints.set(id, { since: this.now(), freed });
    this.schedule(GRACE_MS);
  }

  /**
   * Takes over what an earlier daemon had deleted: ids without flows are free at once, the others rest. Endpoint ids by
   * service id.
   */
  adoptServices(services: ReadonlyMap<number, readonly number[]>): void {
    const idle: number[] = [];
    for (const [id, endpointIds] of services) {
      if (endpointIds.some((endpoint) => !this.isIdle(endpoint))) this.retireService(id, endpointIds);
      else idle.push(id);
    }
    if (idle.length > 0)
      this.free(
        idle,
        idle.flatMap((id) => services.get(id) ?? []),
      );
  }

  /** The same for endpoints that had left rules which are still there. Returns those that rest. */
  adoptEndpoints(ids: readonly number[]): number[] {
    const idle = new Set(ids.filter((id) => this.isIdle(id)));
    if (idle.size > 0) this.free([], [...idle]);
    return ids.filter((id) => !idle.has(id));
  }

  /** The endpoint is back in its rule. */
  reclaimEndpoint(id: number): void {
    this.endpoints.delete(id);
  }

  get pending(): number {
    return this.services.size + this.endpoints.size;
  }

  /** After a pass of the conntrack plugin the flow counts are fresh. */
  onPass(): void {
    for (const [id, service] of this.services) if (service.flows === 'running') this.toPurge.add(id);
    if (this.pending > 0) this.schedule(0);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private schedule(delayMs: number): void {
    if (this.stopped || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.work();
    }, delayMs);
    this.timer.unref();
  }

  private async work(): Promise<void> {
    if (this.working) return this.schedule(COALESCE_MS);
    this.working = true;
    try {
      await this.purge();
      const waiting = await this.sweep();
      if (waiting) this.schedule(GRACE_MS);
    } catch (error) {
      // Nothing is lost: the ids stay quarantined and the next pass tries again.
      this.log.warn({ err: error }, 'ids of deleted services could not be given free yet');
    } finally {
      this.working = false;
    }
    if (this.toPurge.size > 0) this.schedule(COALESCE_MS);
  }

  private async purge(): Promise<void> {
    const ids = [...this.toPurge];
    if (ids.length === 0) return;
    this.toPurge.clear();
    this.mark(ids, 'ending');
    try {
      await this.conntrack.purgeServices(ids);
      this.mark(ids, 'ended');
    } catch (error) {
      this.mark(ids, 'running');
      throw error;
    }
  }

  private mark(ids: readonly number[], flows: RetiredService['flows']): void {
    for (const id of ids) {
      const service = this.services.get(id);
      if (service) service.flows = flows;
    }
  }

  /** Tells whether some were too young to be looked at. */
  private async sweep(): Promise<boolean> {
    const before = this.now() - GRACE_MS;
    let waiting = false;
    let chunk: number[] = [];
    for (const [id, service] of this.services) {
      if (service.flows !== 'ended') continue;
      if (service.since > before) waiting = true;
      else if (service.endpointIds.every((endpoint) => this.isIdle(endpoint))) chunk.push(id);
      if (chunk.length < CHUNK) continue;
      this.freeServices(chunk);
      chunk = [];
      await new Promise((resolve) => setImmediate(resolve));
      if (this.stopped) return false;
    }
    this.freeServices(chunk);
    return this.sweepEndpoints(before) || waiting;
  }

  private sweepEndpoints(before: number): boolean {
    let waiting = false;
    const idle: number[] = [];
    for (const [id, endpoint] of this.endpoints) {
      if (endpoint.since > before) waiting = true;
      else if (this.isIdle(id)) idle.push(id);
    }
    if (idle.length > 0) {
      this.free([], idle);
      for (const id of idle) {
        this.endpoints.get(id)?.freed();
        this.endpoints.delete(id);
      }
    }
    return waiting;
  }

  private freeServices(ids: readonly number[]): void {
    if (ids.length === 0) return;
    this.free(
      ids,
      ids.flatMap((id) => this.services.get(id)?.endpointIds ?? []),
    );
    for (const id of ids) this.services.delete(id);
  }

  private free(services: readonly number[], endpoints: readonly number[]): void {
    if (endpoints.length > 0) this.clearEndpoints(endpoints);
    if (services.length > 0) this.maps.serviceState.deleteMany(services);
    this.onFree({ services, endpoints });
  }

  /** The endpoint's entry goes last: while it is there, a new daemon knows that the id is not clean. */
  private clearEndpoints(ids: readonly number[]): void {
    this.maps.stats.deleteMany(ids);
    this.maps.flows.deleteMany(ids);
    this.maps.endpoint.deleteMany(ids);
  }

  private isIdle(id: number): boolean {
    const flows = this.maps.flows.get(id);
    return flows === undefined || (flows.active === 0 && flows.pending === 0);
  }
}
