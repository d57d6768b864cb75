/**
 * TCP resets out of what the packet path tells of a flow it ended: to the client from the service, to the endpoint
 * from whom it knew as its client. The two may be of different families.
 */

export const EVENT_SIZE = 100;

/** `struct ct_reset_event`; addresses and ports in network byte order, sequence numbers in the host's. */
const EVENT = {
  saddr: 0,
  daddr: 16,
  sport: 32,
  dport: 34,
  nsaddr: 40,
  ndaddr: 56,
  nsport: 72,
  ndport: 74,
  clientSeq: 76,
  endpointSeq: 80,
  reason: 92,
  oneWay: 93,
} as const;

/** Where the event has what a reset is made of. */
interface Fields {
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
}

const TO_CLIENT: Fields = {
  source: EVENT.daddr,
  destination: EVENT.saddr,
  sourcePort: EVENT.dport,
  destinationPort: EVENT.sport,
  sequence: EVENT.clientSeq,
};

const TO_ENDPOINT: Fields = {
  source: EVENT.nsaddr,
  destination: EVENT.ndaddr,
  sourcePort: EVENT.nsport,
  destinationPort: EVENT.ndport,
  sequence: EVENT.endpointSeq,
};

const TCP = 6;
const TCP_HEADER = 20;
const TCP_RST = 0x04;
const TTL = 64;
const DONT_FRAGMENT = 0x40;

/** Value of `enum ct_reset_reason`. */
export function reasonOf(event: Uint8Array): number {
  return event[EVENT.reason] ?? 0;
}

/** Answers do not come through here (DSR): what the endpoint expects is not known, nor may it be told. */
export function isOneWay(event: Uint8Array): boolean {
  return event[EVENT.oneWay] !== 0;
}

/** An IP packet, undefined when the event makes no sense. */
export function resetToClient(event: Uint8Array): Uint8Array | undefined {
  return buildReset(event, TO_CLIENT);
}

/** The same for the other end; not for flows that are one-way. */
export function resetToEndpoint(event: Uint8Array): Uint8Array | undefined {
  return buildReset(event, TO_ENDPOINT);
}

function buildReset(event: Uint8Array, fields: Fields): Uint8Array | undefined {
  if (event.length < EVENT_SIZE) return undefined;
  const isIpv4 = isMapped(event, fields.source);
  if (isIpv4 !== isMapped(event, fields.destination)) return undefined;
  const packet = isIpv4 ? ipv4Header(event, fields) : ipv6Header(event, fields);
  writeTcp(packet, packet.length - TCP_HEADER, event, fields);
  return packet;
}

function ipv4Header(event: Uint8Array, fields: Fields): Uint8Array {
  const packet = new Uint8Array(20 + TCP_HEADER);
  packet[0] = 0x45;
  packet[3] = packet.length;
  packet[6] = DONT_FRAGMENT;
  packet[8] = TTL;
  packet[9] = TCP;
  copy(event, fields.source + 12, packet, 12, 4);
  copy(event, fields.destination + 12, packet, 16, 4);
  writeBig16(packet, 10, checksum(sumWords(packet, 0, 20)));
  return packet;
}

function ipv6Header(event: Uint8Array, fields: Fields): Uint8Array {
  const packet = new Uint8Array(40 + TCP_HEADER);
  packet[0] = 0x60;
  packet[5] = TCP_HEADER;
  packet[6] = TCP;
  packet[7] = TTL;
  copy(event, fields.source, packet, 8, 16);
  copy(event, fields.destination, packet, 24, 16);
  return packet;
}

/**
 * RST without ACK, at exactly the number the receiver expects next: the only one it takes at once (RFC 5961 3.2). The
 * addresses stand right before it, as the pseudo header has them.
 */
function writeTcp(packet: Uint8Array, at: number, event: Uint8Array, fields: Fields): void {
  copy(event, fields.sourcePort, packet, at, 2);
  copy(event, fields.destinationPort, packet, at + 2, 2);
  for (let byte = 0; byte < 4; byte++) packet[at + 4 + byte] = event[fields.sequence + 3 - byte] as number;
  packet[at + 12] = (TCP_HEADER / 4) << 4;
  packet[at + 13] = TCP_RST;
  const addresses = packet.length === 40 + TCP_HEADER ? 32 : 8;
  writeBig16(packet, at + 16, checksum(sumWords(packet, at - addresses, packet.length) + TCP + TCP_HEADER));
}

function copy(from: Uint8Array, offset: number, to: Uint8Array, at: number, length: number): void {
  for (let index = 0; index < length; index++) to[at + index] = from[offset + index] as number;
}

function writeBig16(packet: Uint8Array, at: number, value: number): void {
  packet[at] = value >> 8;
  packet[at + 1] = value & 0xff;
}

function sumWords(packet: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let index = from; index < to; index += 2) {
    sum += ((packet[index] as number) << 8) | (packet[index + 1] as number);
  }
  return sum;
}

/** RFC 1071. */
function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

function isMapped(bytes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < 10; index++) if (bytes[offset + index] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}
