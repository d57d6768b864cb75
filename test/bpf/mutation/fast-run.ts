/** BPF_PROG_TEST_RUN many times: every buffer is made once, and what comes out is read in place. */
import { addressOf, bpf } from '../../../core/dataplane/sys/libc.js';

const PROG_TEST_RUN = 10;
const LARGEST = 4096;

export class FastRun {
  /** The packet that goes in: its first `length` bytes. */
  readonly input = new Uint8Array(LARGEST);
  /** What came out, until the next run: its first `outputLength` bytes. */
  readonly output = new Uint8Array(2 * LARGEST);
  outputLength = 0;
  private readonly attribute = new Uint8Array(80);
  private readonly view = new DataView(this.attribute.buffer);
  private readonly context = new DataView(new ArrayBuffer(192));

  constructor(programFd: number) {
    const { view, context } = this;
    view.setUint32(0, programFd, true);
    view.setBigUint64(16, addressOf(this.input), true);
    view.setBigUint64(24, addressOf(this.output), true);
    view.setUint32(40, context.byteLength, true);
    view.setBigUint64(48, addressOf(new Uint8Array(context.buffer)), true);
  }

  /** The verdict. Throws when the kernel does not take the packet. */
  run(length: number, ifindex: number): number {
    const { view, context } = this;
    context.setUint32(36, ifindex, true);
    context.setUint32(40, ifindex, true);
    view.setUint32(4, 0, true);
    view.setUint32(8, length, true);
    view.setUint32(12, this.output.length, true);
    const result = bpf(PROG_TEST_RUN, this.attribute);
    if (result < 0) throw new Error(`the kernel refused a test packet of ${length} bytes, errno ${-result}`);
    this.outputLength = view.getUint32(12, true);
    return view.getInt32(4, true);
  }
}
