/**
 * tc filters on the clsact qdisc, for kernels without tcx. The kernel keeps them without a pin; ours are known by a
 * fixed handle and priority, and by the names of the programs.
 */
import type { LinkName } from '../backend.js';
import { hookTaken, kernelError } from '../errors.js';
import { programFacts, programFdById } from '../sys/bpf.js';
import { Errno } from '../sys/errno.js';
import { captureLog, libbpf } from '../sys/libbpf.js';
import { closeFd } from '../sys/libc.js';
import type { Direction, Hook } from './hook.js';

const HANDLE = 0x10b;
const PRIORITY = 49_152;
const ATTACH_POINT = { ingress: 1, egress: 2 } as const;
const FLAG_REPLACE = 1;

export class ClsactHook implements Hook {
  readonly name = 'clsact';
  private readonly attached = new Set<number>();

  attach(link: LinkName, direction: Direction, programFd: number): void {
    const hook = hookStruct(link.ifindex, direction);
    const created = captureLog(() => libbpf().tcHookCreate(hook)).value;
    if (created < 0 && created !== -Errno.EEXIST) throw kernelError(`clsact on ${link.name}`, -created);
    const present = query(link.ifindex, direction);
    if (present && !isOurs(present)) throw hookTaken(link.name, programName(present));
    const { value, log } = captureLog(() => libbpf().tcAttach(hook, options(programFd, FLAG_REPLACE)));
    if (value < 0) throw kernelError(`attaching the ${direction} program to ${link.name}`, -value, log);
    this.attached.add(link.ifindex);
  }

  detach(ifindex: number, direction: Direction): void {
    const present = query(ifindex, direction);
    if (present && isOurs(present)) {
      captureLog(() => libbpf().tcDetach(hookStruct(ifindex, direction), options(0, 0)));
    }
    if (direction === 'egress') this.attached.delete(ifindex);
  }

  programId(ifindex: number, direction: Direction): number | undefined {
    return query(ifindex, direction);
  }

  interfaces(): readonly number[] {
    return [...this.attached];
  }
}

/** Id of the program in our slot, undefined when it is empty or the interface has no clsact. */
function query(ifindex: number, direction: Direction): number | undefined {
  const wanted = options(0, 0);
  const { value } = captureLog(() => libbpf().tcQuery(hookStruct(ifindex, direction), wanted));
  return value < 0 ? undefined : new DataView(wanted.buffer).getUint32(16, true);
}

function programName(id: number): string {
  const fd = programFdById(id);
  if (fd < 0) return `id ${id}`;
  const { name } = programFacts(fd);
  closeFd(fd);
  return name;
}

function isOurs(id: number): boolean {
  return ['tc_ingress', 'tc_egress'].includes(programName(id));
}

/** struct bpf_tc_hook. */
function hookStruct(ifindex: number, direction: Direction): Uint8Array {
  const view = new DataView(new ArrayBuffer(24));
  view.setBigUint64(0, 24n, true);
  view.setInt32(8, ifindex, true);
  view.setInt32(12, ATTACH_POINT[direction], true);
  return new Uint8Array(view.buffer);
}

/** struct bpf_tc_opts. */
function options(programFd: number, flags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(32));
  view.setBigUint64(0, 32n, true);
  view.setInt32(8, programFd, true);
  view.setUint32(12, flags, true);
  view.setUint32(20, HANDLE, true);
  view.setUint32(24, PRIORITY, true);
  return new Uint8Array(view.buffer);
}
