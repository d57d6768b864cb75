import type { MapSlice, MapSpec, MapView } from './maps.js';
import type { OperationSpec } from './operation.js';
import type { ResourceDefinition, ResourceHandle } from './resource.js';
import type { Token } from './token.js';

/** Structured log: fields first, text second, as pino has it. */
export interface Logger {
  debug(fields: object | string, text?: string): void;
  info(fields: object | string, text?: string): void;
  warn(fields: object | string, text?: string): void;
  error(fields: object | string, text?: string): void;
}

export type Labels = Readonly<Record<string, string | number>>;

export interface MetricSample {
  readonly labels?: Labels;
  readonly value: number;
}

/**
 * Metrics of a plugin. Names get the prefix `loxilb_<plugin>_`. Values are read when Prometheus scrapes: `collect` runs
 * then and nothing polls in between.
 */
export interface MetricFactory {
  gauge(spec: MetricSpec): void;
  counter(spec: MetricSpec): void;
}

export interface MetricSpec {
  /** What, unit, and `_total` for counters: `endpoint_bytes_total`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  collect(): readonly MetricSample[] | Promise<readonly MetricSample[]>;
  /** Use this exact name instead of the prefixed one (names existing dashboards know). */
  readonly exactName?: boolean;
}

export type Hook = () => void | Promise<void>;

export interface WorkerSpec {
  /** Built JavaScript file whose default export is the task function. */
  readonly file: URL;
  readonly maxThreads?: number;
}

export interface WorkerPool {
  /** Runs the task in a worker thread. `transfer` moves buffers instead of copying them. */
  run<I, O>(input: I, options?: { readonly transfer?: readonly ArrayBuffer[] }): Promise<O>;
}

/**
 * A program of the packet path that user space runs on demand inside the kernel (`SEC("syscall")`, or an
 * `iter/bpf_map_elem` walk). The memory backend has no kernel to run it in and answers undefined.
 */
export interface KernelProgram {
  /** Runs once; the bytes of `context` are handed in and come back as the program left them. */
  run(context: Uint8Array): Uint8Array | undefined;
}

export interface KernelWalk {
  /**
   * Walks the map once inside the kernel, in slices of at most `sliceEntries` elements, off the event loop.
   * Resolves when the walk is complete.
   */
  run(): Promise<void>;
}

