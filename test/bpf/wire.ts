/** Real devices: the programs attached, frames put in at the far end of one and seen at the far end of another. */
import koffi from 'koffi';
import { ClsactHook } from '../../core/dataplane/kernel/clsact-hook.js';
import { closeFd, readSync } from '../../core/dataplane/sys/libc.js';
import type { Device } from './network.js';
import type { Bench } from './scenario.js';

const libc = koffi.load('libc.so.6');
const socketCall = libc.func('int socket(int domain, int type, int protocol)');
const bindCall = libc.func('int bind(int fd, void *address, uint32_t size)');
const writeCall = libc.func('long write(int fd, void *bytes, size_t size)');

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0o4000;
const ETH_P_ALL = 3;
/** How long a frame may take through the kernel before the test says that it did not come. */
const PATIENCE_MS = 10_000;

/** The far end of a device's pair. */
export class Wire {
  private readonly fd: number;

  constructor(ifindex: number) {
    this.fd = socketCall(AF_PACKET, SOCK_RAW_NONBLOCK, ETH_P_ALL << 8);
    const address = new DataView(new ArrayBuffer(20));
    address.setUint16(0, AF_PACKET, true);
    address.setUint16(2, ETH_P_ALL);
    address.setInt32(4, ifindex, true);
    if (this.fd < 0 || bindCall(this.fd, new Uint8Array(address.buffer), 20) < 0)
      throw new Error(`no packet socket, errno ${koffi.errno()}`);
  }

  send(frame: Uint8Array): void {
    if (writeCall(this.fd, frame, frame.length) !== frame.length)
      throw new Error(`frame of ${frame.length} bytes not sent, errno ${koffi.errno()}`);
  }

  /** Frames that are `wanted`, in order, until there are so many or no more come. */
  receive(count: number, wanted: (frame: Uint8Array) => boolean): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const buffer = new Uint8Array(65_536);
    const clock = new Int32Array(new SharedArrayBuffer(4));
    for (let waited = 0; waited < PATIENCE_MS && frames.length < count; ) {
      const length = readSync(this.fd, buffer);
      if (length > 0 && wanted(buffer.subarray(0, length))) frames.push(buffer.slice(0, length));
      if (length > 0) continue;
      Atomics.wait(clock, 0, 0, 2);
      waited += 2;
    }
    return frames;
  }

  close(): void {
    closeFd(this.fd);
  }
}

/** Attaches `tc_ingress` to the devices while `use` runs, by the hook that all kernels have. */
export function whileAttached(bench: Bench, devices: readonly Device[], use: () => void): void {
  const hook = new ClsactHook();
  const links = devices.map((device) => ({ name: device.name, ifindex: bench.network.ifindex(device) }));
  try {
    for (const link of links) hook.attach(link, 'ingress', bench.path.programFd('tc_ingress'));
    use();
  } finally {
    for (const { ifindex } of links) hook.detach(ifindex, 'ingress');
  }
}
