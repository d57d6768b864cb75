/**
 * A synchronous rtnetlink socket: a few requests (an address for a VIP, the source address towards an endpoint) happen
 * inside operations that must be done when they return. A request takes
 * tens of microseconds. The socket belongs to the network namespace it was opened in.
 */
import koffi from 'koffi';
import {
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './message.js';

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
type Transfer = (fd: number, buffer: Uint8Array, size: number, flags: number) => number;
const send = libc.func('long send(int fd, void *buffer, size_t size, int flags)') as Transfer & {
  async(
    fd: number,
    buffer: Uint8Array,
    size: number,
    flags: number,
    done: (error: Error | null, sent: number) => void,
  ): void;
};
const receive = libc.func('long recv(int fd, void *buffer, size_t size, int flags)') as Transfer;
const closeFd = libc.func('int close(int fd)') as (fd: number) => number;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const TIMEOUT_SECONDS = 2;
/** The kernel fills up to 32 kB per datagram of a dump. */
const BUFFER_SIZE = 65_536;
const DUMP_ATTEMPTS = 5;

export class NetlinkError extends Error {
  override name = 'NetlinkError';

  constructor(
    readonly what: string,
    readonly errno: number,
  ) {
    super(`${what}: errno ${errno}`);
  }
}

export class RequestSocket {
  private readonly fd: number;
  private readonly buffer = new Uint8Array(BUFFER_SIZE);
  private sequence = 0;

  /** @param protocol NETLINK_*; default NETLINK_ROUTE. */
  constructor(protocol = 0) {
    this.fd = openSocket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol);
    if (this.fd < 0) throw new NetlinkError('opening a netlink socket', koffi.errno());
    const timeout = new DataView(new ArrayBuffer(16));
    timeout.setBigInt64(0, BigInt(TIMEOUT_SECONDS), true);
    setOption(this.fd, SOL_SOCKET, SO_RCVTIMEO, new Uint8Array(timeout.buffer), 16);
  }

  /** Every message of a dump. Repeated when the table changed underneath. */
  dump(type: number, body: Uint8Array): NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const messages = this.exchange(type, NLM_F_REQUEST | NLM_F_DUMP, body);
      const torn = messages.some((message) => (message.flags & NLM_F_DUMP_INTR) !== 0);
      if (!torn || attempt === DUMP_ATTEMPTS) return messages;
    }
  }

  /** The answers to one request. Throws NetlinkError with the kernel's errno. */
  request(type: number, flags: number, body: Uint8Array): NetlinkMessage[] {
    return this.exchange(type, flags | NLM_F_REQUEST | NLM_F_ACK, body);
  }

  /**
   * Requests that have no answer but their acknowledgement, sent as one; the kernel works on them on a thread of the
   * pool. At most a hundred or so, whose acknowledgements fit the buffer. Resolves with an errno for each, 0 for done.
   * The socket must not be used for anything else meanwhile.
   */
  async requestMany(
    type: readonly number[],
    flags: readonly number[],
    bodies: readonly Uint8Array[],
  ): Promise<number[]> {
    const first = this.sequence + 1;
    this.sequence += bodies.length;
    const messages = bodies.map((body, index) => {
      const all = (flags[index] ?? 0) | NLM_F_REQUEST | NLM_F_ACK;
      return encodeMessage(type[index] ?? 0, all, first + index, body);
    });
    await this.sendAsync(Buffer.concat(messages));
    const results = new Map<number, number>();
    while (results.size < bodies.length) {
      for (const answer of decodeMessages(this.receive())) {
        if (answer.type === NLMSG_ERROR && answer.sequence >= first) {
          results.set(answer.sequence - first, -answer.body.getInt32(0, true));
        }
      }
    }
    return bodies.map((_, index) => results.get(index) ?? 0);
  }

  close(): void {
    closeFd(this.fd);
  }

  private sendAsync(message: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      send.async(this.fd, message, message.length, 0, (error, sent) => {
        // The errno belongs to the other thread and cannot be told.
        if (error || sent < 0) reject(error ?? new NetlinkError('netlink request', 0));
        else resolve();
      });
    });
  }

  private exchange(type: number, flags: number, body: Uint8Array): NetlinkMessage[] {
    const sequence = ++this.sequence;
    const message = encodeMessage(type, flags, sequence, body);
    if (send(this.fd, message, message.length, 0) < 0) throw new NetlinkError('netlink request', koffi.errno());
    const answers: NetlinkMessage[] = [];
    for (;;) {
      for (const answer of decodeMessages(this.receive())) {
        // What an earlier request that timed out left over is not an answer to this one.
        if (answer.sequence !== sequence) continue;
        if (answer.type === NLMSG_DONE) return answers;
        if (answer.type !== NLMSG_ERROR) answers.push(answer);
        else if (answer.body.getInt32(0, true) === 0) return answers;
        else throw new NetlinkError(`netlink request ${type}`, -answer.body.getInt32(0, true));
      }
    }
  }

  private receive(): Uint8Array {
    const length = receive(this.fd, this.buffer, this.buffer.length, 0);
    if (length < 0) throw new NetlinkError('netlink answer', koffi.errno());
    return this.buffer.slice(0, length);
  }
}
