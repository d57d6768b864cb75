import { addStats, flowsReader, NO_STATS, statsReader } from './endpoint-reader.js';
import type { LbEndpointStats } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { PastTraffic } from './past-traffic.js';
import { RateMeter } from './rate-meter.js';
import type { TrafficKeeper } from './retired-ids.js';
import type { ServiceState } from './state.js';
import { Undo } from './undo.js';

/** What an endpoint of a rule, or all of them, had and have. Both directions together, bytes on layer 3. */
export interface TrafficFigures {
  readonly packets: number;
  readonly bytes: number;
  /** Flows since it came. */
  readonly connections: number;
  /** Live flows. */
  readonly current: number;
  /** Undefined when there is no reading to compare with. */
  readonly newPerSecond: number | undefined;
}

export interface TrafficReading {
  endpoint(id: number): TrafficFigures;
  /** Endpoints that left count as long as their flows run, and what they had stays. */
  service(service: ServiceState): TrafficFigures;
}

type TrafficMaps = Pick<LbMaps, 'stats' | 'flows' | 'past'>;

/** Counters of services and endpoints. They belong to ids, and are moved to the service when an endpoint's id comes free. */
export class Traffic implements TrafficKeeper {
  private readonly past: PastTraffic;

  constructor(
    private readonly maps: TrafficMaps,
    private readonly rates = new RateMeter(),
  ) {
    this.past = new PastTraffic(maps.past);
  }

  read(services: readonly ServiceState[]): TrafficReading {
    const ids = services.flatMap(idsOf);
    const stats = statsReader(this.maps, ids);
    const flows = flowsReader(this.maps, ids);
    const endpoint = (id: number): TrafficFigures => {
      const counters = stats(id);
      const newPerSecond = this.rates.read(id, Number(counters.flows));
      return figures(counters, flows(id), newPerSecond);
    };
    return {
      endpoint,
      service: (service) => {
        const all = idsOf(service);
        const counters = all.map(stats).reduce(addStats, this.past.of(service.id));
        const current = all.reduce((sum, id) => sum + flows(id), 0);
        return figures(counters, current, sumOf(all.map((id) => endpoint(id).newPerSecond)));
      },
    };
  }

  endpointsFreed(ids: readonly number[], serviceOf: (id: number) => number | undefined): void {
    const stats = statsReader(this.maps, ids);
    const moved = new Map<number, LbEndpointStats>();
    for (const id of ids) {
      const service = serviceOf(id);
      if (service !== undefined) moved.set(service, addStats(moved.get(service) ?? NO_STATS, stats(id)));
    }
    const undo = new Undo();
    try {
      for (const [service, sum] of moved) this.past.add(service, sum, undo);
      this.maps.stats.deleteMany(ids);
    } catch (error) {
      // Or they would count twice: here and there, and again when it is tried again.
      undo.run();
      throw error;
    }
    this.rates.forget(ids);
  }

  servicesFreed(ids: readonly number[]): void {
    this.past.forget(ids);
  }
}

function idsOf({ endpoints, leaving }: ServiceState): number[] {
  return [...endpoints, ...(leaving?.values() ?? [])].map(({ id }) => id);
}

function figures(stats: LbEndpointStats, current: number, newPerSecond: number | undefined): TrafficFigures {
  const { packets, bytes, flows } = stats;
  return { packets: Number(packets), bytes: Number(bytes), connections: Number(flows), current, newPerSecond };
}

function sumOf(rates: readonly (number | undefined)[]): number | undefined {
  const known = rates.filter((rate) => rate !== undefined);
  return known.length === 0 ? undefined : Math.round(known.reduce((sum, rate) => sum + rate, 0) * 100) / 100;
}
