/** Waiting for descriptors on a thread of libuv's pool, and memory shared with the kernel. */
import koffi from 'koffi';
import { readSync } from './libc.js';

const libc = koffi.load('libc.so.6');
const openEvent = libc.func('int eventfd(uint32_t count, int flags)') as (count: number, flags: number) => number;
const raiseCall = libc.func('int eventfd_write(int fd, uint64_t count)') as (fd: number, count: number) => number;
const pollCall = libc.func('int poll(void *fds, ulong count, int milliseconds)') as {
  async(fds: Uint8Array, count: number, milliseconds: number, done: (error: Error | null, ready: number) => void): void;
};
const mapCall = libc.func(
  'void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)',
) as (address: null, length: number, protection: number, flags: number, fd: number, offset: number) => bigint;
const pageCall = libc.func('int getpagesize()') as () => number;

const EFD_CLOEXEC_NONBLOCK = 0o2004000;
const POLLIN = 1;
const FOR_EVER = -1;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffffffffffffffffn;

/** A descriptor that `raiseEvent` makes readable. Negative: errno. */
export function createEvent(): number {
  const fd = openEvent(0, EFD_CLOEXEC_NONBLOCK);
  return fd < 0 ? -koffi.errno() : fd;
}

export function raiseEvent(fd: number): void {
  raiseCall(fd, 1);
}

export function clearEvent(fd: number): void {
  readSync(fd, new Uint8Array(8));
}

/** Calls `done` once when one of the descriptors can be read; false when the wait failed. */
export function waitReadable(fds: readonly number[], done: (ready: boolean) => void): void {
  const view = new DataView(new ArrayBuffer(fds.length * 8));
  fds.forEach((fd, index) => {
    view.setInt32(index * 8, fd, true);
    view.setUint32(index * 8 + 4, POLLIN, true);
  });
  pollCall.async(new Uint8Array(view.buffer), fds.length, FOR_EVER, (error, ready) =>
    done(error === null && ready > 0),
  );
}

export function pageSize(): number {
  return pageCall();
}

/**
 * Memory shared with the kernel, for as long as the process lives: unmapping it under a view that is not collected yet
 * would leave the view pointing nowhere. A negative errno when it is refused.
 */
export function shareMemory(
  fd: number,
  offset: number,
  length: number,
  access: 'read' | 'write',
): ArrayBuffer | number {
  const protection = access === 'write' ? PROT_READ | PROT_WRITE : PROT_READ;
  const address = mapCall(null, length, protection, MAP_SHARED, fd, offset);
  if (address === MAP_FAILED) return -koffi.errno();
  return koffi.view(address, length);
}
