import type { Logger, Network, NetworkAddress, NetworkChange } from '@loxilb/sdk';
import { lbConfig } from '../config.js';
import { createRules, type LbParts } from '../create-rules.js';
import { type LbMaps, lbMapSpecs } from '../maps.js';
import { mergeRule } from '../merge.js';
import { type Rule, ruleKey } from '../model.js';
import { lbRequest } from '../schema.js';
import { FakeMap, type MapControl } from './fake-map.js';

export type FakeMaps = {
  readonly [N in keyof LbMaps]: LbMaps[N] extends infer M ? M & { snapshot(): Map<string, string> } : never;
};

export interface World extends LbParts {
  readonly maps: FakeMaps;
  readonly control: MapControl;
  readonly network: FakeNetwork;
  readonly purged: number[][];
  /** What the core's store would hold. */
  readonly stored: Map<string, Rule>;
  /** POST: schema, merge, apply, store. */
  post(body: unknown): void;
  remove(key: string): void;
  /** The daemon is gone and comes back over the same maps. */
  restart(): World;
}

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export class FakeNetwork implements Network {
  readonly local: NetworkAddress[] = [address('127.0.0.1', 1), address('192.168.1.1', 2)];
  readonly failing = new Set<string>();
  source: string | undefined = '192.168.1.1';
  lookups = 0;
  private readonly listeners = new Set<(kinds: ReadonlySet<NetworkChange>) => void>();

  links = () => [];
  routes = () => [];
  neighbors = () => [];
  refreshLinks = async () => [];

  addresses(): readonly NetworkAddress[] {
    return this.local;
  }

  sourceAddressFor(): string | undefined {
    this.lookups++;
    return this.source;
  }

  addAddress(text: string, interfaceName: string): void {
    if (this.failing.has(text)) throw new Error('operation not permitted');
    if (interfaceName === 'lo' && !this.has(text)) this.local.push(address(text, 1));
  }

  removeAddress(text: string): void {
    const index = this.local.findIndex((one) => one.address === text);
    if (index >= 0) this.local.splice(index, 1);
  }

  onChange(listener: (kinds: ReadonlySet<NetworkChange>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  change(...kinds: NetworkChange[]): void {
    for (const listener of this.listeners) listener(new Set(kinds));
  }

  has(text: string): boolean {
    return this.local.some((one) => one.address === text);
  }
}

function address(text: string, ifindex: number): NetworkAddress {
  const family = text.includes(':') ? 6 : 4;
  return { ifindex, address: text, prefixLength: family === 4 ? 32 : 128, family, scope: 0 };
}

interface WorldOptions {
  readonly maxServices?: number;
  readonly maxEndpoints?: number;
  readonly maxSlots?: number;
  readonly maxEndpointsPerRule?: number;
  readonly vipAddresses?: 'lo' | 'off';
}

/** Everything of the plugin over maps in memory. */
export function createWorld(options: WorldOptions = {}): World {
  const config = lbConfig.parse({ maxServices: 64, maxEndpoints: 256, maxSlots: 16_384, ...options });
  const control: MapControl = { operations: 0, failWrite: undefined };
  const specs = lbMapSpecs(config);
  const maps = {
    service: new FakeMap(specs.service, control),
    serviceState: new FakeMap(specs.serviceState, control),
    slot: new FakeMap(specs.slot, control),
    endpoint: new FakeMap(specs.endpoint, control),
    flows: new FakeMap(specs.flows, control),
    stats: new FakeMap(specs.stats, control),
    vip: new FakeMap(specs.vip, control),
  };
  const network = new FakeNetwork();
  const purged: number[][] = [];
  const conntrack = {
    async purgeServices(ids: readonly number[]): Promise<void> {
      purged.push([...ids]);
    },
  };
  const dataplane = { backend: 'memory' as const, rawBatches: () => maps.slot.rawBatches() };
  const start = (stored: Map<string, Rule>): World => {
    const parts = createRules({ config, maps, network, conntrack, dataplane, log: silent });
    parts.reconcile([...stored.values()]);
    return {
      ...parts,
      maps,
      control,
      network,
      purged,
      stored,
      post(body) {
        const { key, desired } = mergeRule(lbRequest.parse(body), stored, config);
        const previous = stored.get(key);
        if (desired) {
          parts.rules.apply(desired);
          stored.set(key, desired);
        } else if (previous) {
          parts.rules.remove(previous);
          stored.delete(key);
        }
      },
      remove(key) {
        const rule = stored.get(key);
        if (rule) parts.rules.remove(rule);
        stored.delete(key);
      },
      restart() {
        parts.retirement.stop();
        return start(stored);
      },
    };
  };
  return start(new Map());
}

/** A POST body. */
export function body(
  service: Record<string, unknown> = {},
  endpoints: readonly (string | [string, number])[] = ['10.0.0.1', '10.0.0.2'],
): Record<string, unknown> & { serviceArguments: Record<string, unknown>; endpoints: Record<string, unknown>[] } {
  const isIcmp = service.protocol === 'icmp';
  return {
    serviceArguments: { externalIP: '20.20.20.1', port: isIcmp ? 0 : 80, protocol: 'tcp', ...service },
    endpoints: endpoints.map((given) => {
      const [endpointIP, weight] = typeof given === 'string' ? [given, 1] : given;
      return { endpointIP, targetPort: isIcmp ? 0 : 8080, weight };
    }),
  };
}

export function firstKey(world: World): string {
  return ruleKey([...world.stored.values()][0] as Rule);
}

/** The addresses a service's slots hold, as packets find them. */
export function slotsSeen(world: World, address = '20.20.20.1'): string[] {
  for (const [key, value] of world.maps.service.entries()) {
    if (key.addr !== address) continue;
    return Array.from({ length: value.slotCount }, (_, index) => {
      const id = world.maps.slot.get(value.slotBase + index)?.endpointId ?? 0;
      return world.maps.endpoint.get(id)?.addr ?? '';
    });
  }
  throw new Error(`no service ${address}`);
}
