import { closeSync, readFileSync } from 'node:fs';
import koffi from 'koffi';

const libbpf = koffi.load('libbpf.so.1');
const libc = koffi.load('libc.so.6');

const openFile = libbpf.func('void *bpf_object__open_file(const char *path, void *opts)');
const loadObject = libbpf.func('int bpf_object__load(void *object)');
const findProgram = libbpf.func('void *bpf_object__find_program_by_name(void *object, const char *name)');
const programFd = libbpf.func('int bpf_program__fd(void *program)');
const findMap = libbpf.func('int bpf_object__find_map_fd_by_name(void *object, const char *name)');
const updateElement = libbpf.func('int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)');
const lookupElement = libbpf.func('int bpf_map_lookup_elem(int fd, void *key, void *value)');
const getPinned = libbpf.func('int bpf_obj_get(const char *path)');
const syscall = libc.func('long syscall(long number, int command, void *attribute, uint32_t size)');

const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_PROG_TEST_RUN = 10;
const BPF_LINK_CREATE = 28;
const BPF_ENABLE_STATS = 32;
const BPF_ITER_CREATE = 33;
const BPF_TRACE_ITER = 28;
const BPF_LINK_DETACH = 34;
const SKB_CONTEXT_BYTES = 192;
const XDP_CONTEXT_BYTES = 24;
/** BPF_F_TEST_XDP_LIVE_FRAMES */
const LIVE_FRAMES = 2;
/** BPF_TCX_INGRESS and BPF_XDP. */
const ATTACH = { tc: 46, xdp: 37 } as const;
const XDP_DRIVER_MODE = 1 << 2;

/** A compiled object, loaded into the kernel for as long as this process lives. */
export class LoadedObject {
  private readonly handle: unknown;

  constructor(private readonly path: string) {
    this.handle = openFile(path, null);
    if (!this.handle) throw new Error(`${path}: cannot be opened as a BPF object`);
    const result = loadObject(this.handle) as number;
    if (result < 0) throw new Error(`${path}: the kernel refused to load it (${result}); libbpf's log is above`);
  }

  program(name: string): number {
    const program: unknown = findProgram(this.handle, name);
    if (!program) throw new Error(`${this.path}: no program ${name}`);
    return programFd(program) as number;
  }

  map(name: string): number {
    const fd = findMap(this.handle, name) as number;
    if (fd < 0) throw new Error(`${this.path}: no map ${name}`);
    return fd;
  }
}

export function openPinned(path: string): number {
  const fd = getPinned(path) as number;
  if (fd < 0) throw new Error(`${path}: cannot be opened (${fd})`);
  return fd;
}

export function updateMap(fd: number, key: Uint8Array, value: Uint8Array): void {
  const result = updateElement(fd, Buffer.from(key), Buffer.from(value), 0) as number;
  if (result < 0) throw new Error(`map update: ${result}`);
}

/** Value of an element of `bytes` bytes. */
export function readMap(fd: number, key: Uint8Array, bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  const result = lookupElement(fd, Buffer.from(key), value) as number;
  if (result < 0) throw new Error(`map lookup: ${result}`);
  return value;
}

/** A u32 as a map key or value, host byte order. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export interface TestRun {
  readonly verdict: number;
  /** Average of one run, as the kernel measured it; whole nanoseconds. */
  readonly ns: number;
  /** The packet after the last run. */
  readonly frame: Buffer;
}

/** Runs a tc program `repeat` times on a packet that came in through `ifindex` of this process's namespace. */
export function testRun(program: number, frame: Buffer, ifindex: number, repeat: number): TestRun {
  const context = Buffer.alloc(SKB_CONTEXT_BYTES);
  context.writeUInt32LE(ifindex, 36); // ingress_ifindex
  context.writeUInt32LE(ifindex, 40); // ifindex
  return runTest(program, frame, context, repeat);
}

/** The same for an XDP program. */
export function testRunXdp(program: number, frame: Buffer, ifindex: number, repeat: number): TestRun {
  return runTest(program, frame, xdpContext(frame, ifindex), repeat);
}

