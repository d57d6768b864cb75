/** Which interfaces have the XDP program beside tc's, and why the others have not. */
import { isLoxilbError, type Logger, type NetworkLink, type XdpState } from '@loxilb/sdk';
import { readXdpFeatures } from '../../netlink/xdp-features.js';
import { DpXdpFlags } from '../layout.gen.js';
import { Errno, errnoName } from '../sys/errno.js';
import type { AttachmentProblem } from '../types.js';
import { takesRedirects, wishXdp, type XdpChoice, type XdpMode, type XdpWish } from '../xdp-choice.js';
import { driverName } from './driver-name.js';
import type { XdpLinks } from './xdp-links.js';
import type { XdpProgram } from './xdp-program.js';

export interface XdpOptions {
  readonly choice: XdpChoice;
  readonly links: XdpLinks;
  /** Loads and pins the program. Throws a coded error when this kernel does not take it. */
  readonly load: () => XdpProgram;
  readonly log: Logger;
}

interface Held extends XdpState {
  readonly link: NetworkLink;
  /** What a refusal depended on: it is not asked for again while that is the same. */
  readonly asked?: string;
}

export class XdpAttachments {
  private readonly held = new Map<number, Held>();
  private program: XdpProgram | undefined;
  /** Why there is no program, once that is known. */
  private unavailable: string | undefined;

  constructor(private readonly options: XdpOptions) {}

  /**
   * Makes it so on these interfaces, and on no other. Refusals are reported, never thrown.
   *
   * @param all also those that are not to be served: some are masters of those that are
   */
  update(links: readonly NetworkLink[], all: readonly NetworkLink[]): void {
    this.retain(new Set(links.map((link) => link.ifindex)));
    const byIndex = new Map(all.map((link) => [link.ifindex, link]));
    for (const link of links) {
      const driver = driverName(link.name);
      this.settle(link, wishXdp(this.options.choice, link, byIndex.get(link.masterIfindex), driver), driver);
    }
  }

  /** Takes the program off the interface. */
  detach(ifindex: number): void {
    // First no frames are sent there, then none are taken there.
    const present = this.held.get(ifindex);
    if (present?.mode !== undefined && present.mode !== 'off') {
      this.program?.setDevice(ifindex, { mac: present.link.mac, flags: DpXdpFlags.DP_XDP_IN });
    }
    this.options.links.detach(ifindex);
    this.program?.setDevice(ifindex, undefined);
    this.held.delete(ifindex);
  }

  /** Undefined: the interface is not known here. */
  state(ifindex: number): XdpState | undefined {
    const held = this.held.get(ifindex);
    if (!held) return undefined;
    if (held.mode !== 'off' && this.problem(ifindex)) return { mode: 'off', reason: 'the program was taken off' };
    return { mode: held.mode, reason: held.reason };
  }

  verify(): AttachmentProblem[] {
    return [...this.held.values()].flatMap(({ link: { ifindex, name }, mode }) => {
      const problem = mode === 'off' ? undefined : this.problem(ifindex);
      return problem === undefined ? [] : [{ ifindex, name, direction: 'xdp' as const, problem }];
    });
  }

  /** Descriptor of what the program knows of devices, while it is loaded; it stays this object's. */
  deviceMapFd(): number | undefined {
    return this.program?.deviceMapFd;
  }

  programInfo() {
    return this.program ? [this.program.info] : [];
  }

  close(): void {
    this.program?.close();
  }

  private problem(ifindex: number): string | undefined {
    const found = this.options.links.programId(ifindex);
    const expected = this.program?.info.id;
    if (found === expected) return undefined;
    return found === undefined
      ? 'no program of ours is attached'
      : `program ${found} is attached instead of ${expected}`;
  }

  private retain(ifindexes: ReadonlySet<number>): void {
    for (const ifindex of [...this.options.links.interfaces(), ...this.held.keys()]) {
      if (!ifindexes.has(ifindex)) this.detach(ifindex);
    }
  }

