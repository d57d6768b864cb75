import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { AttachedInterface, DataPlane, Hook, PluginContext, WorkerPool, WorkerSpec } from '../context.js';
import { BUILD_INFO, NETWORK, RAW_SENDER, type RawSender } from '../contracts.js';
import type { MapSpec } from '../maps.js';
import type { OperationSpec } from '../operation.js';
import type { ResourceDefinition } from '../resource.js';
import type { Token } from '../token.js';
import { createFakeNetwork, type FakeNetwork } from './fake-network.js';
import { type MapBytes, MemorySlice } from './memory-map.js';
import { createRecordingLog, type RecordedMetric, recordingMetrics } from './recorder.js';

export type AnyResource = ResourceDefinition<unknown, unknown>;

/** What outlives a plugin: pinned maps and stored desired state. Hand it to the next context to play a restart. */
export interface Remains {
  readonly maps: Map<string, MapBytes>;
  /** Desired state by resource name, then key. */
  readonly state: Map<string, Map<string, unknown>>;
}

export function createRemains(): Remains {
  return { maps: new Map(), state: new Map() };
}

export interface TestContextOptions<C> {
  readonly config: C;
  readonly plugin?: string;
  readonly remains?: Remains;
  readonly network?: FakeNetwork;
  /** Services of other plugins, by token id. */
  readonly services?: Map<string, unknown>;
  readonly attached?: readonly AttachedInterface[];
}

/** A context whose every effect a test can see. */
export interface TestContext<C> {
  readonly context: PluginContext<C>;
  readonly maps: ReadonlyMap<string, MemorySlice<unknown, unknown>>;
  readonly resources: AnyResource[];
  readonly operations: OperationSpec[];
  readonly metrics: RecordedMetric[];
  readonly features: Map<string, boolean | number>;
  readonly services: Map<string, unknown>;
  readonly network: FakeNetwork;
  readonly log: ReturnType<typeof createRecordingLog>;
  readonly remains: Remains;
  /** Packets handed to the raw sender, copied. */
  readonly sentPackets: Uint8Array[];
  /** The n-th map write from now (1 is the next) throws the error, once. */
  failWrite(n: number, error: Error): void;
  /** Hands a record to whoever reads the ring; tells whether somebody does. */
  feedRing(name: string, record: Uint8Array): boolean;
  /** A write that should have failed but was never made. */
  readonly failurePending: boolean;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createTestContext<C>(options: TestContextOptions<C>): TestContext<C> {
  const plugin = options.plugin ?? 'test';
  const remains = options.remains ?? createRemains();
  const maps = new Map<string, MemorySlice<unknown, unknown>>();
  const resources: AnyResource[] = [];
  const operations: OperationSpec[] = [];
  const metrics: RecordedMetric[] = [];
  const features = new Map<string, boolean | number>();
  const services = options.services ?? new Map<string, unknown>();
  const network = options.network ?? createFakeNetwork();
  const log = createRecordingLog();
  const abort = new AbortController();
  const hooks: Record<'start' | 'stop', Hook[]> = { start: [], stop: [] };
  const rings: Rings = new Map();
  const sentPackets: Uint8Array[] = [];
  let failure: { writesLeft: number; readonly error: Error } | undefined;

  services.set(NETWORK.id, services.get(NETWORK.id) ?? network);
  services.set(RAW_SENDER.id, services.get(RAW_SENDER.id) ?? recordingSender(sentPackets));
  services.set(BUILD_INFO.id, services.get(BUILD_INFO.id) ?? { version: '0.0.0', build: 'test' });

  const beforeWrite = (): void => {
    if (!failure || --failure.writesLeft > 0) return;
    const { error } = failure;
    failure = undefined;
    throw error;
  };
  const slice = <K, V>(spec: MapSpec<K, V>): MemorySlice<K, V> => {
    const found = maps.get(spec.name) as MemorySlice<K, V> | undefined;
    if (found) return found;
    const made = new MemorySlice(
      spec,
      entry(remains.maps, spec.name, () => new Map()),
      beforeWrite,
    );
    maps.set(spec.name, made as unknown as MemorySlice<unknown, unknown>);
    return made;
  };
  const use = <T>({ id }: Token<T>): T => {
    if (services.has(id)) return services.get(id) as T;
    throw new Error(`service ${id} is not provided: hand it to createTestContext as one of its services`);
  };
  const context: PluginContext<C> = {
    config: options.config,
    log,
    signal: abort.signal,
    map: slice,
    view: slice,
    feature: (name, value = true) => void features.set(name, value),
    dataplane: fakeDataPlane(maps, rings, options.attached ?? []),
    resource: (definition) => {
      resources.push(definition as unknown as AnyResource);
      return { list: () => entry(remains.state, definition.name, () => new Map()) as never };
    },
    operation: (spec) => void operations.push(spec),
    metrics: recordingMetrics(plugin, metrics),
    workers: inProcessWorkers,
    provide: ({ id }, implementation) => void services.set(id, implementation),
    use,
    useOptional: ({ id }) => services.get(id) as never,
    onStart: (hook) => void hooks.start.push(hook),
    onStop: (hook) => void hooks.stop.push(hook),
  };
  return {
    ...{ context, maps, resources, operations, metrics, features, services, network, log, remains, sentPackets },
    get failurePending() {
      return failure !== undefined;
    },
    failWrite(n, error) {
      failure = { writesLeft: n, error };
    },
    feedRing(name, record) {
      rings.get(name)?.(record);
      return rings.has(name);
    },
    async start() {
      for (const hook of hooks.start) await hook();
    },
    async stop() {
      abort.abort();
      for (const hook of [...hooks.stop].reverse()) await hook();
      for (const list of [resources, operations, metrics]) list.length = 0;
    },
  };
}

function recordingSender(sent: Uint8Array[]): RawSender {
  return {
    send(packet) {
      sent.push(packet.slice());
      return 'sent';
    },
  };
}

function entry<V>(map: Map<string, V>, key: string, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

const NO_ENTRIES = { keys: new Uint8Array(0), values: new Uint8Array(0), count: 0 };

type Rings = Map<string, (record: Uint8Array) => void>;

/** No kernel: programs answer nothing, walks find nothing. */
function fakeDataPlane(
  maps: ReadonlyMap<string, MemorySlice<unknown, unknown>>,
  rings: Rings,
  attached: readonly AttachedInterface[],
): DataPlane {
  return {
    backend: 'memory',
    program: () => ({ run: () => undefined }),
    walk: () => ({ run: () => Promise.resolve() }),
    rawBatches: (map) => {
      const batch = maps.get(map)?.rawBatch();
      return batch && batch.count > 0 ? [batch] : [];
    },
    rawEntries: (map, keys) => maps.get(map)?.rawEntries(keys) ?? NO_ENTRIES,
    ring: (name, onRecord) => {
      rings.set(name, onRecord);
      return { close: () => void rings.delete(name) };
    },
    openTrace: () => Promise.resolve(undefined),
    attached: () => attached,
  };
}

/** Runs tasks in this thread: a test needs the result, not the parallelism. */
function inProcessWorkers({ file }: WorkerSpec): WorkerPool {
  return {
    async run<I, O>(input: I): Promise<O> {
      const built = fileURLToPath(file);
      const source = existsSync(built) ? built : built.replace(/\.js$/, '.ts');
      const module = (await import(pathToFileURL(source).href)) as { default: (input: I) => O | Promise<O> };
      return module.default(input);
    },
  };
}
