import type { Conntrack, Logger } from '@loxilb/sdk';
import type { Affinities } from './affinities.js';
import { type DrainTable, secondsNow } from './drain-table.js';
import type { Leaving } from './ending.js';
import { FlowCuts } from './flow-cuts.js';
import type { LbMaps } from './maps.js';
import { type FreedIds, GRACE_MS, RetiredIds, type RetiredService, type TrafficKeeper } from './retired-ids.js';

/** Deletes that come close together are purged together. */
const COALESCE_MS = 10;
/** What could not be done is tried again, also where there are no flows and so no passes. */
const RETRY_MS = 1000;
/** A longer timer is set anew when it has run out. */
const LONGEST_TIMER_MS = 3_600_000;

export interface RetirementParts {
  readonly maps: Pick<LbMaps, 'flows' | 'endpoint' | 'serviceState'>;
  readonly conntrack: Pick<Conntrack, 'purgeServices' | 'cutEndpoints'>;
  readonly drains: DrainTable;
  readonly traffic: TrafficKeeper;
  readonly affinities: Affinities;
  readonly log: Logger;
  readonly onFree: (ids: FreedIds) => void;
}

/**
 * Ids nobody chooses any more but flows may still carry. Flows of what left are cut at once, or drain: they go on until
 * they end, or until a deadline, when they are cut. Cutting is the conntrack plugin's. An id is free when no live flow is
 * counted for it; until then nobody else gets it, so old flows never count for, or go with, something new.
 */
export class Retirement {
  private readonly ids: RetiredIds;
  private readonly cuts: FlowCuts;
  private readonly toPurge = new Set<number>();
  private timer: NodeJS.Timeout | undefined;
  private deadline: NodeJS.Timeout | undefined;
  private working = false;
  private stopped = false;

  constructor(private readonly parts: RetirementParts) {
    this.ids = new RetiredIds(parts);
    this.cuts = new FlowCuts(parts.maps, parts.conntrack);
  }

  /**
   * Endpoint ids of the service that are quarantined already belong in the list as well. `over` is called when its flows
   * have drained.
   */
  retireService(id: number, endpointIds: readonly number[], leaving: Leaving, over: () => void = () => {}): void {
    const cutting = this.ids.takeCutting(endpointIds);
    const { drainSeconds, reset } = leaving;
    const flows = drainSeconds > 0 ? 'draining' : reset ? 'cutting' : 'running';
    this.ids.services.set(id, { endpointIds, since: Date.now(), flows, reset, cutting, over });
    if (flows === 'draining') {
      const draining = endpointIds.filter((endpoint) => !cutting.has(endpoint));
      this.drain(draining, leaving);
      if (cutting.size > 0) this.cut([...cutting.keys()]);
      return;
    }
    this.parts.drains.end(endpointIds);
    if (flows === 'cutting') this.cuts.add(endpointIds);
    else this.toPurge.add(id);
    this.schedule(COALESCE_MS);
  }

  retireEndpoint(id: number, serviceId: number, leaving: Leaving, freed: () => void): void {
    const { drainSeconds, reset } = leaving;
    const flows = drainSeconds > 0 ? 'draining' : 'cutting';
    this.ids.endpoints.set(id, { serviceId, since: Date.now(), flows, reset, freed });
    if (flows === 'draining') this.drain([id], leaving);
    else {
      this.parts.drains.end([id]);
      this.cut([id]);
    }
  }

  /** Ends the flows of endpoints whose entries are flagged so. */
  cut(ids: readonly number[]): void {
    this.cuts.add(ids);
    this.schedule(COALESCE_MS);
  }

  /** The endpoint is back in its rule, or in service. */
  reclaimEndpoint(id: number): void {
    this.ids.endpoints.delete(id);
    this.cuts.delete(id);
    this.parts.drains.end([id]);
    if (this.parts.drains.isUntidy) this.schedule(RETRY_MS);
  }

  /** Takes over a service whose flows drained, or were being cut, when an earlier daemon ended. */
  resumeService(id: number, endpointIds: readonly number[], reset: boolean, over: () => void): void {
    const isNoted = (endpoint: number) => this.parts.drains.get(endpoint) !== undefined;
    const flows = endpointIds.some(isNoted) ? 'draining' : 'cutting';
    const cutting = new Map(endpointIds.filter((endpoint) => !isNoted(endpoint)).map((endpoint) => [endpoint, reset]));
    this.ids.services.set(id, { endpointIds, since: Date.now(), flows, reset, cutting, over });
    this.cuts.add(cutting.keys());
    this.resumed();
  }

  /** The same for an endpoint whose service is there. */
  resumeEndpoint(id: number, serviceId: number, reset: boolean, freed: () => void): void {
    const flows = this.parts.drains.get(id) ? 'draining' : 'cutting';
    this.ids.endpoints.set(id, { serviceId, since: Date.now(), flows, reset, freed });
    if (flows === 'cutting') this.cuts.add([id]);
    this.resumed();
  }

  /**
   * Takes over what an earlier daemon had deleted and not drained: ids without flows are free at once, the others rest.
   * Endpoint ids by service id.
   */
  adoptServices(services: ReadonlyMap<number, readonly number[]>, leaving: Leaving): void {
    const idle: number[] = [];
    for (const [id, endpointIds] of services) {
      if (endpointIds.every((endpoint) => this.ids.isIdle(endpoint))) idle.push(id);
      else this.retireService(id, endpointIds, leaving);
    }
    if (idle.length === 0) return;
    this.ids.free(
      idle,
      idle.flatMap((id) => services.get(id) ?? []),
      () => undefined,
    );
  }

