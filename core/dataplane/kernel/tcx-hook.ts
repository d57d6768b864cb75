/** tcx links (Linux 6.6): pinned, so they outlive the daemon; replaced by one atomic update. */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { LinkName } from '../backend.js';
import { kernelError } from '../errors.js';
import { AttachType, createTcxLink, detachLink, queryTcxPrograms, tcxLinkFacts, updateLink } from '../sys/bpf.js';
import { closeFd } from '../sys/libc.js';
import { DIRECTIONS, type Direction, type Hook } from './hook.js';
import { listPins, openPin, pinAtomically, pinName, removePin, setAside } from './pins.js';

const ATTACH_TYPE = { ingress: AttachType.TCX_INGRESS, egress: AttachType.TCX_EGRESS } as const;

export class TcxHook implements Hook {
  readonly name = 'tcx';
  /** Pins by interface and direction. By index, not by name: interfaces are renamed. */
  private readonly pins = new Map<string, string>();

  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true });
    for (const path of listPins(folder)) if (isTcxPin(path)) this.adopt(path);
  }

  attach(link: LinkName, direction: Direction, programFd: number): void {
    const path = join(this.folder, `${pinName(link.name)}_${direction}`);
    const key = keyOf(link.ifindex, direction);
    const present = this.pins.get(key);
    if (present !== path) this.makeRoom(path, direction);
    if (present && this.replace(present, link, direction, programFd)) {
      if (present !== path) renameSync(present, path);
    } else {
      this.create(path, link, direction, programFd);
    }
    this.pins.set(key, path);
  }

  detach(ifindex: number, direction: Direction): void {
    const path = this.pins.get(keyOf(ifindex, direction));
    if (!path) return;
    detachPin(path);
    this.pins.delete(keyOf(ifindex, direction));
  }

  programId(ifindex: number, direction: Direction): number | undefined {
    const path = this.pins.get(keyOf(ifindex, direction));
    const facts = path ? factsOf(path) : undefined;
    if (!facts || facts.ifindex !== ifindex) return undefined;
    const attached = queryTcxPrograms(ifindex, ATTACH_TYPE[direction]);
    return typeof attached !== 'number' && attached.includes(facts.programId) ? facts.programId : undefined;
  }

  interfaces(): readonly number[] {
    return [...new Set([...this.pins.keys()].map((key) => Number(key.split('/')[0])))];
  }

  /** A pinned link of an earlier daemon. One whose interface is gone holds nothing. */
  private adopt(path: string): void {
    const facts = factsOf(path);
    const direction = DIRECTIONS.find((candidate) => ATTACH_TYPE[candidate] === facts?.attachType);
    if (!facts || !direction || facts.ifindex === 0) removePin(path);
    else this.pins.set(keyOf(facts.ifindex, direction), path);
  }

  /** The pin of that name may be another interface's, which had the name before. */
  private makeRoom(path: string, direction: Direction): void {
    for (const [key, held] of this.pins) {
      if (held === path) this.pins.set(key, setAside(path, Number(key.split('/')[0]), `_${direction}`));
    }
  }

  /** False when the link no longer hangs on the interface, which then may be a new one with the same index. */
  private replace(path: string, link: LinkName, direction: Direction, programFd: number): boolean {
    const fd = openPin(path);
    if (fd === undefined) return false;
    try {
      if (tcxLinkFacts(fd)?.ifindex !== link.ifindex) return false;
      const result = updateLink(fd, programFd);
      if (result < 0) throw kernelError(`replacing the ${direction} program on ${link.name}`, -result);
      return true;
    } finally {
      closeFd(fd);
    }
  }

  private create(path: string, link: LinkName, direction: Direction, programFd: number): void {
    const fd = createTcxLink(programFd, link.ifindex, ATTACH_TYPE[direction]);
    if (fd < 0) throw kernelError(`attaching the ${direction} program to ${link.name}`, -fd);
    try {
      pinAtomically(fd, path);
    } finally {
      closeFd(fd);
    }
  }
}

/** Detaches a pinned link at once, also when another process holds it. */
export function detachPin(path: string): void {
  const fd = openPin(path);
  if (fd !== undefined) {
    detachLink(fd);
    closeFd(fd);
  }
  removePin(path);
}

function factsOf(path: string) {
  const fd = openPin(path);
  if (fd === undefined) return undefined;
  const facts = tcxLinkFacts(fd);
  closeFd(fd);
  return facts;
}

/** Links of XDP programs are pinned in the same folder. */
function isTcxPin(path: string): boolean {
  return DIRECTIONS.some((direction) => path.endsWith(`_${direction}`));
}

function keyOf(ifindex: number, direction: Direction): string {
  return `${ifindex}/${direction}`;
}
