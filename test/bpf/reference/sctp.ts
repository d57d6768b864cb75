/** SCTP as RFC 9260 writes it down. The CRC is computed from a table over every byte, as in its appendix A. */
import { ipBytes, ipText } from './address.js';
import { type Chunk, joinBytes, NO_BYTES, type Sctp, text } from './packet.js';

export const CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
  asconf: 0xc1,
} as const;

export const PARAMETER = {
  heartbeatInfo: 1,
  ipv4: 5,
  ipv6: 6,
  stateCookie: 7,
  supportedAddressTypes: 12,
  pad: 0x8005,
  forwardTsn: 0xc000,
} as const;

export interface Parameter {
  readonly type: number;
  readonly value: Uint8Array;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let register = byte;
  for (let bit = 0; bit < 8; bit++) register = register & 1 ? (register >>> 1) ^ 0x82f63b78 : register >>> 1;
  return register >>> 0;
});

export function crc32c(bytes: Uint8Array): number {
  let register = 0xffffffff;
  for (const byte of bytes) register = ((TABLE[(register ^ byte) & 255] ?? 0) ^ (register >>> 8)) >>> 0;
  return (register ^ 0xffffffff) >>> 0;
}

export function sctp(fields: Pick<Sctp, 'sourcePort' | 'destinationPort' | 'chunks'> & Partial<Sctp>): Sctp {
  return { kind: 'sctp', tag: 0, ...fields };
}

export function sctpBytes(packet: Sctp): Uint8Array {
  const out = joinBytes(new Uint8Array(12), ...packet.chunks.map(chunkBytes));
  const header = new DataView(out.buffer);
  header.setUint16(0, packet.sourcePort);
  header.setUint16(2, packet.destinationPort);
  header.setUint32(4, packet.tag);
  // The register's low byte goes first (appendix A).
  header.setUint32(8, crc32c(out), true);
  return out;
}

/** With its padding. */
export function chunkBytes({ type, flags, value }: Chunk): Uint8Array {
  return padded(joinBytes(Uint8Array.of(type, flags), be16(4 + value.length), value));
}

export function chunk(type: number, value: Uint8Array = NO_BYTES, flags = 0): Chunk {
  return { type, flags, value };
}

export interface Init {
  readonly tag: number;
  readonly tsn: number;
  readonly parameters: readonly Parameter[];
}

/** INIT, or with `type` INIT ACK. The last parameter's padding is not part of the chunk's length (RFC 9260 3.2). */
export function init({ tag, tsn, parameters }: Init, type: number = CHUNK.init): Chunk {
  const fixed = new DataView(new ArrayBuffer(16));
  fixed.setUint32(0, tag);
  fixed.setUint32(4, 131_072);
  fixed.setUint16(8, 10);
  fixed.setUint16(10, 2048);
  fixed.setUint32(12, tsn);
  const bytes = parameters.map((parameter, index) => {
    const one = parameterBytes(parameter);
    return index === parameters.length - 1 ? one : padded(one);
  });
  return chunk(type, joinBytes(new Uint8Array(fixed.buffer), ...bytes));
}

/** What `init` was made of. */
export function parseInit(bytes: Chunk): Init {
  const view = new DataView(bytes.value.buffer, bytes.value.byteOffset, bytes.value.length);
  const parameters: Parameter[] = [];
  for (let at = 16; at < bytes.value.length; ) {
    const length = view.getUint16(at + 2);
    if (length < 4 || at + length > bytes.value.length) throw new Error('parameter length');
    parameters.push({ type: view.getUint16(at), value: bytes.value.slice(at + 4, at + length) });
    at += Math.ceil(length / 4) * 4;
  }
  return { tag: view.getUint32(0), tsn: view.getUint32(12), parameters };
}

function parameterBytes({ type, value }: Parameter): Uint8Array {
  return joinBytes(be16(type), be16(4 + value.length), value);
}

/** Parameter with an address of either family. */
export function address(value: string): Parameter {
  return { type: value.includes(':') ? PARAMETER.ipv6 : PARAMETER.ipv4, value: ipBytes(value) };
}

/** The addresses a chunk lists, as text. */
export function addresses({ parameters }: Init): string[] {
  const wanted = parameters.filter(({ type }) => type === PARAMETER.ipv4 || type === PARAMETER.ipv6);
  return wanted.map(({ value }) => ipText(value));
}

export function data(value: string, tsn = 1): Chunk {
  const fixed = new DataView(new ArrayBuffer(12));
  fixed.setUint32(0, tsn);
  return chunk(CHUNK.data, joinBytes(new Uint8Array(fixed.buffer), text(value)), 3);
}

function padded(bytes: Uint8Array): Uint8Array {
  return joinBytes(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
}

function be16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}
