/** The framing of netlink: messages and nested attributes. Integers are in host byte order, little endian. */

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: DataView;
}

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_DUMP_INTR = 0x10;
/** On a notification: this entry took the place of another. On a request for a new one: fail when there is one. */
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

const HEADER_SIZE = 16;

export function encodeMessage(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_SIZE + align(body.length));
  const view = new DataView(out.buffer);
  view.setUint32(0, HEADER_SIZE + body.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  out.set(body, HEADER_SIZE);
  return out;
}

/** Messages of one datagram. A length that makes no sense ends the datagram. */
export function* decodeMessages(datagram: Uint8Array): Iterable<NetlinkMessage> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  for (let at = 0; at + HEADER_SIZE <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_SIZE || at + length > datagram.length) return;
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: new DataView(datagram.buffer, datagram.byteOffset + at + HEADER_SIZE, length - HEADER_SIZE),
    };
    at += align(length);
  }
}

export type Attributes = ReadonlyMap<number, DataView>;

/** Attributes from `offset` on, by type without its flag bits; of repeated ones the last. */
export function decodeAttributes(body: DataView, offset: number): Attributes {
  const attributes = new Map<number, DataView>();
  for (let at = offset; at + 4 <= body.byteLength; ) {
    const length = body.getUint16(at, true);
    if (length < 4 || at + length > body.byteLength) break;
    attributes.set(
      body.getUint16(at + 2, true) & 0x3fff,
      new DataView(body.buffer, body.byteOffset + at + 4, length - 4),
    );
    at += align(length);
  }
  return attributes;
}

export function encodeAttribute(type: number, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + align(value.length));
  const view = new DataView(out.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  out.set(value, 4);
  return out;
}

export function u32Bytes(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return new Uint8Array(view.buffer);
}

export function textOf(attribute: DataView | undefined): string {
  if (!attribute) return '';
  const bytes = Buffer.from(attribute.buffer, attribute.byteOffset, attribute.byteLength);
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

export function numberOf(attribute: DataView | undefined): number {
  return attribute && attribute.byteLength >= 4 ? attribute.getUint32(0, true) : 0;
}

function align(length: number): number {
  return (length + 3) & ~3;
}
