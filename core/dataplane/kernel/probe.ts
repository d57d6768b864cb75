/** What this kernel can do, found by trying. */
import { existsSync, readFileSync } from 'node:fs';
import { AttachType, loadTcProgram, queryTcxPrograms, runProgram } from '../sys/bpf.js';
import { Errno } from '../sys/errno.js';
import { libbpf } from '../sys/libbpf.js';
import { closeFd } from '../sys/libc.js';

const LOOPBACK_IFINDEX = 1;

/** 0, or the errno that says why there are no tcx links. */
export function probeTcx(): number {
  const result = queryTcxPrograms(LOOPBACK_IFINDEX, AttachType.TCX_INGRESS);
  return typeof result === 'number' ? -result : 0;
}

const PROGRAM_SCHED_CLS = 3;
const HELPER_LOOP = 181;

/** Whether programs may call bpf_loop (5.17). */
export function probeLoop(): boolean {
  return libbpf().probeHelper(PROGRAM_SCHED_CLS, HELPER_LOOP, null) === 1;
}

const PROGRAM_XDP = 6;
const HELPER_XDP_GET_BUFF_LEN = 188;

/** Whether XDP programs may work on frames in several buffers (xdp.frags, 5.18). */
export function probeXdpFrags(): boolean {
  return libbpf().probeHelper(PROGRAM_XDP, HELPER_XDP_GET_BUFF_LEN, null) === 1;
}

const KERNEL_BTF = '/sys/kernel/btf/vmlinux';

/** Whether programs may look at the kernel's own packet structure (bpf_cast_to_kern_ctx, 6.2). */
export function probeKernelContext(): boolean {
  // The name is in the string section when the function is there; decoding the types would take a hundred times as long.
  return existsSync(KERNEL_BTF) && readFileSync(KERNEL_BTF).includes('\0bpf_cast_to_kern_ctx\0');
}

const BPF_F_PSEUDO_HDR = 1 << 4;
const BPF_F_IPV6 = 1 << 7;
const HELPER_L4_CSUM_REPLACE = 11;

/**
 * Whether bpf_l4_csum_replace knows BPF_F_IPV6. The helper looks at its flags before the offset: with an odd offset it
 * answers EFAULT when it knows the flag and EINVAL when it does not.
 */
export function probeChecksumIpv6Flag(): boolean {
  const program = assemble([
    [0xb7, 2, 1],
    [0xb7, 3, 0],
    [0xb7, 4, 0],
    [0xb7, 5, BPF_F_IPV6 | BPF_F_PSEUDO_HDR],
    [0x85, 0, HELPER_L4_CSUM_REPLACE],
    [0x95, 0, 0],
  ]);
  const fd = loadTcProgram(program);
  if (fd < 0) return false;
  const { result, retval } = runProgram(fd, { data: new Uint8Array(64), repeat: 1 });
  closeFd(fd);
  return result === 0 && (retval | 0) === -Errno.EFAULT;
}

/** Instructions as opcode, destination register, immediate. */
function assemble(instructions: readonly (readonly [number, number, number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(instructions.length * 8));
  instructions.forEach(([code, register, immediate], index) => {
    view.setUint8(index * 8, code);
    view.setUint8(index * 8 + 1, register);
    view.setInt32(index * 8 + 4, immediate, true);
  });
  return new Uint8Array(view.buffer);
}
