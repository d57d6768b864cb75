import type { Plugin } from '../plugin.js';
import { type AnyResource, createRemains, createTestContext, type Remains, type TestContext } from './test-context.js';

export interface BenchOptions {
  /** Options as a config file would give them. */
  readonly config?: unknown;
  /** Plugins it depends on, in order; they are set up and started first. */
  readonly dependencies?: readonly { readonly plugin: Plugin; readonly config?: unknown }[];
  readonly remains?: Remains;
}

/**
 * A plugin on a bench: set up with the plugins it depends on, driven like the daemon drives it, without a daemon.
 *
 * @example
 * const bench = await createPluginBench(hello);
 * await bench.start();
 * bench.post('greeting', { name: 'world' });
 */
export interface PluginBench {
  readonly test: TestContext<unknown>;
  /** Start hooks of all, then reconciling of what is stored. */
  start(): Promise<void>;
  stop(): Promise<void>;
  resource(name: string): AnyResource;
  /** Schema, merge, apply, store. Throws what a client would be told. */
  post(resource: string, body: unknown): void;
  /** Removes every stored entry of the resource, one by one. */
  removeAll(resource: string): void;
  /** What GET lists. */
  list(resource: string): readonly unknown[];
  /** Bytes of all maps, comparable: `name key` to value, zero elements of arrays left out. */
  snapshot(): Record<string, string>;
}

export async function createPluginBench(plugin: Plugin, options: BenchOptions = {}): Promise<PluginBench> {
  const remains = options.remains ?? createRemains();
  const services = new Map<string, unknown>();
  const contexts: TestContext<unknown>[] = [];
  const addPlugin = async (entry: Plugin, config: unknown): Promise<TestContext<unknown>> => {
    const network = contexts[0]?.network;
    const test = createTestContext<unknown>({
      config: entry.config.parse(config ?? {}),
      plugin: entry.name,
      remains,
      services,
      ...(network && { network }),
    });
    await entry.setup(test.context);
    contexts.push(test);
    return test;
  };
  for (const dependency of options.dependencies ?? []) await addPlugin(dependency.plugin, dependency.config);
  const test = await addPlugin(plugin, options.config);
  return bench(test, contexts, remains);
}

function bench(test: TestContext<unknown>, contexts: readonly TestContext<unknown>[], remains: Remains): PluginBench {
  const declared = [...test.resources];
  const stateOf = (name: string): Map<string, unknown> => {
    const found = remains.state.get(name) ?? new Map<string, unknown>();
    remains.state.set(name, found);
    return found;
  };
  const resource = (name: string): AnyResource => {
    const found = declared.find((entry) => entry.name === name);
    if (!found) throw new Error(`no resource ${name} among ${declared.map((entry) => entry.name).join(', ')}`);
    return found;
  };
  return {
    test,
    resource,
    async start() {
      for (const context of contexts) await context.start();
      for (const context of contexts) {
        for (const entry of context.resources) reconcile(entry, [...stateOf(entry.name).values()]);
      }
    },
    async stop() {
      for (const context of [...contexts].reverse()) await context.stop();
    },
    post(name, body) {
      const definition = resource(name);
      const stored = stateOf(name);
      const request = definition.schema.parse(body);
      const { key, desired } = definition.merge?.(request, stored) ?? {
        key: definition.key(request),
        desired: request,
      };
      const previous = stored.get(key);
      if (desired === undefined) {
        if (previous !== undefined) definition.remove(previous);
        stored.delete(key);
      } else {
        definition.apply(desired, previous);
        stored.set(key, desired);
      }
    },
    removeAll(name) {
      const stored = stateOf(name);
      for (const [key, desired] of stored) {
        resource(name).remove(desired);
        stored.delete(key);
      }
    },
    list: (name) => resource(name).status([...stateOf(name).values()]),
    snapshot: () => snapshotOf(remains, contexts),
  };
}

function reconcile(definition: AnyResource, desired: readonly unknown[]): void {
  if (definition.reconcile) definition.reconcile(desired);
  else for (const entry of desired) definition.apply(entry, undefined);
}

function snapshotOf(remains: Remains, contexts: readonly TestContext<unknown>[]): Record<string, string> {
  const arrays = new Set(
    contexts
      .flatMap(({ maps }) => [...maps.values()].filter(({ spec }) => spec.type.endsWith('array')))
      .map((map) => map.spec.name),
  );
  const lines: [string, string][] = [];
  for (const [name, bytes] of remains.maps) {
    for (const [key, value] of bytes) {
      if (arrays.has(name) && value.every((byte) => byte === 0)) continue;
      lines.push([`${name} ${key}`, Buffer.from(value).toString('hex')]);
    }
  }
  return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
}
