/** A second instance of the packet path that leaves nothing behind: for `trace`. */
import type { MapType, RawBatch, TraceInstance, TraceOptions, TraceOutcome, TracePacket } from '@loxilb/sdk';
import { kernelError, mapError, mapUnknown } from '../errors.js';
import { isArray, isPerCpu } from '../raw-map.js';
import { syncHash } from '../sync.js';
import { MapTypeNumber, mapInfo } from '../sys/bpf.js';
import { libbpf } from '../sys/libbpf.js';
import { duplicateFd } from '../sys/libc.js';
import { pageSize } from '../sys/wait.js';
import { BpfObject } from './bpf-object.js';
import { KERNEL_MAP_TYPES, KernelMap } from './kernel-map.js';
import { testRun } from './test-run.js';

/** The constant that makes programs tell what they decide. */
const TRACE_CONSTANT = 'cfg_trace';

/** Room for what one packet can leave in a table; LRU tables need some for each CPU. */
const TABLE_ENTRIES = 1024;

/**
 * Loads the object again, with the constants of the running one but `cfg_trace`. Shared maps are those of the running
 * one; arrays are as long as there, since their index means something, and tables are small.
 */
export async function openPrivateInstance(
  file: string,
  running: BpfObject,
  constants: ReadonlyMap<string, number | boolean>,
  { program, shared, sizes }: TraceOptions,
): Promise<TraceInstance> {
  const object = BpfObject.open(file);
  try {
    for (const [name, value] of constants) object.setConstant(name, value);
    object.setConstant(TRACE_CONSTANT, true);
    object.loadOnly(program);
    for (const name of shared) if (!running.layout.maps.has(name)) throw mapUnknown(name);
    for (const { name } of object.layout.maps.values()) {
      if (shared.includes(name)) object.reuseMap(name, running.mapFd(name));
      else object.setMaxEntries(name, sizes[name] ?? privateSize(running.mapFd(name)));
    }
    await object.loadAsync();
    return new PrivateInstance(object, program, new Set(shared));
  } catch (error) {
    object.close();
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
    private readonly program: string,
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

  run({ bytes, ifindex, mark }: TracePacket): TraceOutcome {
    const { retval, data } = testRun(this.object.programFd(this.program), bytes, { ifindex, mark });
    return { verdict: retval, bytes: data.slice() };
  }

  close(): void {
    for (const map of this.maps.values()) map.close();
    this.maps.clear();
    this.object.close();
  }

  private open(name: string): KernelMap {
    const present = this.maps.get(name);
    if (present) return present;
    const type = typeOf(this.object.layout.maps.get(name)?.type ?? 0);
    if (type === undefined) throw mapUnknown(name);
    const fd = duplicateFd(this.object.mapFd(name));
    if (fd < 0) throw kernelError(`opening map ${name}`, -fd);
    const possibleCpus = isPerCpu(type) ? libbpf().possibleCpus() : 1;
    const map = new KernelMap({ ...mapInfo(fd), name, type, possibleCpus }, fd);
    this.maps.set(name, map);
    return map;
  }
}
