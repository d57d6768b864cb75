/** The packet path, loaded: packets in, packets and map contents out. Nothing is attached to any interface. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseObject } from '../../core/dataplane/btf/object-layout.js';
import { RingBuffer } from '../../core/dataplane/kernel/ring-buffer.js';
import { DpCounter, type DpTraceStep } from '../../core/dataplane/layout.gen.js';
import {
  createIterator,
  createMapIteratorLink,
  mapInfo,
  programFacts,
  runProgram,
} from '../../core/dataplane/sys/bpf.js';
import { captureLog, type Handle, libbpf, viewOf } from '../../core/dataplane/sys/libbpf.js';
import { closeFd, readSync } from '../../core/dataplane/sys/libc.js';
import { clearTables, openPathMaps, type PathMaps } from './path-maps.js';

/** What a program returns, as tc reads it. */
export const VERDICT = { next: -1, drop: 2, redirect: 7 } as const;

const BPF_F_TEST_SKB_CHECKSUM_COMPLETE = 4;
const EINVAL = 22;
const EBADMSG = 74;

export const OBJECT = process.env.LOXILB_BPF_OBJECT ?? fromRoot('bpf/build/loxilb.bpf.o');

function fromRoot(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** Constants of .rodata, by name. */
export type Features = Readonly<Record<string, boolean | number>>;

export interface LoadOptions {
  readonly features?: Features;
  /** Map sizes other than the small ones of the tests. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  readonly object?: string;
}

export interface RunOptions {
  /** Interface the packet came in by, or goes out by. */
  readonly ifindex: number;
  readonly mark?: number;
  /** Of a super-packet: payload bytes per segment. */
  readonly gsoSize?: number;
  /**
   * As from a device that sums whole packets (CHECKSUM_COMPLETE); the kernel checks afterwards that the sum still is
   * that of the packet. Ignored where it cannot (before 6.17).
   */
  readonly summed?: boolean;
}

export interface RunResult {
  readonly verdict: number;
  readonly frame: Uint8Array;
}

const SIZES = {
  ct_flow: 16_384,
  ct_new: 16_384,
  lb_affinity: 1024,
  lb_slot: 4096,
  lb_endpoint: 1024,
  lb_svc_state: 256,
};
const ENDPOINT_SIZED = { lb_ep_flows: 1024, lb_ep_stats: 1024 };

/** DP_TRACE_STEPS. */
const TRACE_STEPS = 64;

/** The last enumerator is the size of the table. */
const REASONS = Object.entries(DpCounter).filter(([name]) => name !== 'DP_COUNTERS');

/** LOXILB_BPF_OLD_KERNEL: the ways taken where the kernel has nothing newer than 5.15. */
const OLD_KERNEL = Boolean(process.env.LOXILB_BPF_OLD_KERNEL);
const NOT_IN_5_15 = { cfg_kern_ctx: false, cfg_bpf_loop: false, cfg_csum_ipv6_flag: false };

export class PacketPath {
  readonly maps: PathMaps;
  private readonly object: Handle;
  private readonly rings = new Map<string, RingBuffer>();

  constructor(options: LoadOptions = {}) {
    const file = options.object ?? OBJECT;
    if (!existsSync(file)) throw new Error(`${file} is not there: run npm run build:bpf`);
    const opened = captureLog(() => libbpf().openFile(file, null));
    if (!opened.value) throw new Error(`${file} cannot be opened: ${opened.log}`);
    this.object = opened.value;
    this.setConstants(file, { ...(OLD_KERNEL ? NOT_IN_5_15 : {}), ...options.features });
    const sizes = { ...SIZES, ...ENDPOINT_SIZED, ...options.maxEntries };
    for (const [name, count] of Object.entries(sizes)) libbpf().setMaxEntries(this.mapHandle(name), count);
    const loaded = captureLog(() => libbpf().load(this.object));
    if (loaded.value < 0)
      throw new Error(`${file} refused by the kernel (${loaded.value}): ${loaded.log.slice(-4000)}`);
    this.maps = openPathMaps((name) => libbpf().mapFd(this.mapHandle(name)), libbpf().possibleCpus());
    this.maps.control.set(0, { layoutVersion: 2, generation: 1 });
  }

  /** A packet on its way in. */
  ingress(frame: Uint8Array, options: RunOptions): RunResult {
    return this.run('tc_ingress', frame, options, options.ifindex);
  }

  /** A packet on its way out that this machine made. */
  egress(frame: Uint8Array, options: RunOptions): RunResult {
    return this.run('tc_egress', frame, options, 0);
  }

  /** A packet on its way out that came in by another interface. */
  egressForwarded(frame: Uint8Array, options: RunOptions, ingressIfindex: number): RunResult {
    return this.run('tc_egress', frame, options, ingressIfindex);
  }

  /** Counters that are not zero, by name. */
  counters(): Partial<Record<keyof typeof DpCounter, number>> {
    const all = REASONS.map(([name, index]): [string, number] => {
      const copies = this.maps.counters.getAll(index) ?? [];
      return [name, copies.reduce((sum, copy) => sum + Number(copy.packets), 0)];
    });
    return Object.fromEntries(all.filter(([, value]) => value !== 0));
  }

  /** Packets of a service dropped for one reason. */
  serviceDrops(serviceId: number, reason: number): number {
    const copies = this.maps.serviceDrops.getAll({ serviceId, reason }) ?? [];
    return copies.reduce((sum, copy) => sum + Number(copy.packets), 0);
  }

  facts(program: string): { readonly instructions: number; readonly verifiedInstructions: number } {
    return programFacts(this.programFd(program));
  }

  /** One expiry pass, as the daemon makes it: both tables, then `behind`, then the pending counts. */
  expire(options: { readonly cut?: boolean; behind?(): void } = {}): {
    readonly flows: number;
    readonly expired: number;
  } {
    const fresh = { seen: 0, expired: 0, now: 0, closingTicks: 0, cut: options.cut ? 1 : 0, next: 0xffff_ffff };
    this.maps.pass.set(0, fresh);
    this.maps.pass.set(1, fresh);
    runProgram(this.programFd('ct_pass_begin'), { contextIn: new Uint8Array(8) });
    this.walk('ct_walk', this.maps.flows.fd);
    this.walk('ct_walk_new', this.maps.pending.fd);
    options.behind?.();
    this.recount(0, 1024);
    const passes = [this.maps.pass.need(0), this.maps.pass.need(1)];
    return {
      flows: passes.reduce((sum, pass) => sum + pass.seen, 0),
      expired: passes.reduce((sum, pass) => sum + pass.expired, 0),
    };
  }

  /** Ticks until the first of the flows the last pass left is over. */
  nextEnd(): number {
    return Math.min(this.maps.pass.need(0).next, this.maps.pass.need(1).next);
  }

  recount(from: number, to: number): void {
    const contextIn = new Uint8Array(8);
    new DataView(contextIn.buffer).setUint32(0, from, true);
    new DataView(contextIn.buffer).setUint32(4, to, true);
    const { result } = runProgram(this.programFd('lb_recount'), { contextIn });
    if (result < 0) throw new Error(`lb_recount: errno ${-result}`);
  }

  /** What the programs wrote to a ring since it was last asked, as it was written. */
  drain(ring: 'ct_reset' | 'dp_event'): Uint8Array[] {
    const fd = libbpf().mapFd(this.mapHandle(ring));
    const buffer = this.rings.get(ring) ?? new RingBuffer(ring, fd, mapInfo(fd).maxEntries);
    this.rings.set(ring, buffer);
    const records: Uint8Array[] = [];
    buffer.drain(Number.MAX_SAFE_INTEGER, (record) => records.push(record) > 0);
    return records;
  }

  /** Runs a packet in and tells the steps of it; only of programs loaded with `cfg_trace`. */
  trace(frame: Uint8Array, options: RunOptions): { readonly result: RunResult; readonly steps: DpTraceStep[] } {
    return this.traced(() => this.ingress(frame, options));
  }

  /** The steps of whatever program `run` runs. */
  traced(run: () => RunResult): { readonly result: RunResult; readonly steps: DpTraceStep[] } {
    const { trace } = this.maps;
    for (let index = 0; index < TRACE_STEPS; index++) trace.zero(index);
    const result = run();
    const steps = Array.from({ length: trace.need(0).a }, (_, index) => trace.need(index + 1));
    return { result, steps };
  }

  /** As after loading, without the time that takes. */
  reset(): void {
    const { maps } = this;
    clearTables(maps);
    for (const [, index] of REASONS) maps.counters.zero(index);
    for (let id = 0; id < 64; id++) {
      for (const map of [maps.serviceStates, maps.endpoints, maps.endpointFlows, maps.endpointStats]) map.zero(id);
    }
    for (const map of [maps.halfOpen, maps.lbControl, maps.observe]) map.zero(0);
    maps.control.set(0, { layoutVersion: 2, generation: 1 });
    for (const ring of ['ct_reset', 'dp_event'] as const) this.drain(ring);
  }

  close(): void {
    libbpf().close(this.object);
  }

  private walk(program: string, mapFd: number): void {
    const link = createMapIteratorLink(this.programFd(program), mapFd);
    if (link < 0) throw new Error(`${program}: no iterator link, errno ${-link}`);
    const iterator = createIterator(link);
    const buffer = new Uint8Array(4096);
    let got = 1;
    while (got > 0) got = readSync(iterator, buffer);
    closeFd(iterator);
    closeFd(link);
    if (got < 0) throw new Error(`${program}: read failed, errno ${-got}`);
  }

  private run(program: string, frame: Uint8Array, options: RunOptions, ingressIfindex: number): RunResult {
    const dataOut = new Uint8Array(8192);
    const contextIn = skbContext(options, ingressIfindex);
    const buffers = { data: frame, dataOut, contextIn, repeat: 1 };
    const flags = options.summed ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0;
    let outcome = runProgram(this.programFd(program), { ...buffers, flags });
    if (flags && outcome.result === -EINVAL) outcome = runProgram(this.programFd(program), buffers);
    if (outcome.result === -EBADMSG) throw new Error(`${program}: the sum over the packet is wrong afterwards`);
    if (outcome.result < 0) throw new Error(`${program}: the kernel refused the test packet, errno ${-outcome.result}`);
    return { verdict: outcome.retval | 0, frame: dataOut.slice(0, outcome.dataLength) };
  }

  private setConstants(file: string, features: Features): void {
    const { constants } = parseObject(readFileSync(file));
    const size: [number | null] = [null];
    const value = libbpf().initialValue(this.mapHandle('.rodata'), size);
    if (!value || size[0] === null) throw new Error('the object has no .rodata');
    const rodata = viewOf(value, size[0]);
    for (const [name, setting] of Object.entries(features)) {
      const constant = constants.get(name);
      if (!constant) throw new Error(`the object has no constant ${name}`);
      for (let byte = 0; byte < constant.size; byte++)
        rodata[constant.offset + byte] = (Number(setting) >>> (8 * byte)) & 255;
    }
  }

  private mapHandle(name: string): Handle {
    const map = libbpf().findMap(this.object, name);
    if (!map) throw new Error(`the object has no map ${name}`);
    return map;
  }

  /** For who attaches a program. */
  programFd(name: string): number {
    const program = libbpf().findProgram(this.object, name);
    if (!program) throw new Error(`the object has no program ${name}`);
    return libbpf().programFd(program);
  }
}

export const NO_ENDPOINT = {
  addr: '::',
  source: '::',
  self: '::',
  port: 0,
  active: 0,
  serviceId: 0,
  weight: 0,
  flags: 0,
  ports: 0,
};

/** struct __sk_buff with the members BPF_PROG_TEST_RUN lets a caller set. */
function skbContext(options: RunOptions, ingressIfindex: number): Uint8Array {
  const context = new Uint8Array(192);
  const view = new DataView(context.buffer);
  view.setUint32(8, options.mark ?? 0, true);
  view.setUint32(36, ingressIfindex, true);
  view.setUint32(40, options.ifindex, true);
  view.setUint32(176, options.gsoSize ?? 0, true);
  return context;
}
