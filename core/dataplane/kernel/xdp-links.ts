/** XDP links (Linux 5.9): pinned and replaced as tcx links are. The pin's name tells the mode, which the link does not. */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { LinkName } from '../backend.js';
import { createXdpLink, updateLink, xdpLinkFacts } from '../sys/bpf.js';
import { closeFd } from '../sys/libc.js';
import type { XdpMode } from '../xdp-choice.js';
import { listPins, openPin, pinAtomically, pinName, removePin, setAside } from './pins.js';
import { detachPin } from './tcx-hook.js';

const SUFFIX: Readonly<Record<XdpMode, string>> = { native: '_xdp', generic: '_xdpgeneric' };

interface Pin {
  readonly path: string;
  readonly mode: XdpMode;
}

export class XdpLinks {
  /** By interface index. */
  private readonly pins = new Map<number, Pin>();

  /** Knows the links of an earlier daemon at once. */
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true });
    for (const path of listPins(folder)) this.adopt(path);
  }

  /** Attaches, or replaces ours without a gap. Returns 0 or the errno of the refusal, and then nothing of ours is there. */
  attach(link: LinkName, mode: XdpMode, programFd: number): number {
    const path = join(this.folder, pinName(link.name) + SUFFIX[mode]);
    const present = this.pins.get(link.ifindex);
    if (present?.path !== path) this.makeRoom(path);
    if (present?.mode === mode && replace(present.path, link.ifindex, programFd)) {
      if (present.path !== path) renameSync(present.path, path);
    } else {
      this.detach(link.ifindex);
      const errno = create(path, link.ifindex, mode, programFd);
      if (errno !== 0) return errno;
    }
    this.pins.set(link.ifindex, { path, mode });
    return 0;
  }

  /** Nothing there, or no such interface, is fine. */
  detach(ifindex: number): void {
    const pin = this.pins.get(ifindex);
    if (pin) detachPin(pin.path);
    this.pins.delete(ifindex);
  }

  /** Id of our program on the interface, undefined when there is none. */
  programId(ifindex: number): number | undefined {
    const pin = this.pins.get(ifindex);
    const facts = pin && factsOf(pin.path);
    return facts?.ifindex === ifindex ? facts.programId : undefined;
  }

  interfaces(): readonly number[] {
    return [...this.pins.keys()];
  }

  /** The pin of that name may be another interface's, which had the name before. */
  private makeRoom(path: string): void {
    for (const [ifindex, { path: held, mode }] of this.pins) {
      if (held === path) this.pins.set(ifindex, { path: setAside(path, ifindex, SUFFIX[mode]), mode });
    }
  }

  private adopt(path: string): void {
    const mode = (['native', 'generic'] as const).find((candidate) => path.endsWith(SUFFIX[candidate]));
    if (!mode) return;
    const ifindex = factsOf(path)?.ifindex ?? 0;
    if (ifindex === 0) removePin(path);
    else this.pins.set(ifindex, { path, mode });
  }
}

/** False when the link no longer hangs on the interface, or takes no other program. */
function replace(path: string, ifindex: number, programFd: number): boolean {
  const fd = openPin(path);
  if (fd === undefined) return false;
  try {
    return xdpLinkFacts(fd)?.ifindex === ifindex && updateLink(fd, programFd) >= 0;
  } finally {
    closeFd(fd);
  }
}

function create(path: string, ifindex: number, mode: XdpMode, programFd: number): number {
  const fd = createXdpLink(programFd, ifindex, mode);
  if (fd < 0) return -fd;
  try {
    pinAtomically(fd, path);
    return 0;
  } finally {
    closeFd(fd);
  }
}

function factsOf(path: string) {
  const fd = openPin(path);
  if (fd === undefined) return undefined;
  const facts = xdpLinkFacts(fd);
  closeFd(fd);
  return facts;
}