/** Runs an XDP program on `repeat` frames that really go where it says, 64 at a time. Ends when all are sent. */
export function sendLive(program: number, frame: Buffer, ifindex: number, repeat: number): void {
  bpf(BPF_PROG_TEST_RUN, testAttribute(program, frame, xdpContext(frame, ifindex), repeat, LIVE_FRAMES));
}

function xdpContext(frame: Buffer, ifindex: number): Buffer {
  const context = Buffer.alloc(XDP_CONTEXT_BYTES);
  context.writeUInt32LE(frame.length, 4); // data_end
  context.writeUInt32LE(ifindex, 12);
  return context;
}

function testAttribute(program: number, frame: Buffer, context: Buffer, repeat: number, flags = 0): Buffer {
  const attribute = Buffer.alloc(80);
  attribute.writeUInt32LE(program, 0);
  attribute.writeUInt32LE(frame.length, 8);
  attribute.writeBigUInt64LE(BigInt(koffi.address(frame)), 16);
  attribute.writeUInt32LE(repeat, 32);
  attribute.writeUInt32LE(context.length, 40);
  attribute.writeBigUInt64LE(BigInt(koffi.address(context)), 48);
  attribute.writeUInt32LE(flags, 64);
  return attribute;
}

function runTest(program: number, frame: Buffer, context: Buffer, repeat: number): TestRun {
  const output = Buffer.alloc(frame.length + 256);
  const attribute = testAttribute(program, frame, context, repeat);
  attribute.writeUInt32LE(output.length, 12);
  attribute.writeBigUInt64LE(BigInt(koffi.address(output)), 24);
  bpf(BPF_PROG_TEST_RUN, attribute);
  return {
    verdict: attribute.readInt32LE(4),
    ns: attribute.readUInt32LE(36),
    frame: output.subarray(0, attribute.readUInt32LE(12)),
  };
}

/** Attaches a program to an interface of this thread's namespace; returns what takes it off. */
export function attach(program: number, ifindex: number, hook: keyof typeof ATTACH): () => void {
  const create = Buffer.alloc(64);
  create.writeUInt32LE(program, 0);
  create.writeUInt32LE(ifindex, 4);
  create.writeUInt32LE(ATTACH[hook], 8);
  create.writeUInt32LE(hook === 'xdp' ? XDP_DRIVER_MODE : 0, 12);
  const link = bpf(BPF_LINK_CREATE, create);
  return () => {
    bpf(BPF_LINK_DETACH, word(link));
    closeSync(link);
  };
}

/** A file descriptor whose reading runs the iterator program over the map's elements. */
export function openWalk(program: number, map: number): number {
  const target = word(map);
  const create = Buffer.alloc(28);
  create.writeUInt32LE(program, 0);
  create.writeUInt32LE(BPF_TRACE_ITER, 8);
  create.writeBigUInt64LE(BigInt(koffi.address(target)), 16);
  create.writeUInt32LE(target.length, 24);
  const link = bpf(BPF_LINK_CREATE, create);
  const iterate = Buffer.alloc(8);
  iterate.writeUInt32LE(link, 0);
  return bpf(BPF_ITER_CREATE, iterate);
}

/** Kernel bytes a map takes now. */
export function mapMemory(map: number): number {
  return Number(/memlock:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${map}`, 'latin1'))?.[1] ?? Number.NaN);
}

export interface RunStatistics {
  readonly runs: number;
  readonly ns: number;
}

/** The kernel counts runs and time of every program while the returned descriptor is open. */
export function enableStatistics(): number {
  return bpf(BPF_ENABLE_STATS, Buffer.alloc(4));
}

export function readStatistics(program: number): RunStatistics {
  const text = readFileSync(`/proc/self/fdinfo/${program}`, 'latin1');
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? Number.NaN);
  return { runs: field('run_cnt'), ns: field('run_time_ns') };
}

function bpf(command: number, attribute: Buffer): number {
  const result = Number(syscall(SYS_BPF, command, attribute, attribute.length));
  if (result < 0) throw new Error(`bpf command ${command}: errno ${koffi.errno()}`);
  return result;
}
