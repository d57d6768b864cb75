/** The real data plane: loads the object, adopts what is pinned, attaches programs. */
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type {
  AttachedInterface,
  KernelProgram,
  KernelWalk,
  Logger,
  NetworkLink,
  RingReader,
  TraceInstance,
  TraceOptions,
} from '@loxilb/sdk';
import type { Backend, LinkName, MapRequest } from '../backend.js';
import { hookUnavailable, notLoaded, ringUnknown, xdpUnavailable } from '../errors.js';
import type { RawMap } from '../raw-map.js';
import { MapTypeNumber } from '../sys/bpf.js';
import { libbpf } from '../sys/libbpf.js';
import type { AttachmentProblem, HookChoice, ProgramInfo } from '../types.js';
import type { XdpChoice } from '../xdp-choice.js';
import { Attachments } from './attachments.js';
import { BpfObject, readObjectLayout } from './bpf-object.js';
import { ClsactHook } from './clsact-hook.js';
import type { Hook } from './hook.js';
import type { KernelMap } from './kernel-map.js';
import { MapStore } from './map-store.js';
import { ensureBpffs, listPins, pinAtomically, removePin } from './pins.js';
import { openPrivateInstance } from './private-instance.js';
import { probeChecksumIpv6Flag, probeKernelContext, probeLoop, probeTcx, probeXdpFrags } from './probe.js';
import { kernelProgram, kernelWalk } from './programs.js';
import { RingPoller } from './ring-poller.js';
import { TcxHook } from './tcx-hook.js';
import { XdpAttachments } from './xdp-attachments.js';
import { XdpLinks } from './xdp-links.js';
import { XDP_DEVICE_MAP, XDP_PROGRAMS, XdpProgram } from './xdp-program.js';

export interface KernelBackendOptions {
  readonly bpfDir: string;
  readonly objectFile: string;
  readonly hook: HookChoice;
  /** Default off. */
  readonly xdp?: XdpChoice;
  readonly log: Logger;
}

const PROBES: Readonly<Record<string, () => boolean>> = {
  cfg_csum_ipv6_flag: probeChecksumIpv6Flag,
  cfg_bpf_loop: probeLoop,
  cfg_kern_ctx: probeKernelContext,
};

interface Loaded {
  readonly object: BpfObject;
  readonly maps: ReadonlyMap<string, KernelMap>;
  readonly attachments: Attachments;
  readonly xdp: XdpAttachments;
  readonly rings: RingPoller;
  /** What the object was loaded with. */
  readonly constants: ReadonlyMap<string, number | boolean>;
}

export class KernelBackend implements Backend {
  readonly kind = 'kernel';
  readonly layout;
  private loaded: Loaded | undefined;

  /** Reads the object file; the kernel is not touched before `load`. */
  constructor(private readonly options: KernelBackendOptions) {
    this.layout = readObjectLayout(options.objectFile);
  }

