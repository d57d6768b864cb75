/** The plugins that make a balancer, as the core runs them, over the kernel's own maps and programs. */
import type { DataPlane, KernelWalk, OperationSpec, Plugin, PluginContext, RingReader } from '@loxilb/sdk';
import { ENDPOINT_HEALTH, type EndpointHealth, isLoxilbError } from '@loxilb/sdk';
import {
  type AnyResource,
  createRemains,
  createTestContext,
  type FakeNetwork,
  type Remains,
  type TestContext,
} from '@loxilb/sdk/testing';
import { kernelProgram } from '../../../core/dataplane/kernel/programs.js';
import { createIterator, createMapIteratorLink } from '../../../core/dataplane/sys/bpf.js';
import { closeFd, readSync } from '../../../core/dataplane/sys/libc.js';
import conntrack from '../../../plugins/conntrack/index.js';
import lb from '../../../plugins/lb/index.js';
import type { PacketPath } from '../../bpf/harness.js';
import type { KernelMaps } from './maps.js';

/** Small, so that ids and slots come round again. */
export const LIMITS = { maxServices: 40, maxEndpoints: 160, maxSlots: 262_144 } as const;

/** What plugins are told of the machine, and what outlives them. */
export interface Machine {
  readonly path: PacketPath;
  readonly maps: KernelMaps;
  readonly network: FakeNetwork;
  readonly remains: Remains;
  /** Packets the daemon sent by itself. */
  readonly sent: Uint8Array[];
}

export { createRemains };

export class Daemon {
  private readonly services = new Map<string, unknown>();
  private readonly contexts: TestContext<unknown>[] = [];
  private readonly resources: AnyResource[] = [];
  private readonly operations: OperationSpec[] = [];
  private onReset: ((record: Uint8Array) => void) | undefined;

  private constructor(private readonly machine: Machine) {}

  static async start(machine: Machine): Promise<Daemon> {
    const daemon = new Daemon(machine);
    await daemon.add(conntrack, { maxFlows: 8192, newFlows: 8192, passIntervalMs: 1000 });
    await daemon.add(lb, LIMITS);
    for (const context of daemon.contexts) await context.start();
    for (const resource of daemon.resources) resource.reconcile?.([...daemon.stored(resource).values()]);
    return daemon;
  }

  async stop(): Promise<void> {
    for (const context of [...this.contexts].reverse()) await context.stop();
  }

  /** Throws the error a client is told. */
  post(body: unknown): void {
    const resource = this.rules;
    const stored = this.stored(resource);
    const request = resource.schema.parse(body);
    const merged = resource.merge?.(request, stored);
    if (!merged) throw new Error('rules merge');
    const { key, desired } = merged;
    const previous = stored.get(key);
    if (desired === undefined) {
      resource.remove(previous, { request });
      stored.delete(key);
    } else {
      resource.apply(desired, previous, { request });
      stored.set(key, desired);
    }
  }

  delete(params: Readonly<Record<string, string>>, query: Readonly<Record<string, string>>): void {
    const resource = this.rules;
    const stored = this.stored(resource);
    const form = resource.deletes.find(({ path }) => path.startsWith('/externalipaddress') && path.includes('portmax'));
    const args = { params, query };
    for (const key of form?.select(args, stored) ?? []) {
      resource.remove(stored.get(key), { args });
      stored.delete(key);
    }
  }

  /** Returns what puts the stored rules back to what they are now. */
  keepRules(): () => void {
    const stored = this.stored(this.rules);
    const kept = new Map(stored);
    return () => {
      stored.clear();
      for (const [key, rule] of kept) stored.set(key, rule);
    };
  }

  list(): readonly unknown[] {
    return this.rules.status([...this.stored(this.rules).values()]);
  }

  get health(): EndpointHealth {
    return this.services.get(ENDPOINT_HEALTH.id) as EndpointHealth;
  }

  async flush(servName: string | undefined): Promise<void> {
    const operation = this.operations.find(({ method }) => method === 'DELETE');
    const query = servName === undefined ? {} : { servName };
    await operation?.handle({ query, params: {}, body: undefined } as never);
  }

  /** What programs wrote into the ring of resets is told to who reads it. */
  async tellResets(): Promise<void> {
    for (const record of this.machine.path.drain('ct_reset')) this.onReset?.(record);
    for (let round = 0; round < 4; round++) await new Promise((resolve) => setImmediate(resolve));
    for (const { sentPackets } of this.contexts) this.machine.sent.push(...sentPackets.splice(0));
  }

  /** Slots no run has taken. */
  async freeSlots(): Promise<number | undefined> {
    const metric = this.contexts.flatMap(({ metrics }) => metrics).find(({ name }) => name === 'slots_available');
    return (await metric?.collect())?.[0]?.value;
  }

  private get rules(): AnyResource {
    const found = this.resources.find(({ name }) => name === 'loadbalancer');
    if (!found) throw new Error('there are no rules');
    return found;
  }

  private stored({ name }: AnyResource): Map<string, unknown> {
    const { state } = this.machine.remains;
    const found = state.get(name) ?? new Map<string, unknown>();
    state.set(name, found);
    return found;
  }

  private async add(plugin: Plugin, config: unknown): Promise<void> {
    const { maps, network, remains } = this.machine;
    const test = createTestContext<unknown>({
      config: plugin.config.parse(config),
      plugin: plugin.name,
      remains,
      network,
      services: this.services,
    });
    const context: PluginContext<unknown> = {
      ...test.context,
      map: (spec) => maps.slice(spec),
      view: (spec) => maps.slice(spec),
      dataplane: this.dataplane(),
    };
    await plugin.setup(context);
    this.contexts.push(test);
    this.resources.push(...test.resources);
    this.operations.push(...test.operations);
  }

  private dataplane(): DataPlane {
    const { path, maps } = this.machine;
    return {
      backend: 'memory',
      program: (name) => kernelProgram(name, () => path.programFd(name)),
      walk: (program, map) => walkAtOnce(path.programFd(program), () => path.maps, map),
      rawBatches: (name) => maps.rawBatches(name),
      rawEntries: (name, keys) => maps.rawEntries(name, keys),
      ring: (_name, onRecord): RingReader => {
        this.onReset = onRecord;
        return { close: () => undefined };
      },
      openTrace: () => Promise.resolve(undefined),
      attached: () => [],
    };
  }
}

/** As the core does it, but not beside the event loop: what comes after what must not depend on threads. */
function walkAtOnce(program: number, maps: () => PacketPath['maps'], name: string): KernelWalk {
  return {
    async run() {
      const map = Object.values(maps()).find((one) => one.name === name);
      const link = createMapIteratorLink(program, map?.fd ?? -1);
      const iterator = createIterator(link);
      const buffer = new Uint8Array(4096);
      let count = 1;
      while (count > 0) count = readSync(iterator, buffer);
      closeFd(iterator);
      closeFd(link);
      if (count < 0) throw new Error(`walk over ${name}: errno ${-count}`);
    },
  };
}

/** Throws what is no refusal. */
export function codeOf(error: unknown): string {
  if (isLoxilbError(error)) return error.code;
  throw error;
}
