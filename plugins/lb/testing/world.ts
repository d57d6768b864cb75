import { ipFamily, type Logger, type NetworkAddress } from '@loxilb/sdk';
import { createFakeNetwork, type FakeNetwork, MemorySlice } from '@loxilb/sdk/testing';
import { lbConfig } from '../config.js';
import { createRules, type LbParts } from '../create-rules.js';
import { drainAsked } from '../ending.js';
import { type LbMaps, lbMapSpecs } from '../maps.js';
import { mergeRule } from '../merge.js';
import { type Rule, ruleKey } from '../model.js';
import { lbRequest } from '../schema.js';

type Slices = ReturnType<typeof createSlices>;

export interface World extends LbParts {
  readonly maps: Slices;
  /** The n-th map write from now on fails, 1 is the next. Undefined: none does. */
  failWrite: number | undefined;
  /** Passes of the conntrack plugin fail. */
  failPass: boolean;
  /** What was logged as warnings. */
  readonly warnings: readonly unknown[];
  /** Map operations so far; a batch is one. */
  operations(): number;
  readonly network: FakeNetwork;
  /** Addresses `addAddress` refuses. */
  readonly refused: Set<string>;
  /** Ids of each purge. */
  readonly purged: number[][];
  /** How often the conntrack plugin was told that idle times are others. */
  readonly told: { idleTimes: number };
  /** Ids of each cut. */
  readonly cuts: number[][];
  /** What the core's store would hold. */
  readonly stored: Map<string, Rule>;
  /** POST: schema, merge, apply, store. */
  post(body: unknown): void;
  remove(key: string, drainSeconds?: number): void;
  /** The daemon is gone and comes back over the same maps. */
  restart(): World;
}

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

function createSlices(specs: ReturnType<typeof lbMapSpecs>, beforeWrite: () => void) {
  return {
    service: new MemorySlice(specs.service, new Map(), beforeWrite),
    range: new MemorySlice(specs.range, new Map(), beforeWrite),
    control: new MemorySlice(specs.control, new Map(), beforeWrite),
    address: new MemorySlice(specs.address, new Map(), beforeWrite),
    source: new MemorySlice(specs.source, new Map(), beforeWrite),
    sctpVips: new MemorySlice(specs.sctpVips, new Map(), beforeWrite),
    serviceState: new MemorySlice(specs.serviceState, new Map(), beforeWrite),
    slot: new MemorySlice(specs.slot, new Map(), beforeWrite),
    endpoint: new MemorySlice(specs.endpoint, new Map(), beforeWrite),
    flows: new MemorySlice(specs.flows, new Map(), beforeWrite),
    stats: new MemorySlice(specs.stats, new Map(), beforeWrite),
    affinity: new MemorySlice(specs.affinity, new Map(), beforeWrite),
    vip: new MemorySlice(specs.vip, new Map(), beforeWrite),
    drain: new MemorySlice(specs.drain, new Map(), beforeWrite),
    past: new MemorySlice(specs.past, new Map(), beforeWrite),
  } satisfies LbMaps;
}

/** A machine at 192.168.1.1 and 2001:db8:99::1. */
function createNetwork(refused: ReadonlySet<string>): FakeNetwork {
  const network = createFakeNetwork();
  network.state.addresses.push({ ifindex: 2, address: '192.168.1.1', prefixLength: 24, family: 4, scope: 0 });
  network.state.addresses.push({ ifindex: 2, address: '2001:db8:99::1', prefixLength: 64, family: 6, scope: 0 });
  network.sourceAddressFor = (destination) =>
    network.state.addresses.find(({ ifindex, family }) => ifindex === 2 && family === ipFamily(destination))?.address;
  const { addAddress } = network;
  network.addAddress = (address, interfaceName) => {
    if (refused.has(address)) throw new Error('operation not permitted');
    addAddress(address, interfaceName);
  };
  return network;
}

export function hasAddress({ network }: World, address: string): boolean {
  return network.addresses().some((one: NetworkAddress) => one.address === address);
}

/** What the maps hold, as bytes; blank entries of arrays are left out. */
export function snapshot({ maps }: World): Record<string, string> {
  const entries = Object.entries(maps).flatMap(([name, { bytes }]) =>
    [...bytes].map(([key, value]) => [`${name} ${key}`, Buffer.from(value).toString('hex')] as const),
  );
  return Object.fromEntries(entries.filter(([, value]) => /[^0]/.test(value)).sort());
}

interface WorldOptions {
  readonly maxServices?: number;
  readonly maxEndpoints?: number;
  readonly maxSlots?: number;
  readonly maxEndpointsPerRule?: number;
  readonly vipAddresses?: 'lo' | 'off';
  readonly onEndpointDown?: 'keep' | 'cut' | 'reset';
  readonly drainTimeout?: number;
}

/** Everything of the plugin over maps in memory. */
export function createWorld(options: WorldOptions = {}): World {
  const config = lbConfig.parse({ maxServices: 64, maxEndpoints: 256, maxSlots: 262_144, ...options });
  const fault: { write: number | undefined; pass: boolean } = { write: undefined, pass: false };
  const warnings: unknown[] = [];
  const log: Logger = { ...silent, warn: (...given) => void warnings.push(given) };
  const maps = createSlices(lbMapSpecs(config), () => {
    if (fault.write === undefined || --fault.write > 0) return;
    fault.write = undefined;
    throw new Error('injected');
  });
  const refused = new Set<string>();
  const network = createNetwork(refused);
  const purged: number[][] = [];
  const cuts: number[][] = [];
  const told = { idleTimes: 0 };
  const conntrack = {
    idleTimesChanged(): void {
      told.idleTimes++;
    },
    async purgeServices(ids: readonly number[]): Promise<void> {
      if (fault.pass) throw new Error('walk failed');
      purged.push([...ids]);
    },
    async cutEndpoints(ids: readonly number[]): Promise<void> {
      if (fault.pass) throw new Error('walk failed');
      cuts.push([...ids]);
    },
  };
  const dataplane = {
    backend: 'memory' as const,
    rawBatches: (name: string) =>
      Object.values(maps).flatMap((map) => (map.spec.name === name ? [map.rawBatch()] : [])),
  };
  const start = (stored: Map<string, Rule>): World => {
    const parts = createRules({ config, maps, network, conntrack, dataplane, log });
    parts.reconcile([...stored.values()]);
    return {
      ...parts,
      maps,
      get failWrite() {
        return fault.write;
      },
      set failWrite(write) {
        fault.write = write;
      },
      get failPass() {
        return fault.pass;
      },
      set failPass(pass) {
        fault.pass = pass;
      },
      warnings,
      operations: () =>
        Object.values(maps).reduce((sum, { calls }) => Object.values(calls).reduce((a, b) => a + b, sum), 0),
      network,
      refused,
      told,
      purged,
      cuts,
      stored,
      post(body) {
        const request = lbRequest.parse(body);
        const { key, desired } = mergeRule(request, stored, config);
        const drain = drainAsked({ request });
        const previous = stored.get(key);
        if (desired) {
          parts.rules.apply(desired, drain);
          stored.set(key, desired);
        } else if (previous) {
          parts.rules.remove(previous, drain);
          stored.delete(key);
        }
      },
      remove(key, drainSeconds) {
        const rule = stored.get(key);
        if (rule) parts.rules.remove(rule, drainSeconds);
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