  load(requests: readonly MapRequest[], constants: ReadonlyMap<string, number | boolean>): ReadonlyMap<string, RawMap> {
    const { bpfDir, objectFile, log } = this.options;
    ensureBpffs(bpfDir);
    const object = BpfObject.open(objectFile);
    try {
      const allConstants = new Map([...constants, ...this.probe()]);
      for (const [name, value] of allConstants) object.setConstant(name, value);
      const store = new MapStore(bpfDir, requests, libbpf().possibleCpus(), log);
      store.prepare(object);
      this.leaveOutXdp(object);
      object.load();
      const maps = store.open(object);
      this.pinPrograms(object);
      const attachments = this.createAttachments(object);
      const xdp = this.createXdp(object, allConstants);
      this.loaded = { object, maps, attachments, xdp, rings: new RingPoller(log), constants: allConstants };
      return maps;
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** Constants that say what this kernel can do; packet paths that do not ask are not told. */
  private probe(): [string, boolean][] {
    const asked = Object.entries(PROBES).filter(([name]) => this.layout.constants.has(name));
    return asked.map(([name, probe]) => [name, probe()]);
  }

  program(name: string): KernelProgram {
    return kernelProgram(name, () => this.open(`program ${name}`).object.programFd(name));
  }

  walk(program: string, map: string): KernelWalk {
    const what = `program ${program}`;
    return kernelWalk(
      program,
      () => this.open(what).object.programFd(program),
      () => this.open(what).object.mapFd(map),
    );
  }

  ring(name: string, onRecord: (record: Uint8Array) => void): RingReader {
    const { object, rings } = this.open(`ring ${name}`);
    const ring = this.layout.maps.get(name);
    if (ring?.type !== MapTypeNumber.RINGBUF) throw ringUnknown(name);
    return rings.read(name, object.mapFd(name), onRecord);
  }

  async openTrace(options: TraceOptions): Promise<TraceInstance> {
    const { object, constants, xdp } = this.open('trace');
    const devices = xdp.deviceMapFd();
    const mapFd = (name: string) => (name === XDP_DEVICE_MAP && devices !== undefined ? devices : object.mapFd(name));
    return openPrivateInstance({ file: this.options.objectFile, constants, mapFd }, options);
  }

  attach(link: LinkName): void {
    this.open('attach').attachments.attach(link);
  }

  detach(ifindex: number): void {
    const { attachments, xdp } = this.open('detach');
    xdp.detach(ifindex);
    attachments.detach(ifindex);
  }

  retain(ifindexes: ReadonlySet<number>): void {
    this.open('retain').attachments.retain(ifindexes);
  }

  updateXdp(links: readonly NetworkLink[], all: readonly NetworkLink[]): void {
    this.open('XDP').xdp.update(links, all);
  }

  attached(): readonly AttachedInterface[] {
    const { attachments, xdp } = this.loaded ?? {};
    return (attachments?.attached() ?? []).map((one) => {
      const state = xdp?.state(one.ifindex);
      return state ? { ...one, xdp: state } : one;
    });
  }

  verifyAttached(): readonly AttachmentProblem[] {
    const { attachments, xdp } = this.open('verify');
    return [...attachments.verify(), ...xdp.verify()];
  }

  programInfo(): readonly ProgramInfo[] {
    const { object, xdp } = this.open('program information');
    const programs = object
      .programs()
      .map(({ name, id, instructions, verifiedInstructions }) => ({ name, id, instructions, verifiedInstructions }));
    return [...programs, ...xdp.programInfo()];
  }

  close(): void {
    if (!this.loaded) return;
    this.loaded.rings.close();
    this.loaded.xdp.close();
    for (const map of this.loaded.maps.values()) map.close();
    this.loaded.object.close();
    this.loaded = undefined;
  }

  private open(what: string): Loaded {
    if (!this.loaded) throw notLoaded(what);
    return this.loaded;
  }

  private pinPrograms(object: BpfObject): void {
    const folder = join(this.options.bpfDir, 'programs');
    mkdirSync(folder, { recursive: true });
    const names = object.programNames();
    for (const name of names) pinAtomically(object.programFd(name), join(folder, name));
    for (const path of listPins(folder)) if (!names.includes(basename(path))) removePin(path);
  }

  private createAttachments(object: BpfObject): Attachments {
    const programs = object.programs();
    const program = (name: string) => {
      const found = programs.find((candidate) => candidate.name === name);
      return { fd: object.programFd(name), id: found?.id ?? 0 };
    };
    const { hook, other } = this.chooseHook();
    return new Attachments(hook, other, { ingress: program('tc_ingress'), egress: program('tc_egress') });
  }

  /** It is loaded apart, when it is wanted. */
  private leaveOutXdp(object: BpfObject): void {
    for (const name of Object.values(XDP_PROGRAMS)) object.exclude(name);
    if (this.layout.maps.has(XDP_DEVICE_MAP)) object.setMaxEntries(XDP_DEVICE_MAP, 1);
  }

  private createXdp(object: BpfObject, constants: ReadonlyMap<string, number | boolean>): XdpAttachments {
    const { xdp, bpfDir, objectFile, log } = this.options;
    const load = () => {
      if (!probeXdpFrags()) throw xdpUnavailable();
      const program = XdpProgram.load(objectFile, xdp === 'generic' ? 'generic' : 'native', object, constants);
      pinAtomically(program.fd, join(bpfDir, 'programs', program.info.name));
      return program;
    };
    return new XdpAttachments({ choice: xdp ?? 'off', links: new XdpLinks(join(bpfDir, 'links')), load, log });
  }

  private chooseHook(): { hook: Hook; other: Hook | undefined } {
    const { hook, bpfDir } = this.options;
    const links = join(bpfDir, 'links');
    const unavailable = hook === 'clsact' ? 0 : probeTcx();
    if (hook === 'tcx' && unavailable !== 0) throw hookUnavailable('tcx', unavailable);
    if (hook !== 'clsact' && unavailable === 0) return { hook: new TcxHook(links), other: new ClsactHook() };
    return { hook: new ClsactHook(), other: listPins(links).length > 0 ? new TcxHook(links) : undefined };
  }
}
