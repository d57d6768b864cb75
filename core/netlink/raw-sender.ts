/**
 * Sends packets as they are given, IP header and all, on sockets of IPPROTO_RAW: the kernel only looks up the way to
 * the destination. Such a socket receives nothing. It belongs to the network namespace it was opened in.
 */
import type { Logger } from '@loxilb/sdk';
import koffi from 'koffi';
import type { ClosableRawSender } from './types.js';

const libc = koffi.load('libc.so.6');
const openSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const setOption = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t size)') as (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array,
  size: number,
) => number;
const sendTo = libc.func(
  'long sendto(int fd, void *packet, size_t size, int flags, void *address, uint32_t addressSize)',
) as (fd: number, packet: Uint8Array, size: number, flags: number, address: Uint8Array, addressSize: number) => number;
const closeFd = libc.func('int close(int fd)') as (fd: number) => number;

const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const ENOBUFS = 105;
const EBADF = 9;

/** Some ten thousand small packets that a device has not taken yet. */
const SEND_BUFFER = 8 * 1024 * 1024;

/** How the socket of an IP version is opened, and where its packets and addresses have the destination. */
const FAMILIES = {
  4: { domain: 2, minimum: 20, from: 16, to: 20, addressSize: 16, addressAt: 4 },
  6: { domain: 10, minimum: 40, from: 24, to: 40, addressSize: 28, addressAt: 8 },
} as const;

type Version = keyof typeof FAMILIES;

interface OpenSocket {
  readonly fd: number;
  /** sockaddr; only the destination changes. */
  readonly address: Uint8Array;
}

export class KernelRawSender implements ClosableRawSender {
  private readonly sockets = new Map<Version, OpenSocket>();
  private closed = false;

  constructor(private readonly log: Logger) {}

  send(packet: Uint8Array): 'sent' | 'busy' | 'refused' {
    const version = (packet[0] ?? 0) >> 4;
    if ((version !== 4 && version !== 6) || packet.length < FAMILIES[version].minimum) return 'refused';
    const { from, to, addressAt } = FAMILIES[version];
    const { fd, address } = this.sockets.get(version) ?? this.open(version);
    address.set(packet.subarray(from, to), addressAt);
    if (sendTo(fd, packet, packet.length, MSG_DONTWAIT, address, address.length) >= 0) return 'sent';
    const errno = koffi.errno();
    if (errno === EAGAIN || errno === ENOBUFS) return 'busy';
    if (errno !== EBADF) this.log.debug({ errno, version }, 'a packet could not be sent');
    return 'refused';
  }

  close(): void {
    this.closed = true;
    for (const { fd } of this.sockets.values()) closeFd(fd);
    this.sockets.clear();
  }

  /** A socket that cannot be had is told once; everything sent on it is refused. */
  private open(version: Version): OpenSocket {
    const { domain, addressSize } = FAMILIES[version];
    const fd = this.closed ? -1 : openSocket(domain, SOCK_RAW_CLOEXEC, IPPROTO_RAW);
    const address = new DataView(new ArrayBuffer(addressSize));
    address.setUint16(0, domain, true);
    const socket = { fd, address: new Uint8Array(address.buffer) };
    if (this.closed) return socket;
    if (fd < 0) {
      const errno = koffi.errno();
      this.log.error({ errno, version }, 'no raw socket: run as root, with CAP_NET_RAW');
    } else setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, sizeBytes(SEND_BUFFER), 4);
    this.sockets.set(version, socket);
    return socket;
  }
}

function sizeBytes(size: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, size, true);
  return new Uint8Array(view.buffer);
}
