import { buildFrame, type FrameSpec, flowOffsets, lastWord } from './frame.js';
import { type Family, plainRoute, type Route } from './routes.js';
import { DSR_PORT, TUNNEL_PORT } from './service.js';
import { ACK, chunk, SYN, SYN_ACK, type Transport } from './transport.js';
import { type Device, WORLD } from './world.js';
import type { Stream, Wrapper } from './wrapper.js';

export interface Devices {
  readonly client: Device;
  readonly server: Device;
}

type Extras = Pick<Stream, 'mark'> & Pick<FrameSpec, 'part'>;

/** Packets of clients to the service, as they come in on the client side. */
export function towardsService(
  devices: Devices,
  { request, ports }: Route,
  transport: Transport,
  { mark = 0, part }: Extras = {},
): Stream {
  const frame = buildFrame({
    sourceMac: WORLD.clientMac,
    targetMac: devices.client.mac,
    ...request,
    ports: { source: 0, target: ports.service },
    transport,
    ...(part ? { part } : {}),
  });
  return { ...streamOf(frame, devices.client, 'client', request, transport), mark };
}

/** The endpoint's answers, as they come in on the server side. */
export function fromEndpoint(devices: Devices, { answer, ports }: Route, transport: Transport): Stream {
  const frame = buildFrame({
    sourceMac: WORLD.serverMac,
    targetMac: devices.server.mac,
    ...answer,
    ports: { source: transport.protocol === 'icmp' ? 0 : ports.endpoint, target: 0 },
    transport,
  });
  return streamOf(frame, devices.server, 'server', answer, transport);
}

function streamOf(
  frame: Buffer,
  device: Device,
  side: 'client' | 'server',
  direction: Route['request'],
  transport: Transport,
): Stream {
  const family = frame.readUInt16BE(12) === 0x0800 ? 4 : 6;
  const { counted } = direction;
  return {
    frame,
    ifindex: device.ifindex,
    offsets: flowOffsets(family, transport.protocol, side, counted),
    addressBase: lastWord(direction[counted]),
  };
}

/** A flow's set-up, and what goes to and fro afterwards. */
export interface Conversation {
  readonly opening: readonly Stream[];
  readonly data: Stream;
  /** Answers of direct server return do not come by. */
  readonly back?: Stream;
}

export function conversation(
  devices: Devices,
  route: Route,
  protocol: Transport['protocol'],
  extras: Extras = {},
): Required<Conversation> {
  const there = (transport: Transport) => towardsService(devices, route, transport, extras);
  const back = (transport: Transport) => fromEndpoint(devices, route, transport);
  switch (protocol) {
    case 'tcp':
      return tcpConversation(there, back);
    case 'sctp':
      return sctpConversation(there, back);
    case 'udp':
      return answered(there({ protocol }), back({ protocol }));
    case 'icmp':
      return answered(there({ protocol, isAnswer: false }), back({ protocol, isAnswer: true }));
  }
}

type Build = (transport: Transport) => Stream;

function answered(data: Stream, back: Stream): Required<Conversation> {
  return { opening: [data, back], data, back };
}

function tcp(flags: number, sequence: number, acknowledgment: number, isBare = false): Transport {
  return { protocol: 'tcp', flags, sequence, acknowledgment, isBare };
}

function tcpConversation(there: Build, backwards: Build): Required<Conversation> {
  const data = there(tcp(ACK, 1001, 5001));
  const back = backwards(tcp(ACK, 5001, 1001));
  return {
    opening: [there(tcp(SYN, 1000, 0, true)), backwards(tcp(SYN_ACK, 5000, 1001, true)), data, back],
    data,
    back,
  };
}

const PROXY_HEADER = { 4: 28, 6: 52 } as const;

/** TCP with a PROXY protocol header, which goes with the end of the handshake. The endpoint counts it. */
export function proxyConversation(devices: Devices, family: Family, route: Route): Required<Conversation> {
  const header = PROXY_HEADER[family];
  const there = (transport: Transport) => towardsService(devices, route, transport);
  const backwards = (transport: Transport) => fromEndpoint(devices, route, transport);
  const back = backwards(tcp(ACK, 5001, 1001 + header));
  const opening = [
    there(tcp(SYN, 1000, 0, true)),
    backwards(tcp(SYN_ACK, 5000, 1001, true)),
    there(tcp(ACK, 1001, 5001, true)),
    back,
  ];
  return { opening, data: there(tcp(ACK, 1001, 5001)), back };
}

