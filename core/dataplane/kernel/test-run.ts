/** Packets through one program without an interface (BPF_PROG_TEST_RUN), for test/bpf and the bench. */
import { kernelError } from '../errors.js';
import { runProgram } from '../sys/bpf.js';

export interface TestRunContext {
  /** Interface the packet is on; it must exist. Default: lo. */
  readonly ifindex?: number;
  /** Interface it came in by; it must exist. Default: none for the kernel, and `ifindex` decides. */
  readonly ingressIfindex?: number;
  /** Firewall mark. */
  readonly mark?: number;
  /** Runs; only the last one's packet is returned. */
  readonly repeat?: number;
}

export interface TestRunResult {
  /** What the program returned, as unsigned 32-bit number. */
  readonly retval: number;
  /** The packet as the program left it, Ethernet header first. */
  readonly data: Uint8Array;
  /** Mean time of one run in nanoseconds. */
  readonly durationNs: number;
}

/** Room for headers a program may add. */
const HEADROOM = 512;

/** struct __sk_buff of linux/bpf.h. */
const SK_BUFF_SIZE = 192;
const OFFSET_MARK = 8;
const OFFSET_INGRESS_IFINDEX = 36;
const OFFSET_IFINDEX = 40;

/**
 * @param packet At least an Ethernet header of 14 bytes.
 * @throws `DP_KERNEL`, e.g. ENODEV when an interface does not exist.
 */
export function testRun(programFd: number, packet: Uint8Array, context: TestRunContext = {}): TestRunResult {
  const buffer = new DataView(new ArrayBuffer(SK_BUFF_SIZE));
  buffer.setUint32(OFFSET_MARK, context.mark ?? 0, true);
  buffer.setUint32(OFFSET_INGRESS_IFINDEX, context.ingressIfindex ?? 0, true);
  buffer.setUint32(OFFSET_IFINDEX, context.ifindex ?? 0, true);
  return runOn(programFd, packet, new Uint8Array(buffer.buffer), context.repeat);
}

/** struct xdp_md of linux/bpf.h. */
const XDP_MD_SIZE = 24;
const OFFSET_DATA_END = 4;
const OFFSET_RX_IFINDEX = 12;

/**
 * The same for an XDP program (Linux 5.15; frames beyond a page by programs that take several buffers, 5.18).
 *
 * @param ifindex Interface the frame comes in by.
 * @throws `DP_KERNEL`
 */
export function testRunXdp(programFd: number, frame: Uint8Array, ifindex: number): TestRunResult {
  const buffer = new DataView(new ArrayBuffer(XDP_MD_SIZE));
  buffer.setUint32(OFFSET_DATA_END, frame.byteLength, true);
  buffer.setUint32(OFFSET_RX_IFINDEX, ifindex, true);
  return runOn(programFd, frame, new Uint8Array(buffer.buffer));
}

function runOn(programFd: number, packet: Uint8Array, contextIn: Uint8Array, repeat = 1): TestRunResult {
  const dataOut = new Uint8Array(packet.byteLength + HEADROOM);
  const outcome = runProgram(programFd, { data: packet, dataOut, contextIn, repeat });
  if (outcome.result < 0) throw kernelError('test run', -outcome.result);
  return {
    retval: outcome.retval,
    data: dataOut.subarray(0, outcome.dataLength),
    durationNs: outcome.durationNs,
  };
}