/** A batch of raw map entries: `count` keys and values, packed. */
export interface RawBatch {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** A reader of a ring; `close` ends it. What was written and not read is there for the next reader. */
export interface RingReader {
  close(): void;
}

export interface TraceOptions {
  /** C names of the programs packets are given to: tc's, and XDP's. */
  readonly programs: readonly string[];
  /** Maps of the running packet path the instance reads, too. Its programs must not write them. */
  readonly shared: readonly string[];
  /** Maps of the instance's own that begin with what the running ones have. */
  readonly copied: readonly string[];
  /** Entries of maps that would otherwise be as long as the running ones: arrays whose contents do not matter. */
  readonly sizes: Readonly<Record<string, number>>;
}

/**
 * A second instance of the packet path, loaded with `cfg_trace` and attached to nothing. Whatever its programs write
 * goes into maps of its own, which are small and empty at first, and go with it.
 */
export interface TraceInstance {
  /**
   * Makes a table of the instance's own hold exactly these entries, or writes these elements of an array. Batches are as
   * `rawBatches` gives them.
   */
  write(map: string, batches: readonly RawBatch[]): void;
  read(map: string): Iterable<RawBatch>;
  /** Runs one packet through one of the programs. Throws `DP_KERNEL`, also when this kernel cannot run such a program. */
  run(packet: TracePacket): TraceOutcome;
  close(): void;
}

export interface TracePacket {
  /** One of `TraceOptions.programs`. */
  readonly program: string;
  /** Ethernet header first, at least its 14 bytes. */
  readonly bytes: Uint8Array;
  /** Interface the packet comes in by; it must exist. */
  readonly ifindex: number;
  /** Firewall mark; XDP knows none. */
  readonly mark: number;
}

export interface TraceOutcome {
  /** What the program returned, as unsigned 32-bit number: TC_ACT_* or XDP_*. */
  readonly verdict: number;
  /** The packet as the program left it. */
  readonly bytes: Uint8Array;
}

/** The packet path, as far as a plugin may touch it besides its maps. */
export interface DataPlane {
  readonly backend: 'kernel' | 'memory';
  /** A `SEC("syscall")` program of the packet path by its C name. */
  program(name: string): KernelProgram;
  /** A `SEC("iter/bpf_map_elem")` program of the packet path bound to one of its maps. */
  walk(program: string, map: string): KernelWalk;
  /**
   * Raw batches of a map, 4096 entries at a time, for dumps too long to decode on the event loop. The buffers are fresh:
   * they may be kept, or transferred to a worker.
   */
  rawBatches(map: string): Iterable<RawBatch>;
  /** Raw entries of these keys, packed; keys without entry are left out. Size of a value as in `rawBatches`. */
  rawEntries(map: string, keys: readonly Uint8Array[]): RawBatch;
  /**
   * Reads a ring buffer of the packet path from now on, one record per call, until `close`. Nothing runs while nothing
   * is written. A ring has one reader at a time. Usable from `onStart` on; the memory backend has rings nobody writes.
   */
  ring(name: string, onRecord: (record: Uint8Array) => void): RingReader;
  /**
   * Loads a second instance to see what becomes of a packet, in some tenths of a second and off the event loop. Close
   * it. Undefined where there is no kernel. Rejects with `DP_KERNEL`.
   */
  openTrace(options: TraceOptions): Promise<TraceInstance | undefined>;
  /** Interfaces the packet path is attached to now, as read back from the kernel. */
  attached(): readonly AttachedInterface[];
}

export interface AttachedInterface {
  readonly ifindex: number;
  readonly name: string;
  /** How the programs hang on the interface. */
  readonly hook: 'tcx' | 'clsact';
  /** The XDP program beside them; absent where the backend knows none. */
  readonly xdp?: XdpState;
}

export interface XdpState {
  readonly mode: 'off' | 'native' | 'generic';
  /** Why, as the end of a sentence: `veth gains nothing by XDP`. */
  readonly reason: string;
}

/**
 * What a plugin gets. `setup` declares - maps, resources, operations, metrics, services - and does no I/O, so a config
 * can be checked without touching the kernel. Everything obtained from the context is released by the context.
 */
export interface PluginContext<C> {
  readonly config: C;
  readonly log: Logger;
  /** Aborted when the plugin stops. */
  readonly signal: AbortSignal;
  /** Claims a map slice. One owner each: a second claim is refused. Usable from `onStart` on. */
  map<K, V>(spec: MapSpec<K, V>): MapSlice<K, V>;
  /** Read-only view of a slice that another plugin owns. */
  view<K, V>(spec: MapSpec<K, V>): MapView<K, V>;
  /** Switches code of the packet path on: sets the constant `cfg_<name>` before the programs are loaded. */
  feature(name: string, value?: boolean | number): void;
  readonly dataplane: DataPlane;
  resource<S, W>(definition: ResourceDefinition<S, W>): ResourceHandle<S>;
  operation(spec: OperationSpec): void;
  readonly metrics: MetricFactory;
  workers(spec: WorkerSpec): WorkerPool;
  provide<T>(token: Token<T>, implementation: T): void;
  /** A service another plugin (or the core) provides. Checked before start: a missing one names both plugins. */
  use<T>(token: Token<T>): T;
  /** A service that may be absent. */
  useOptional<T>(token: Token<T>): T | undefined;
  onStart(hook: Hook): void;
  onStop(hook: Hook): void;
}
