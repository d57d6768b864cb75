/** What is behind the IP header of a frame of the packet part. */
export type Transport = TcpSpec | UdpSpec | EchoSpec | SctpSpec;

export interface TcpSpec {
  readonly protocol: 'tcp';
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** Nothing behind the header. */
  readonly isBare?: boolean;
}

export interface UdpSpec {
  readonly protocol: 'udp';
}

/** An echo request or its answer: the identifier is what ports are to others. */
export interface EchoSpec {
  readonly protocol: 'icmp';
  readonly isAnswer: boolean;
}

export interface SctpSpec {
  readonly protocol: 'sctp';
  /** Verification tag. */
  readonly tag: number;
  readonly chunk: Uint8Array;
}

export const SYN = 0x02;
export const ACK = 0x10;
export const SYN_ACK = SYN | ACK;

/** IANA's numbers; ICMP's depends on the family. */
export function protocolNumber(protocol: Transport['protocol'], family: 4 | 6): number {
  return protocol === 'icmp' ? { 4: 1, 6: 58 }[family] : { tcp: 6, udp: 17, sctp: 132 }[protocol];
}

/**
 * Writes the header at `at` and returns where the packet ends. Checksums are any numbers: the packet path changes them
 * by differences and never sums a payload up.
 */
export function writeTransport(frame: Buffer, at: number, spec: Transport, ports: Ports, family: 4 | 6): number {
  if (spec.protocol !== 'icmp') {
    frame.writeUInt16BE(ports.source, at);
    frame.writeUInt16BE(ports.target, at + 2);
  }
  switch (spec.protocol) {
    case 'icmp':
      return writeEcho(frame, at, spec, ports, family);
    case 'tcp':
      return writeTcp(frame, at, spec);
    case 'udp':
      return writeUdp(frame, at);
    case 'sctp':
      return writeSctp(frame, at, spec);
  }
}

export interface Ports {
  readonly source: number;
  readonly target: number;
}

function writeTcp(frame: Buffer, at: number, spec: TcpSpec): number {
  frame.writeUInt32BE(spec.sequence ?? 0, at + 4);
  frame.writeUInt32BE(spec.acknowledgment ?? 0, at + 8);
  frame[at + 12] = 5 << 4;
  frame[at + 13] = spec.flags;
  frame.writeUInt16BE(64_000, at + 14);
  frame.writeUInt16BE(0x1234, at + 16);
  return spec.isBare ? at + 20 : frame.length;
}

function writeUdp(frame: Buffer, at: number): number {
  frame.writeUInt16BE(frame.length - at, at + 4);
  frame.writeUInt16BE(0x1234, at + 6);
  return frame.length;
}

function writeEcho(frame: Buffer, at: number, spec: EchoSpec, ports: Ports, family: 4 | 6): number {
  const [request, answer] = family === 4 ? [8, 0] : [128, 129];
  frame[at] = spec.isAnswer ? answer : request;
  frame.writeUInt16BE(0x1234, at + 2);
  frame.writeUInt16BE(ports.source || ports.target, at + 4);
  return frame.length;
}

function writeSctp(frame: Buffer, at: number, spec: SctpSpec): number {
  frame.writeUInt32BE(spec.tag, at + 4);
  frame.writeUInt32LE(0x1234, at + 8);
  frame.set(spec.chunk, at + 12);
  return at + 12 + spec.chunk.length;
}

/** An SCTP chunk; `value` has a multiple of four bytes (RFC 9260 3.2). */
export function chunk(type: number, value: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(4 + value.length);
  bytes[0] = type;
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.set(value, 4);
  return bytes;
}
