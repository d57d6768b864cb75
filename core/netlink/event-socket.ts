/**
 * The kernel's notifications. A thread of libuv's pool waits in poll(2); what has come is read on the main thread
 * without blocking. When the kernel had more to tell than the buffer holds, the reader is told so once everything that
 * did fit has been delivered: what it reads from the kernel's tables then is newer than all it has heard.
 */
import koffi from 'koffi';
import { NetlinkError } from './request-socket.js';

const libc = koffi.load('libc.so.6');
const openSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const bindSocket = libc.func('int bind(int fd, void *address, uint32_t size)') as (
  fd: number,
  address: Uint8Array,
  size: number,
) => number;
const setOption = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t size)') as (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array,
  size: number,
) => number;
const receive = libc.func('long recv(int fd, void *buffer, size_t size, int flags)') as (
  fd: number,
  buffer: Uint8Array,
  size: number,
  flags: number,
) => number;
const openEvent = libc.func('int eventfd(uint32_t count, int flags)') as (count: number, flags: number) => number;
const raiseEvent = libc.func('int eventfd_write(int fd, uint64_t count)') as (fd: number, count: number) => number;
const poll = libc.func('int poll(void *fds, ulong count, int milliseconds)') as {
  async(fds: Uint8Array, count: number, milliseconds: number, done: (error: Error | null, ready: number) => void): void;
};
const closeFd = libc.func('int close(int fd)') as (fd: number) => number;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const EFD_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const EINTR = 4;
const ENOBUFS = 105;

/** Room for some ten thousand notifications; memory is used only while they wait. */
const RECEIVE_BUFFER = 32 * 1024 * 1024;
const DATAGRAM_SIZE = 65_536;
/** Datagrams read at one go, a few milliseconds' worth, before requests and timers have their turn. */
const TURN = 1000;
const RETRY_MS = 100;
const FOR_EVER = -1;

export interface EventReader {
  /** The bytes are valid during the call. */
  take(datagram: Uint8Array): void;
  /** Notifications were lost. */
  lost(): void;
}

export class EventSocket {
  private readonly fd: number;
  /** Ends the wait: at `close`, and when the process exits, which would wait for the thread. */
  private readonly wakeFd: number;
  private readonly fds = new Uint8Array(16);
  private readonly buffer = new Uint8Array(DATAGRAM_SIZE);
  private readonly wake = (): void => void raiseEvent(this.wakeFd, 1);
  private overrun = false;
  private closed = false;

  /** Listens from now on; `groups` are RTNLGRP_* numbers up to 32. */
  constructor(
    groups: readonly number[],
    private readonly reader: EventReader,
    receiveBuffer = RECEIVE_BUFFER,
  ) {
    this.fd = openSocket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0);
    if (this.fd < 0) throw new NetlinkError('opening a netlink socket', koffi.errno());
    this.enlarge(receiveBuffer);
    const address = new DataView(new ArrayBuffer(12));
    address.setUint16(0, AF_NETLINK, true);
    address.setUint32(8, groups.reduce((mask, group) => mask | (1 << (group - 1)), 0) >>> 0, true);
    if (bindSocket(this.fd, new Uint8Array(address.buffer), 12) < 0) {
      throw new NetlinkError('subscribing to network changes', koffi.errno());
    }
    this.wakeFd = openEvent(0, EFD_CLOEXEC);
    if (this.wakeFd < 0) throw new NetlinkError('opening an eventfd', koffi.errno());
    process.once('exit', this.wake);
    this.wait();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    process.off('exit', this.wake);
    this.wake();
  }

  /** Beyond the system's limit where we may. */
  private enlarge(receiveBuffer: number): void {
    const size = new DataView(new ArrayBuffer(4));
    size.setUint32(0, receiveBuffer, true);
    const bytes = new Uint8Array(size.buffer);
    if (setOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 4) < 0)
      setOption(this.fd, SOL_SOCKET, SO_RCVBUF, bytes, 4);
  }

  private wait(): void {
    const view = new DataView(this.fds.buffer);
    for (const [index, fd] of [this.fd, this.wakeFd].entries()) {
      view.setInt32(index * 8, fd, true);
      view.setUint32(index * 8 + 4, POLLIN, true);
    }
    poll.async(this.fds, 2, FOR_EVER, (error, ready) => this.woken(error === null && ready > 0));
  }

  private woken(ready: boolean): void {
    if (this.closed) {
      closeFd(this.fd);
      closeFd(this.wakeFd);
    } else if (ready) {
      this.readTurn();
      this.wait();
    } else setTimeout(() => (this.closed ? this.woken(false) : this.wait()), RETRY_MS);
  }

  private readTurn(): void {
    for (let count = 0; count < TURN && !this.closed; count++) {
      const length = receive(this.fd, this.buffer, DATAGRAM_SIZE, MSG_DONTWAIT | MSG_TRUNC);
      const errno = length < 0 ? koffi.errno() : 0;
      if (errno === ENOBUFS || length > DATAGRAM_SIZE) this.overrun = true;
      else if (errno === 0) this.reader.take(this.buffer.subarray(0, length));
      else if (errno !== EINTR) {
        this.drained();
        return;
      }
    }
  }

  /** Only now: what was still in the buffer is older than what was lost. */
  private drained(): void {
    if (!this.overrun) return;
    this.overrun = false;
    this.reader.lost();
  }
}
