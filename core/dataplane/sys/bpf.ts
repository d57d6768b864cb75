/** bpf(2) commands that are not map elements. Every function returns the result, or the negative errno. */
import { addressOf, bpf } from './libc.js';

const Command = {
  MAP_CREATE: 0,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  PROG_GET_FD_BY_ID: 13,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  ITER_CREATE: 33,
  LINK_DETACH: 34,
} as const;

export const AttachType = { TCX_INGRESS: 46, TCX_EGRESS: 47, TRACE_ITER: 28, XDP: 37 } as const;

/** BPF_MAP_TYPE_* of maps that are not slices. */
export const MapTypeNumber = { RINGBUF: 27 } as const;

/** BPF_PROG_TYPE_XDP, `SEC("xdp")`. */
export const PROG_TYPE_XDP = 6;
/** BPF_PROG_TYPE_SCHED_CLS, `SEC("tc")`. */
const PROG_TYPE_SCHED_CLS = 3;
const LINK_TYPE_XDP = 6;
const LINK_TYPE_TCX = 11;

function attribute(size: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

function cString(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(`${text}\0`, 'utf8'));
}

function textAt(view: DataView, offset: number, length: number): string {
  const bytes = Buffer.from(view.buffer, view.byteOffset + offset, length);
  return bytes.toString('latin1', 0, Math.max(0, bytes.indexOf(0)));
}

