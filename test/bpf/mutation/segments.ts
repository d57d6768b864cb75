/** The packets of one conversation, without damage. */
import { hostAddress, SERVER_SIDE } from '../network.js';
import { buildIp } from '../reference/build.js';
import { type Chunk, ipHeader, type Packet, TCP, type Transport, text } from '../reference/packet.js';
import { CHUNK, chunk, data, init, PARAMETER, sctp } from '../reference/sctp.js';
import { answer, type Host, opening, packetFrom } from '../scenario.js';
import type { MutatedProtocol } from './modes.js';

const PAYLOAD = text('GET / HTTP/1.1\r\nHost: service\r\nAccept: */*\r\n\r\n');
const NEXT = { flags: TCP.ack, sequence: 1001, acknowledgment: 500_001 };
const REPLY_NEXT = { flags: TCP.ack, sequence: 500_001, acknowledgment: 1001 };
/** Verification tags, made different by `salt`. */
const CLIENT_TAG = 0x11223300;
const ENDPOINT_TAG = 0x99aabb00;
const COOKIE = text('made by the endpoint');

/** Ports as the sender of the segment has them: its own, then its peer's. */
export interface Ports {
  readonly own: number;
  readonly peer: number;
  /** Of the flow; no two have the same. */
  readonly salt?: number | undefined;
}

/** Segments of one side. The first `handshake` of them, taking turns with the other side's, establish the flow. */
export interface Segments {
  readonly all: readonly Transport[];
  readonly handshake: number;
}

export function segmentsOfClient(protocol: MutatedProtocol, { own, peer, salt = 0 }: Ports): Segments {
  if (protocol === 'sctp') {
    const packet = (tag: number, ...chunks: Chunk[]) => sctp({ sourcePort: own, destinationPort: peer, tag, chunks });
    const first = packet(0, init({ tag: CLIENT_TAG + salt, tsn: 1, parameters: [] }));
    const echo = packet(ENDPOINT_TAG + salt, chunk(CHUNK.cookieEcho, COOKIE));
    return {
      all: [first, echo, packet(ENDPOINT_TAG + salt, data('request')), packet(ENDPOINT_TAG + salt, SACK)],
      handshake: 2,
    };
  }
  const first = opening(protocol, own, peer);
  if (protocol !== 'tcp') return { all: [withPayload(first)], handshake: 1 };
  const next = { ...NEXT, payload: PAYLOAD };
  return { all: [first, opening('tcp', own, peer, NEXT), opening('tcp', own, peer, next)], handshake: 2 };
}

export function segmentsOfEndpoint(protocol: MutatedProtocol, { own, peer, salt = 0 }: Ports): Segments {
  if (protocol === 'sctp') {
    const packet = (...chunks: Chunk[]) =>
      sctp({ sourcePort: own, destinationPort: peer, tag: CLIENT_TAG + salt, chunks });
    const parameters = [{ type: PARAMETER.stateCookie, value: COOKIE }];
    const acked = packet(init({ tag: ENDPOINT_TAG + salt, tsn: 1, parameters }, CHUNK.initAck));
    return { all: [acked, packet(chunk(CHUNK.cookieAck)), packet(data('answer')), packet(SACK)], handshake: 2 };
  }
  const first = answer(protocol, own, peer);
  if (protocol !== 'tcp') return { all: [withPayload(first)], handshake: 1 };
  return { all: [first, answer('tcp', own, peer, { ...REPLY_NEXT, payload: PAYLOAD })], handshake: 1 };
}

/** An ICMP error about `quoted` on its way from `source` to `destination`, for `source`. */
export function errorAbout(source: string, destination: string, quoted: Transport, router: Host): Packet {
  const quote = buildIp(ipHeader({ source, destination }), quoted);
  const six = source.includes(':');
  const kind = six ? { type: 2, code: 0, rest: 1400 } : { type: 3, code: 4, rest: 1400 };
  return packetFrom(router, source, { kind: 'error', ...kind, quote });
}

/** The host of the server side that has this address. */
export function serverAt(address: string): Host {
  const number = Number.parseInt(address.replace(/^.*[.:]/, ''), 10);
  const [v4, v6] = SERVER_SIDE.addresses;
  const mac = `${SERVER_SIDE.mac.slice(0, -2)}${number.toString(16).padStart(2, '0')}`;
  return { address: hostAddress(address.includes(':') ? v6 : v4, number), mac, device: SERVER_SIDE };
}

const SACK = chunk(CHUNK.sack, new Uint8Array(12));

function withPayload(transport: Transport): Transport {
  return transport.kind === 'udp' || transport.kind === 'echo' ? { ...transport, payload: PAYLOAD } : transport;
}
