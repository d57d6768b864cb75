import type { Conntrack } from '@loxilb/sdk';
import { LbEndpointFlags } from './layout.gen.js';
import type { LbMaps } from './maps.js';

/** What an entry carries whose flows are to be cut. */
export function cutFlags(reset: boolean): number {
  return LbEndpointFlags.LB_EP_CUT | (reset ? LbEndpointFlags.LB_EP_RESET : 0);
}

export const CUT_FLAGS = cutFlags(true);

/** Endpoints whose flows are to be cut, until a pass of the conntrack plugin has done it. */
export class FlowCuts {
  private readonly waiting = new Set<number>();

  constructor(
    private readonly maps: Pick<LbMaps, 'endpoint'>,
    private readonly conntrack: Pick<Conntrack, 'cutEndpoints'>,
  ) {}

  get isWaiting(): boolean {
    return this.waiting.size > 0;
  }

  add(ids: Iterable<number>): void {
    for (const id of ids) this.waiting.add(id);
  }

  delete(id: number): void {
    this.waiting.delete(id);
  }

  /**
   * Cuts what was added until now. `marks` says what is to be flagged first, and whether both ends are told: endpoints
   * that stay in their rule are not among them, for they may be in service again by now. What fails waits on.
   */
  async run(marks: ReadonlyMap<number, boolean>): Promise<void> {
    const ids = [...this.waiting];
    this.waiting.clear();
    try {
      this.flag(marks);
      await this.conntrack.cutEndpoints(ids);
    } catch (error) {
      this.add(ids);
      throw error;
    }
  }

  private flag(marks: ReadonlyMap<number, boolean>): void {
    const entries = [...marks].flatMap(([id, reset]) => {
      const entry = this.maps.endpoint.get(id);
      const flags = cutFlags(reset);
      if (entry === undefined || (entry.flags & flags) === flags) return [];
      return [[id, { ...entry, flags: entry.flags | flags }] as const];
    });
    if (entries.length > 0) this.maps.endpoint.setMany(entries);
  }
}