  private settle(link: NetworkLink, wish: XdpWish, driver: string | undefined): void {
    const before = this.held.get(link.ifindex);
    const held: Held = wish.mode
      ? this.take(link, wish.mode, wish.reason, driver)
      : { mode: 'off', reason: wish.reason, link };
    if (held.mode === 'off') this.detach(link.ifindex);
    this.held.set(link.ifindex, held);
    if (before?.mode !== held.mode || before.reason !== held.reason) this.report(held, wish.mode !== undefined);
  }

  private take(link: NetworkLink, mode: XdpMode, reason: string, driver: string | undefined): Held {
    const asked = JSON.stringify([link.name, link.mtu, link.up, mode]);
    const before = this.held.get(link.ifindex);
    if (before?.asked === asked) return { ...before, link };
    const refused = (why: string, again = false): Held => ({
      mode: 'off',
      reason: why,
      link,
      ...(again ? {} : { asked }),
    });
    const program = this.ensureProgram();
    if (!program) return refused(this.unavailable ?? '');
    if (link.ifindex >= program.deviceLimit) return refused('its index is beyond those XDP knows');
    if (link.kind === 'veth' && mode === 'native' && !this.takesFrames(link, driver)) {
      return refused('its peer takes no frames of XDP (ethtool -K PEER gro on)', true);
    }
    const errno = this.hang(program, link, mode);
    if (errno === Errno.EBUSY || errno === Errno.EEXIST) return refused('somebody else has an XDP program there', true);
    if (errno !== 0) return refused(refusalText(mode, errno));
    const out = mode === 'generic' || this.takesFrames(link, driver);
    const flags = DpXdpFlags.DP_XDP_IN | (out ? DpXdpFlags.DP_XDP_OUT : 0);
    program.setDevice(link.ifindex, { mac: link.mac, flags });
    return { mode, reason: out ? reason : `${reason}, which takes no frames of other devices`, link };
  }

  /** 0, or why the kernel refuses. What hangs there already under this name stays. */
  private hang(program: XdpProgram, link: NetworkLink, mode: XdpMode): number {
    const before = this.held.get(link.ifindex);
    const same = before?.mode === mode && before.link.name === link.name && !this.problem(link.ifindex);
    if (same) return 0;
    program.setDevice(link.ifindex, { mac: link.mac, flags: DpXdpFlags.DP_XDP_IN });
    return this.options.links.attach(link, mode, program.fd);
  }

  private takesFrames(link: NetworkLink, driver: string | undefined): boolean {
    return takesRedirects(link, driver, readXdpFeatures(link.ifindex));
  }

  private ensureProgram(): XdpProgram | undefined {
    if (this.program || this.unavailable) return this.program;
    try {
      this.program = this.options.load();
    } catch (error) {
      if (!isLoxilbError(error)) throw error;
      this.unavailable = error.message.split('\n')[0] ?? '';
      this.options.log.warn(
        { code: error.code, detail: error.message },
        `XDP is off, tc does it all: ${this.unavailable}`,
      );
    }
    return this.program;
  }

  private report({ link, mode, reason }: Held, wanted: boolean): void {
    const facts = { interface: link.name, mtu: link.mtu, reason };
    if (mode !== 'off') {
      this.options.log.info(facts, `XDP program attached, ${mode}`);
      this.warnOfChecksums(link, mode);
    } else if (wanted && !this.unavailable) {
      const level = this.options.choice === 'auto' ? 'info' : 'warn';
      this.options.log[level](facts, `no XDP on ${link.name}, tc alone: ${reason}`);
    } else {
      this.options.log.debug(facts, 'tc alone');
    }
  }

  private warnOfChecksums(link: NetworkLink, mode: XdpMode): void {
    if (mode === 'generic') this.options.log.warn({ interface: link.name }, 'generic XDP is slower than tc alone');
    if (link.kind !== 'veth' && link.kind !== 'tun') return;
    this.options.log.warn(
      { interface: link.name, kind: link.kind },
      'XDP cannot finish checksums: the other end has to (ethtool -K DEVICE tx off), or its open flows break',
    );
  }
}

function refusalText(mode: XdpMode, errno: number): string {
  if (errno === Errno.EOPNOTSUPP && mode === 'native') return 'the driver has no native XDP';
  return `refused (${errnoName(errno)})`;
}
