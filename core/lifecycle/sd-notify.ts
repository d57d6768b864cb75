import type { Logger } from '@loxilb/sdk';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Tells the service manager a state such as `READY=1`. Does nothing when there is none, and never fails the daemon.
 * Node has no datagram sockets of the unix family, hence the foreign calls.
 */
export async function notifyServiceManager(state: string, log: Logger): Promise<void> {
  const path = process.env.NOTIFY_SOCKET;
  if (!path) return;
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load('libc.so.6');
    const socket = libc.func('int socket(int domain, int type, int protocol)');
    const sendto = libc.func(
      'long sendto(int fd, void *data, size_t size, int flags, void *address, unsigned int length)',
    );
    const close = libc.func('int close(int fd)');
    const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number;
    if (fd < 0) throw new Error('no socket');
    const [data, address] = [Buffer.from(state), socketAddress(path)];
    const sent = Number(sendto(fd, data, data.length, 0, address, address.length));
    close(fd);
    if (sent !== data.length) throw new Error(`nobody listens at ${path}`);
  } catch (err) {
    log.warn({ err, state }, 'the service manager could not be told');
  }
}

/** `struct sockaddr_un`; a leading `@` stands for the zero byte of the abstract namespace. */
function socketAddress(path: string): Buffer {
  const address = Buffer.alloc(2 + Buffer.byteLength(path));
  address.writeUInt16LE(AF_UNIX);
  address.write(path, 2);
  if (path.startsWith('@')) address[2] = 0;
  return address;
}