export interface MapShape {
  /** BPF_MAP_TYPE_*. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export function createMap(name: string, shape: MapShape): number {
  const { bytes, view } = attribute(72);
  const members = [shape.type, shape.keySize, shape.valueSize, shape.maxEntries, shape.flags];
  members.forEach((value, index) => {
    view.setUint32(index * 4, value, true);
  });
  bytes.set(cString(name.slice(0, 15)), 28);
  return bpf(Command.MAP_CREATE, bytes);
}

function pathCommand(command: number, path: string, fd: number): number {
  const { bytes, view } = attribute(16);
  const text = cString(path);
  view.setBigUint64(0, addressOf(text), true);
  view.setUint32(8, fd, true);
  return bpf(command, bytes);
}

export function pinObject(fd: number, path: string): number {
  return pathCommand(Command.OBJ_PIN, path, fd);
}

/** A file descriptor of what is pinned at `path`. */
export function getPinned(path: string): number {
  return pathCommand(Command.OBJ_GET, path, 0);
}

/** The kernel's info struct of a map, program or link. Throws RangeError with the errno when it cannot be had. */
function readInfo(fd: number, size: number): DataView {
  const info = attribute(size);
  const { bytes, view } = attribute(16);
  view.setUint32(0, fd, true);
  view.setUint32(4, size, true);
  view.setBigUint64(8, addressOf(info.bytes), true);
  const result = bpf(Command.OBJ_GET_INFO_BY_FD, bytes);
  if (result < 0) throw new RangeError(`no information about descriptor ${fd}: errno ${-result}`);
  return info.view;
}

export function mapInfo(fd: number): MapShape & { readonly id: number; readonly name: string } {
  const view = readInfo(fd, 80);
  const word = (index: number) => view.getUint32(index * 4, true);
  return {
    type: word(0),
    id: word(1),
    keySize: word(2),
    valueSize: word(3),
    maxEntries: word(4),
    flags: word(5),
    name: textAt(view, 24, 16),
  };
}

export interface ProgramFacts {
  readonly id: number;
  /** BPF_PROG_TYPE_* */
  readonly type: number;
  readonly name: string;
  readonly instructions: number;
  readonly verifiedInstructions: number;
}

export function programFacts(fd: number): ProgramFacts {
  const view = readInfo(fd, 232);
  return {
    id: view.getUint32(4, true),
    type: view.getUint32(0, true),
    name: textAt(view, 64, 16),
    instructions: view.getUint32(20, true) / 8,
    verifiedInstructions: view.getUint32(216, true),
  };
}

export function programFdById(id: number): number {
  const { bytes, view } = attribute(12);
  view.setUint32(0, id, true);
  return bpf(Command.PROG_GET_FD_BY_ID, bytes);
}

export interface TcxLinkFacts {
  readonly programId: number;
  /** 0 when the interface is gone. */
  readonly ifindex: number;
  readonly attachType: number;
}

/** Undefined when the descriptor is not a tcx link. */
export function tcxLinkFacts(fd: number): TcxLinkFacts | undefined {
  const view = readInfo(fd, 40);
  if (view.getUint32(0, true) !== LINK_TYPE_TCX) return undefined;
  return {
    programId: view.getUint32(8, true),
    ifindex: view.getUint32(16, true),
    attachType: view.getUint32(20, true),
  };
}

/** Undefined when the descriptor is not an XDP link. */
export function xdpLinkFacts(fd: number): Omit<TcxLinkFacts, 'attachType'> | undefined {
  const view = readInfo(fd, 40);
  if (view.getUint32(0, true) !== LINK_TYPE_XDP) return undefined;
  return { programId: view.getUint32(8, true), ifindex: view.getUint32(16, true) };
}

/** XDP_FLAGS_SKB_MODE and XDP_FLAGS_DRV_MODE. */
const XDP_FLAGS = { generic: 1 << 1, native: 1 << 2 } as const;

export function createXdpLink(programFd: number, ifindex: number, mode: 'native' | 'generic'): number {
  const { bytes, view } = attribute(64);
  view.setUint32(0, programFd, true);
  view.setUint32(4, ifindex, true);
  view.setUint32(8, AttachType.XDP, true);
  view.setUint32(12, XDP_FLAGS[mode], true);
  return bpf(Command.LINK_CREATE, bytes);
}

export function createTcxLink(programFd: number, ifindex: number, attachType: number): number {
  const { bytes, view } = attribute(64);
  view.setUint32(0, programFd, true);
  view.setUint32(4, ifindex, true);
  view.setUint32(8, attachType, true);
  return bpf(Command.LINK_CREATE, bytes);
}

export function updateLink(linkFd: number, programFd: number): number {
  const { bytes, view } = attribute(16);
  view.setUint32(0, linkFd, true);
  view.setUint32(4, programFd, true);
  return bpf(Command.LINK_UPDATE, bytes);
}

export function detachLink(linkFd: number): number {
  const { bytes, view } = attribute(4);
  view.setUint32(0, linkFd, true);
  return bpf(Command.LINK_DETACH, bytes);
}

/** Link of an `iter/bpf_map_elem` program to one map. */
export function createMapIteratorLink(programFd: number, mapFd: number): number {
  const target = attribute(16);
  target.view.setUint32(0, mapFd, true);
  const { bytes, view } = attribute(64);
  view.setUint32(0, programFd, true);
  view.setUint32(8, AttachType.TRACE_ITER, true);
  view.setBigUint64(16, addressOf(target.bytes), true);
  view.setUint32(24, target.bytes.byteLength, true);
  return bpf(Command.LINK_CREATE, bytes);
}

/** A file to read one walk from. */
export function createIterator(linkFd: number): number {
  const { bytes, view } = attribute(8);
  view.setUint32(0, linkFd, true);
  return bpf(Command.ITER_CREATE, bytes);
}

/** Ids of the programs attached to an interface by tcx, or the negative errno. */
export function queryTcxPrograms(ifindex: number, attachType: number): number[] | number {
  const ids = new Uint32Array(64);
  const { bytes, view } = attribute(64);
  view.setUint32(0, ifindex, true);
  view.setUint32(4, attachType, true);
  view.setBigUint64(16, addressOf(new Uint8Array(ids.buffer)), true);
  view.setUint32(24, ids.length, true);
  const result = bpf(Command.PROG_QUERY, bytes);
  return result < 0 ? result : [...ids.subarray(0, view.getUint32(24, true))];
}

export interface TestRunBuffers {
  readonly data?: Uint8Array;
  readonly dataOut?: Uint8Array;
  readonly contextIn?: Uint8Array;
  readonly repeat?: number;
  /** BPF_F_TEST_*. */
  readonly flags?: number;
}

export interface TestRunOutcome {
  /** 0, or the negative errno. */
  readonly result: number;
  readonly retval: number;
  readonly dataLength: number;
  readonly durationNs: number;
}

export function runProgram(programFd: number, buffers: TestRunBuffers): TestRunOutcome {
  const { bytes, view } = attribute(80);
  const point = (offset: number, buffer: Uint8Array | undefined) => {
    if (buffer && buffer.byteLength > 0) view.setBigUint64(offset, addressOf(buffer), true);
  };
  view.setUint32(0, programFd, true);
  view.setUint32(8, buffers.data?.byteLength ?? 0, true);
  view.setUint32(12, buffers.dataOut?.byteLength ?? 0, true);
  point(16, buffers.data);
  point(24, buffers.dataOut);
  view.setUint32(32, buffers.repeat ?? 0, true);
  // ctx_out stays 0: syscall programs refuse it, their results come back in ctx_in.
  view.setUint32(40, buffers.contextIn?.byteLength ?? 0, true);
  point(48, buffers.contextIn);
  view.setUint32(64, buffers.flags ?? 0, true);
  const result = bpf(Command.PROG_TEST_RUN, bytes);
  return {
    result,
    retval: view.getUint32(4, true),
    dataLength: view.getUint32(12, true),
    durationNs: view.getUint32(36, true),
  };
}

/** Loads a small tc program given as instructions; for feature probes. */
export function loadTcProgram(instructions: Uint8Array): number {
  const license = cString('GPL');
  const { bytes, view } = attribute(72);
  view.setUint32(0, PROG_TYPE_SCHED_CLS, true);
  view.setUint32(4, instructions.byteLength / 8, true);
  view.setBigUint64(8, addressOf(instructions), true);
  view.setBigUint64(16, addressOf(license), true);
  return bpf(Command.PROG_LOAD, bytes);
}
