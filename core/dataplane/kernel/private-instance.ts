/** A second instance of the packet path that leaves nothing behind: for `trace`. */
import type { MapType, RawBatch, TraceInstance, TraceOptions, TraceOutcome, TracePacket } from '@loxilb/sdk';
import { kernelError, mapError, mapUnknown } from '../errors.js';
import { isArray, isPerCpu } from '../raw-map.js';
import { syncHash } from '../sync.js';
import { MapTypeNumber, mapInfo, PROG_TYPE_XDP, programFacts } from '../sys/bpf.js';
import { libbpf } from '../sys/libbpf.js';
import { duplicateFd } from '../sys/libc.js';
import { pageSize } from '../sys/wait.js';
import { BpfObject } from './bpf-object.js';
import { KERNEL_MAP_TYPES, KernelMap } from './kernel-map.js';
import { testRun, testRunXdp } from './test-run.js';

/** The constant that makes programs tell what they decide. */
const TRACE_CONSTANT = 'cfg_trace';

/** Room for what one packet can leave in a table; LRU tables need some for each CPU. */
const TABLE_ENTRIES = 1024;

/** The packet path that is running. */
export interface RunningPath {
  readonly file: string;
  readonly constants: ReadonlyMap<string, number | boolean>;
  /** Descriptor of one of its maps, which stays its own. */
  readonly mapFd: (name: string) => number;
}

/**
 * Loads the object again, with the constants of the running one but `cfg_trace`. Shared maps are those of the running
 * one; arrays are as long as there, since their index means something, and tables are small.
 */
export async function openPrivateInstance(
  { file, constants, mapFd }: RunningPath,
  { programs, shared, copied, sizes }: TraceOptions,
): Promise<TraceInstance> {
  const object = BpfObject.open(file);
  try {
    for (const [name, value] of constants) object.setConstant(name, value);
    object.setConstant(TRACE_CONSTANT, true);
    object.loadOnly(...programs);
    for (const name of [...shared, ...copied]) if (!object.layout.maps.has(name)) throw mapUnknown(name);
    for (const { name } of object.layout.maps.values()) {
      if (shared.includes(name)) object.reuseMap(name, mapFd(name));
      else if (!copied.includes(name)) object.setMaxEntries(name, sizes[name] ?? privateSize(mapFd(name)));
    }
    await object.loadAsync();
  } catch (error) {
    object.close();
    throw error;
  }
  return fill(new PrivateInstance(object, new Set(shared)), copied, mapFd);
}

function fill(instance: PrivateInstance, copied: readonly string[], mapFd: (name: string) => number): PrivateInstance {
  try {
    for (const name of copied) instance.copy(name, mapFd(name));
    return instance;
  } catch (error) {
    instance.close();
    throw error;
  }
}

function privateSize(fd: number): number {
  const { type, maxEntries } = mapInfo(fd);
  if (type === MapTypeNumber.RINGBUF) return pageSize();
  const known = typeOf(type);
  return known === undefined || isArray(known) ? maxEntries : Math.min(maxEntries, TABLE_ENTRIES);
}

function typeOf(number: number): MapType | undefined {
  const found = Object.entries(KERNEL_MAP_TYPES).find(([, value]) => value === number);
  return found?.[0] as MapType | undefined;
}

class PrivateInstance implements TraceInstance {
  private readonly maps = new Map<string, KernelMap>();

  constructor(
    private readonly object: BpfObject,
    private readonly shared: ReadonlySet<string>,
  ) {}

  write(name: string, batches: readonly RawBatch[]): void {
    // The running packet path reads it.
    if (this.shared.has(name)) throw new RangeError(`map ${name} is shared: it is not the instance's to write`);
    const map = this.open(name);
    const keys = Buffer.concat(batches.map((batch) => batch.keys));
    const values = Buffer.concat(batches.map((batch) => batch.values));
    if (!isArray(map.type)) {
      syncHash(map, keys, values);
      return;
    }
    const { errno } = map.updateBatch(keys, values, keys.length / map.keySize);
    if (errno !== 0) throw mapError(name, 'write', errno);
  }

  read(name: string): Iterable<RawBatch> {
    return this.open(name).batches();
  }

  run({ program, bytes, ifindex, mark }: TracePacket): TraceOutcome {
    const fd = this.object.programFd(program);
    const isXdp = programFacts(fd).type === PROG_TYPE_XDP;
    const { retval, data } = isXdp ? testRunXdp(fd, bytes, ifindex) : testRun(fd, bytes, { ifindex, mark });
    return { verdict: retval, bytes: data.slice() };
  }

  /** Fills the map with what the one of this descriptor has. */
  copy(name: string, fd: number): void {
    const source = this.wrap(name, fd);
    try {
      this.write(name, [...source.batches()]);
    } finally {
      source.close();
    }
  }

  close(): void {
    for (const map of this.maps.values()) map.close();
    this.maps.clear();
    this.object.close();
  }

  private open(name: string): KernelMap {
    const map = this.maps.get(name) ?? this.wrap(name, this.object.mapFd(name));
    this.maps.set(name, map);
    return map;
  }

  private wrap(name: string, mapFd: number): KernelMap {
    const type = typeOf(this.object.layout.maps.get(name)?.type ?? 0);
    if (type === undefined) throw mapUnknown(name);
    const fd = duplicateFd(mapFd);
    if (fd < 0) throw kernelError(`opening map ${name}`, -fd);
    const possibleCpus = isPerCpu(type) ? libbpf().possibleCpus() : 1;
    return new KernelMap({ ...mapInfo(fd), name, type, possibleCpus }, fd);
  }
}
