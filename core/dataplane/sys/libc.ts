/** The C library calls the data plane makes. koffi checks no buffer sizes: callers do. */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

/** bpf(2) has no wrapper in the C library. */
const SYS_BPF = process.arch === 'arm64' ? 280 : 321;

const syscall = libc.func('long syscall(long number, int command, void *attr, uint32_t size)') as (
  number: number,
  command: number,
  attr: Uint8Array,
  size: number,
) => number;

const closeCall = libc.func('int close(int fd)') as (fd: number) => number;

const fcntlCall = libc.func('int fcntl(int fd, int command, long argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;
const F_DUPFD_CLOEXEC = 1030;

type Read = (fd: number, buffer: Uint8Array, size: number) => number;
const readCall = libc.func('long read(int fd, void *buffer, size_t size)') as Read & {
  async(fd: number, buffer: Uint8Array, size: number, done: (error: Error | null, result: number) => void): void;
};

const mountCall = libc.func(
  'int mount(const char *source, const char *target, const char *type, ulong flags, void *data)',
) as (source: string, target: string, type: string, flags: number, data: null) => number;

const umountCall = libc.func('int umount2(const char *target, int flags)') as (target: string, flags: number) => number;

const formatCall = libc.func('int vsnprintf(void *out, size_t size, const char *format, void *arguments)') as (
  out: Uint8Array,
  size: number,
  format: unknown,
  args: unknown,
) => number;

/** Result of a system call, or the negative errno. */
function result(value: number): number {
  return value < 0 ? -koffi.errno() : value;
}

/** bpf(2). Negative: errno. */
export function bpf(command: number, attr: Uint8Array): number {
  return result(syscall(SYS_BPF, command, attr, attr.byteLength));
}

export function closeFd(fd: number): void {
  closeCall(fd);
}

/** A second descriptor of the same thing. Negative: errno. */
export function duplicateFd(fd: number): number {
  return result(fcntlCall(fd, F_DUPFD_CLOEXEC, 3));
}

/** Negative: errno. */
export function readSync(fd: number, buffer: Uint8Array): number {
  return result(readCall(fd, buffer, buffer.byteLength));
}

/** Reads on a thread of the pool. -1 on failure: errno belongs to that thread and cannot be told. */
export function readAsync(fd: number, buffer: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    readCall.async(fd, buffer, buffer.byteLength, (error, value) => (error ? reject(error) : resolve(value)));
  });
}

/** Negative: errno. */
export function mountBpffs(folder: string): number {
  return result(mountCall('bpf', folder, 'bpf', 0, null));
}

/** Negative: errno. */
export function unmount(folder: string): number {
  return result(umountCall(folder, 0));
}

/** Formats a C format string with a `va_list`, as handed to a callback. */
export function formatVariadic(format: unknown, args: unknown): string {
  const out = Buffer.alloc(65_536);
  const length = formatCall(out, out.length, format, args);
  return out.toString('utf8', 0, Math.max(0, Math.min(length, out.length - 1)));
}

/** Address of a buffer for a pointer member of a kernel struct. Keep the buffer referenced while the kernel uses it. */
export function addressOf(buffer: Uint8Array): bigint {
  return BigInt(koffi.address(buffer));
}
