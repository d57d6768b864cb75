/**
 * Packets as bytes, for judging a million of them: nothing is allocated, nothing is refused that only has a wrong
 * checksum. The slow reference (parse.ts, translate.ts) judges this one in reference.test.ts.
 */

export const Kind = { none: 0, flow: 1, error: 2 } as const;
export const Part = { whole: 0, first: 1, later: 2 } as const;

const EXTENSIONS = [0, 43, 60];
const FRAGMENT = 44;
const MOST_EXTENSIONS = 8;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
const SCTP_INIT = 1;

export function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 255;
}

export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** One's complement sum; an odd last byte is the high one. */
export function sumOf(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += ((bytes[at] ?? 0) << 8) + (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
  return fold(sum);
}

/** RFC 1624 equation 3; `old` and `fresh` are sums of what changed. */
export function adjust(check: number, old: number, fresh: number): number {
  return 0xffff - fold(0xffff - check + (0xffff - old) + fresh);
}

/** What the balancer may know of a frame. */
export class RawPacket {
  bytes: Uint8Array = new Uint8Array(0);
  length = 0;
  kind: number = Kind.none;
  part: number = Part.whole;
  six = false;
  protocol = 0;
  ttl = 0;
  dontFragment = true;
  trafficClass = 0;
  /** Where the source address begins, and how long addresses are. */
  addresses = 0;
  size = 0;
  /** Where transport begins, and the IP packet ends. */
  transport = 0;
  end = 0;
  sport = 0;
  dport = 0;
  tcpFlags = 0;
  icmpType = 0;
  /** Where the identification of a fragmented packet is: two bytes or four. */
  identification = 0;
  /** IPv6: there is a fragment header, perhaps of a packet in one piece. */
  fragmentHeader = false;

  /** Looks at a frame. What is not IP, or not in order, is `Kind.none`. */
  read(bytes: Uint8Array, length: number): void {
    this.bytes = bytes;
    this.length = length;
    this.kind = Kind.none;
    this.part = Part.whole;
    this.fragmentHeader = false;
    const type = word(bytes, 12);
    if (type === 0x0800) this.readIpv4();
    else if (type === 0x86dd) this.readIpv6();
  }

  /** Opens a flow where there is none. */
  get opens(): boolean {
    if (this.protocol === TCP) return (this.tcpFlags & 0x17) === 0x02;
    if (this.protocol === UDP) return true;
    if (this.protocol === SCTP) return this.bytes[this.transport + 12] === SCTP_INIT;
    return this.icmpType === (this.six ? 128 : 8);
  }

  private readIpv4(): void {
    const { bytes, length } = this;
    this.six = false;
    if (length < 34 || (bytes[14] ?? 0) >> 4 !== 4) return;
    const header = ((bytes[14] ?? 0) & 15) * 4;
    const total = word(bytes, 16);
    if (header < 20 || total < header || 14 + total > length) return;
    const fragment = word(bytes, 20);
    this.protocol = bytes[23] ?? 0;
    this.ttl = bytes[22] ?? 0;
    this.trafficClass = bytes[15] ?? 0;
    this.dontFragment = (fragment & 0x4000) !== 0;
    this.addresses = 26;
    this.size = 4;
    this.transport = 14 + header;
    this.end = 14 + total;
    this.identification = 18;
    if ((fragment & 0x1fff) !== 0) this.part = Part.later;
    else if ((fragment & 0x2000) !== 0) this.part = Part.first;
    this.readTransport();
  }

  private readIpv6(): void {
    const { bytes, length } = this;
    this.six = true;
    if (length < 54 || (bytes[14] ?? 0) >> 4 !== 6) return;
    this.end = 54 + word(bytes, 18);
    if (this.end > length) return;
    this.ttl = bytes[21] ?? 0;
    this.trafficClass = (((bytes[14] ?? 0) << 4) & 255) | ((bytes[15] ?? 0) >> 4);
    this.dontFragment = true;
    this.addresses = 22;
    this.size = 16;
    if (this.walkExtensions(54, bytes[20] ?? 0)) this.readTransport();
  }

  private walkExtensions(from: number, first: number): boolean {
    const { bytes } = this;
    let at = from;
    let next = first;
    for (let count = 0; count < MOST_EXTENSIONS && EXTENSIONS.includes(next); count++) {
      if (at + 8 > this.end) return false;
      if (next === 43 && bytes[at + 3] !== 0) return false;
      next = bytes[at] ?? 0;
      at += ((bytes[at + 1] ?? 0) + 1) * 8;
    }
    if (next === FRAGMENT) {
      if (at + 8 > this.end) return false;
      const offset = word(bytes, at + 2);
      if ((offset & 0xfff8) !== 0) this.part = Part.later;
      else if ((offset & 1) !== 0) this.part = Part.first;
      this.identification = at + 4;
      this.fragmentHeader = true;
      next = bytes[at] ?? 0;
      at += 8;
    }
    this.protocol = next;
    this.transport = at;
    return at <= this.end;
  }

  private readTransport(): void {
    const { bytes, transport: at, end, protocol } = this;
    if (this.part === Part.later) {
      this.kind = Kind.flow;
      return;
    }
    if (protocol === TCP) {
      const header = ((bytes[at + 12] ?? 0) >> 4) * 4;
      if (at + 20 > end || header < 20 || at + header > end) return;
      this.tcpFlags = bytes[at + 13] ?? 0;
    } else if (protocol === UDP) {
      if (at + 8 > end) return;
    } else if (protocol === SCTP) {
      if (at + 16 > end) return;
    } else if (protocol === (this.six ? 58 : 1)) {
      this.readIcmp();
      return;
    } else return;
    this.kind = Kind.flow;
    this.sport = word(bytes, at);
    this.dport = word(bytes, at + 2);
  }

  private readIcmp(): void {
    const { bytes, transport: at, end, six } = this;
    if (at + 8 > end) return;
    const type = bytes[at] ?? 0;
    this.icmpType = type;
    if (six ? type === 128 || type === 129 : type === 8 || type === 0) {
      this.kind = Kind.flow;
      this.sport = word(bytes, at + 4);
      this.dport = this.sport;
    } else if (six ? type >= 1 && type <= 4 : type === 3 || type === 11 || type === 12) this.kind = Kind.error;
  }
}

/** Where the checksum of a transport header is. */
export function checksumOffset(protocol: number): number {
  return protocol === TCP ? 16 : protocol === UDP ? 6 : 2;
}