const CLIENT_TAG = 0x11223344;
const ENDPOINT_TAG = 0x55667788;
const CHUNK = { data: 0, init: 1, initAck: 2, sack: 3, cookieEcho: 10, cookieAck: 11 } as const;

/** Data there, and SACKs back. */
function sctpConversation(there: Build, backwards: Build): Required<Conversation> {
  const packet = (tag: number, type: number, value: Uint8Array): Transport => ({
    protocol: 'sctp',
    tag,
    chunk: chunk(type, value),
  });
  const data = there(packet(ENDPOINT_TAG, CHUNK.data, Buffer.alloc(24, 1)));
  const back = backwards(packet(CLIENT_TAG, CHUNK.sack, Buffer.alloc(12)));
  const opening = [
    there(packet(0, CHUNK.init, initiation(CLIENT_TAG))),
    backwards(packet(CLIENT_TAG, CHUNK.initAck, initiation(ENDPOINT_TAG))),
    there(packet(ENDPOINT_TAG, CHUNK.cookieEcho, Buffer.alloc(8, 1))),
    backwards(packet(CLIENT_TAG, CHUNK.cookieAck, Buffer.alloc(0))),
  ];
  return { opening, data, back };
}

/** RFC 9260 3.3.2: tag, window, streams out and in, first TSN. */
function initiation(tag: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeUInt32BE(tag, 0);
  value.writeUInt32BE(65_536, 4);
  value.writeUInt16BE(1, 8);
  value.writeUInt16BE(1, 10);
  return value;
}

/** TCP whose answers go another way. */
export function oneWayConversation(devices: Devices, family: Family, port: number): Conversation {
  const route = plainRoute(family, { service: port, endpoint: port });
  const data = towardsService(devices, route, tcp(ACK, 1001, 5001));
  return { opening: [towardsService(devices, route, tcp(SYN, 1000, 0, true)), data], data };
}

/** Packets of clients whose flows know one direction: to a neighbour, and into a tunnel. */
export function oneWay(devices: Devices): { readonly dsr: Stream; readonly tunnel: Stream } {
  const to = (port: number) =>
    towardsService(devices, plainRoute(4, { service: port, endpoint: port }), { protocol: 'udp' });
  return { dsr: to(DSR_PORT), tunnel: to(TUNNEL_PORT) };
}

/** A packet that belongs to no service and no flow: what the load balancer costs everybody else. */
export function ofOthers(devices: Devices): Stream {
  const { request, answer } = plainRoute(4);
  const route = { request: { ...request, target: WORLD.server[4] }, answer, ports: { service: 22, endpoint: 22 } };
  return towardsService(devices, route, tcp(ACK, 1, 1));
}

const TC_ACT_REDIRECT = 7;

/** Flows set up together: fewer than the table of half-open flows holds, since it evicts. */
const PORTION = 2048;

/** Sets `count` flows up from flow `first` on, as a client and an endpoint would. */
export function establish(wrapper: Wrapper, talk: Conversation, first: number, count: number): void {
  inPortions(talk, first, count, (stream, from, portion) => wrapper.run(stream, 'rising', from, portion));
}

/** The same for flows whose packets end in a tunnel: one run after another. */
export function establishFresh(wrapper: Wrapper, talk: Conversation, count: number): void {
  inPortions(talk, 0, count, (stream, from, portion) => wrapper.runFresh(stream, 'rising', from, portion));
}

function inPortions(
  talk: Conversation,
  first: number,
  count: number,
  send: (stream: Stream, from: number, portion: number) => { readonly verdict: number },
): void {
  for (let from = first; from < first + count; from += PORTION) {
    for (const stream of packetsOf(talk)) {
      const { verdict } = send(stream, from, Math.min(PORTION, first + count - from));
      if (verdict !== TC_ACT_REDIRECT) throw new Error(`a flow's packet was not sent on: verdict ${verdict}`);
    }
  }
}

function packetsOf({ opening, data, back }: Conversation): Stream[] {
  return [...new Set([...opening, data, ...(back ? [back] : [])])];
}
