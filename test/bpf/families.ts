/** Clients of one family, endpoints of the other. */
import { expect } from 'vitest';
import { type RunResult, VERDICT } from './harness.js';
import { SERVER_SIDE } from './network.js';
import { translateFamily } from './reference/family.js';
import type { Packet, Transport } from './reference/packet.js';
import type { Peer } from './reference/translate.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  departure,
  ENDPOINT_PORT,
  expectPacket,
  type Family,
  type Host,
  host,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

export interface Crossing {
  readonly family: Family;
  readonly client: Host;
  readonly server: Host;
  readonly vip: string;
  /** The balancer's address that the endpoint sees. */
  readonly source: string;
}

export const EVERY_CROSSING: readonly { readonly name: string; readonly family: Family }[] = [
  { name: 'NAT64', family: 6 },
  { name: 'NAT46', family: 4 },
];

export function crossing(family: Family): Crossing {
  const { client, vip } = scene(family);
  const other: Family = family === 4 ? 6 : 4;
  const source = SERVER_SIDE.addresses[other === 4 ? 0 : 1];
  return { family, client, vip, source, server: host(SERVER_SIDE, other, 11) };
}

export function addCrossingService(bench: Bench, { family, vip, server, source }: Crossing, protocol: Protocol): void {
  const port = protocol === 'icmp' ? 0 : SERVICE_PORT;
  const endpoints = [{ address: server.address, source }];
  bench.addService({ address: vip, port, protocol: protocolNumber(family, protocol), endpoints });
}

/** What the client's packet is towards the endpoint. */
export function towardsServer(cross: Crossing, packet: Packet): Packet {
  const source = { address: cross.source, port: CLIENT_PORT };
  const destination = { address: cross.server.address, port: ENDPOINT_PORT };
  return translateFamily(packet, { source, destination, hop: departure(cross.server), hops: 1 });
}

export function towardsClient(cross: Crossing, packet: Packet): Packet {
  const source = { address: cross.vip, port: SERVICE_PORT };
  const destination = { address: cross.client.address, port: CLIENT_PORT };
  return translateFamily(packet, { source, destination, hop: departure(cross.client), hops: 1 });
}

export interface CrossingTalk {
  readonly request: Packet;
  readonly reply: Packet;
  readonly from: Peer;
  readonly to: Peer;
}

export function talkAcross(cross: Crossing, protocol: Protocol): CrossingTalk {
  return {
    request: packetFrom(cross.client, cross.vip, opening(protocol, CLIENT_PORT, SERVICE_PORT)),
    reply: packetFrom(cross.server, cross.source, answer(protocol, ENDPOINT_PORT, CLIENT_PORT)),
    from: { address: cross.client.address, port: CLIENT_PORT },
    to: { address: cross.vip, port: protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT },
  };
}

/** From the client with this L4 part and these header fields. */
export function fromClient(cross: Crossing, transport: Transport, ip: object = {}): Packet {
  const packet = packetFrom(cross.client, cross.vip, transport);
  return { ...packet, ip: { ...packet.ip, ...ip } };
}

export function fromServer(cross: Crossing, transport: Transport, ip: object = {}): Packet {
  const packet = packetFrom(cross.server, cross.source, transport);
  return { ...packet, ip: { ...packet.ip, ...ip } };
}

/** Byte by byte, but for an identification that is anybody's choice (RFC 7915 5.1). */
export function expectCrossed(result: RunResult, packet: Packet, verdict: number = VERDICT.redirect): void {
  expectPacket(result, withIdentification(result, packet));
  expect(result.verdict).toBe(verdict);
}

export function withIdentification(result: RunResult, packet: Packet): Packet {
  if (packet.ip.version !== 4 || packet.ip.identification !== 0 || result.frame.length < 20) return packet;
  const identification = (result.frame[18] ?? 0) * 256 + (result.frame[19] ?? 0);
  return { ...packet, ip: { ...packet.ip, identification } };
}

/** Opens a flow: request and answer. */
export function openAcross(bench: Bench, cross: Crossing, protocol: Protocol): CrossingTalk {
  addCrossingService(bench, cross, protocol);
  const talk = talkAcross(cross, protocol);
  expectCrossed(bench.receive(talk.request, cross.client.device), towardsServer(cross, talk.request));
  expectCrossed(bench.receive(talk.reply, cross.server.device), towardsClient(cross, talk.reply));
  return talk;
}
