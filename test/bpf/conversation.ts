/** One request and its answer through a service, for every mode: what comes in and what has to come out. */

import type { Packet } from './reference/packet.js';
import { type Peer, translate } from './reference/translate.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  departure,
  ENDPOINT_PORT,
  expectForwarded,
  type Family,
  type Host,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  type Scene,
  SERVICE_PORT,
  type Service,
  type ServiceSpec,
  scene,
} from './scenario.js';

export interface ConversationOptions {
  /** Who asks; the client of the scene unless given. */
  readonly client?: Host;
  readonly clientPort?: number;
  /** Whom the endpoint sees as its client: the balancer's address, the VIP; absent where the client itself. */
  readonly seenAs?: string;
  /** Source port towards the endpoint when it is not the client's. */
  readonly seenPort?: number;
}

export interface Conversation {
  readonly request: Packet;
  readonly requestOut: Packet;
  readonly reply: Packet;
  readonly replyOut: Packet;
  /** The tuple of the request as it arrives. */
  readonly from: Peer;
  readonly to: Peer;
}

export function servicePort(protocol: Protocol): number {
  return protocol === 'icmp' ? 0 : SERVICE_PORT;
}

export function conversation(family: Family, protocol: Protocol, options: ConversationOptions = {}): Conversation {
  const { vip, client: usual, endpoint } = scene(family);
  const { client = usual, clientPort = CLIENT_PORT } = options;
  const { seenAs = client.address, seenPort = clientPort } = options;
  const server = endpoint(0);
  const request = packetFrom(client, vip, opening(protocol, clientPort, SERVICE_PORT));
  const reply = packetFrom(server, seenAs, answer(protocol, ENDPOINT_PORT, seenPort));
  const requestOut = translate(request, {
    source: { address: seenAs, port: seenPort },
    destination: { address: server.address, port: ENDPOINT_PORT },
    hop: departure(server),
    hops: 1,
  });
  const replyOut = translate(reply, {
    source: { address: vip, port: SERVICE_PORT },
    destination: { address: client.address, port: clientPort },
    hop: departure(client),
    hops: 1,
  });
  const from = { address: client.address, port: clientPort };
  const to = { address: vip, port: protocol === 'icmp' ? clientPort : SERVICE_PORT };
  return { request, requestOut, reply, replyOut, from, to };
}

/** A service with one endpoint, `endpoint(0)` of the scene. */
export function addPlainService(
  bench: Bench,
  family: Family,
  protocol: Protocol,
  endpoint: { readonly source?: string; readonly self?: string } = {},
  fields: Partial<ServiceSpec> = {},
): Service {
  const { vip, endpoint: at }: Scene = scene(family);
  return bench.addService({
    address: vip,
    port: servicePort(protocol),
    protocol: protocolNumber(family, protocol),
    endpoints: [{ address: at(0).address, ...endpoint }],
    ...fields,
  });
}

/** Request and answer, each judged byte by byte. */
export function expectConversation(bench: Bench, talk: Conversation, client: Host, server: Host): void {
  expectForwarded(bench.receive(talk.request, client.device), talk.requestOut);
  expectForwarded(bench.receive(talk.reply, server.device), talk.replyOut);
}