  /** The same for endpoints that had left rules which are still there, with their service. Returns those that rest. */
  adoptEndpoints(serviceOf: ReadonlyMap<number, number>): number[] {
    const all = [...serviceOf.keys()];
    const idle = new Set(all.filter((id) => this.ids.isIdle(id)));
    if (idle.size > 0) this.ids.free([], [...idle], (id) => serviceOf.get(id));
    return all.filter((id) => !idle.has(id));
  }

  get pending(): number {
    return this.ids.services.size + this.ids.endpoints.size;
  }

  /** After a pass of the conntrack plugin the flow counts are fresh. */
  onPass(): void {
    this.parts.drains.tidy();
    for (const [id, { flows, endpointIds }] of this.ids.services) {
      if (flows === 'running') this.toPurge.add(id);
      if (flows === 'cutting') this.cuts.add(endpointIds);
    }
    for (const [id, { flows }] of this.ids.endpoints) {
      if (flows === 'cutting' && !this.ids.isIdle(id)) this.cuts.add([id]);
    }
    if (this.pending > 0 || this.cuts.isWaiting) this.schedule(0);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    this.timer = undefined;
  }

  private drain(ids: readonly number[], { drainSeconds, reset, note }: Leaving): void {
    this.parts.drains.begin(ids, { ...note, until: secondsNow() + drainSeconds, reset: reset ? 1 : 0 });
    this.resumed();
  }

  private resumed(): void {
    this.watchDeadlines();
    this.schedule(GRACE_MS);
  }

  private watchDeadlines(): void {
    clearTimeout(this.deadline);
    const { next } = this.parts.drains;
    if (next === undefined || this.stopped) return;
    const delay = Math.min(Math.max(0, next * 1000 - Date.now()), LONGEST_TIMER_MS);
    this.deadline = setTimeout(() => {
      this.expireDrains();
      this.watchDeadlines();
    }, delay).unref();
  }

  /** From draining to cutting, for those whose time is over. */
  private expireDrains(): void {
    const { drains } = this.parts;
    const due = new Set(drains.due(Date.now() / 1000));
    if (due.size === 0) return;
    drains.end([...due]);
    for (const id of due) {
      const endpoint = this.ids.endpoints.get(id);
      if (endpoint === undefined) continue;
      endpoint.flows = 'cutting';
      this.cuts.add([id]);
    }
    for (const service of this.ids.services.values()) {
      if (service.flows !== 'draining' || !service.endpointIds.some((id) => due.has(id))) continue;
      service.flows = 'cutting';
      this.cuts.add(service.endpointIds);
    }
    this.schedule(0);
  }

  private schedule(delayMs: number): void {
    if (this.stopped || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.work();
    }, delayMs).unref();
  }

  private async work(): Promise<void> {
    if (this.working) return this.schedule(COALESCE_MS);
    this.working = true;
    try {
      this.parts.drains.tidy();
      await this.cutFlows();
      for (const drained of this.ids.drained(Date.now())) this.kill(...drained);
      await this.purge();
      const waiting = await this.ids.sweep(Date.now(), () => this.stopped);
      if (waiting) this.schedule(GRACE_MS);
      else if (this.parts.drains.isUntidy) this.schedule(RETRY_MS);
    } catch (error) {
      // Nothing is lost: the ids stay quarantined.
      this.parts.log.warn({ err: error }, 'flows of what was deleted could not be ended yet');
      this.schedule(RETRY_MS);
    } finally {
      this.working = false;
    }
    if (this.toPurge.size > 0) this.schedule(COALESCE_MS);
  }

  private async cutFlows(): Promise<void> {
    if (!this.cuts.isWaiting) return;
    const marks = new Map<number, boolean>();
    for (const [id, { flows, reset }] of this.ids.endpoints) if (flows === 'cutting') marks.set(id, reset);
    for (const { cutting } of this.ids.services.values()) for (const [id, reset] of cutting) marks.set(id, reset);
    const services = [...this.ids.services].filter(([, { flows }]) => flows === 'cutting');
    for (const [, { endpointIds, reset }] of services) for (const id of endpointIds) marks.set(id, reset);
    await this.cuts.run(marks);
    for (const [id, service] of services) this.kill(id, service);
  }

  /** What still runs ends with the service, without a word. */
  private kill(id: number, service: RetiredService): void {
    this.parts.maps.serviceState.set(id, { cursor: 0, idleTicks: 0, alive: 0, reset: 0 });
    service.flows = 'running';
    this.toPurge.add(id);
    service.over();
  }

  private async purge(): Promise<void> {
    const ids = [...this.toPurge];
    if (ids.length === 0) return;
    this.toPurge.clear();
    this.mark(ids, 'ending');
    try {
      await this.parts.conntrack.purgeServices(ids);
      this.mark(ids, 'ended');
    } catch (error) {
      this.mark(ids, 'running');
      throw error;
    }
  }

  private mark(ids: readonly number[], flows: RetiredService['flows']): void {
    for (const id of ids) {
      const service = this.ids.services.get(id);
      if (service) service.flows = flows;
    }
  }
}
