/** An SCTP association through a service: who sends what, and what has to come out. */
import { expect } from 'vitest';
import { CtFlags } from '../../plugins/conntrack/layout.gen.js';
import type { RunResult } from './harness.js';
import type { Chunk, Packet } from './reference/packet.js';
import { PROTOCOL, text } from './reference/packet.js';
import { CHUNK, chunk, init, PARAMETER, type Parameter, sctp } from './reference/sctp.js';
import { type Peer, translate } from './reference/translate.js';
import {
  type Bench,
  CLIENT_PORT,
  departure,
  ENDPOINT_PORT,
  expectForwarded,
  type Family,
  type Host,
  MODE,
  packetFrom,
  SERVICE_PORT,
  type Service,
  type ServiceSpec,
  scene,
} from './scenario.js';

export const CLIENT_TAG = 0x11223344;
export const ENDPOINT_TAG = 0x99aabbcc;

export const COOKIE: Parameter = { type: PARAMETER.stateCookie, value: text('opaque to all but who made it.') };
export const SUPPORTED: Parameter = { type: PARAMETER.supportedAddressTypes, value: Uint8Array.of(0, 5, 0, 6) };

export const COOKIE_ECHO = chunk(CHUNK.cookieEcho, COOKIE.value);
export const COOKIE_ACK = chunk(CHUNK.cookieAck);
export const SACK = chunk(CHUNK.sack, new Uint8Array(12));
export const HEARTBEAT = chunk(CHUNK.heartbeat, Uint8Array.of(0, 1, 0, 8, 1, 2, 3, 4));
export const SHUTDOWN = chunk(CHUNK.shutdown, new Uint8Array(4));
export const SHUTDOWN_ACK = chunk(CHUNK.shutdownAck);
export const SHUTDOWN_COMPLETE = chunk(CHUNK.shutdownComplete);
export const ABORT = chunk(CHUNK.abort);
/** RFC 9260 8.5.1: the tag is the one of the packet it answers. */
export const REFLECTED_ABORT = chunk(CHUNK.abort, undefined, 1);

export type ModeName = 'default' | 'onearm' | 'fullnat';

export interface Sending {
  /** Verification tag; the right one unless given. */
  readonly tag?: number;
  /** Other end points than the first path's. */
  readonly client?: Host;
  readonly vip?: string;
  readonly seenAs?: string;
  readonly endpoint?: Host;
  /** What the chunks become, where they change. */
  readonly becomes?: readonly Chunk[];
}

export class Association {
  readonly family: Family;
  readonly client: Host;
  readonly vip: string;
  readonly seenAs: string;
  clientTag = CLIENT_TAG;
  endpointTag = ENDPOINT_TAG;
  endpoint: Host;
  private readonly bench: Bench;
  private readonly mode: ModeName;

  constructor(bench: Bench, family: Family, mode: ModeName = 'default') {
    const { vip, client, endpoint, self } = scene(family);
    this.bench = bench;
    this.family = family;
    this.mode = mode;
    this.vip = vip;
    this.client = client;
    this.endpoint = endpoint(0);
    this.seenAs = { default: client.address, onearm: self, fullnat: vip }[mode];
  }

  addService(fields: Partial<ServiceSpec> = {}, endpoints = 1): Service {
    const source = this.mode === 'default' ? {} : { source: this.seenAs };
    const { endpoint } = scene(this.family);
    return this.bench.addService({
      address: this.vip,
      port: SERVICE_PORT,
      protocol: PROTOCOL.sctp,
      mode: MODE[this.mode],
      endpoints: Array.from({ length: endpoints }, (_, index) => ({ address: endpoint(index).address, ...source })),
      ...fields,
    });
  }

  /** A packet of the client as it arrives. */
  request(chunks: readonly Chunk[], how: Sending = {}): Packet {
    const { tag = this.endpointTag, client = this.client, vip = this.vip } = how;
    const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
    return packetFrom(client, vip, sctp({ ...ports, tag, chunks }));
  }

  /** A packet of the endpoint as it arrives. */
  answer(chunks: readonly Chunk[], how: Sending = {}): Packet {
    const { tag = this.clientTag, endpoint = this.endpoint, client = this.client } = how;
    const { seenAs = this.mode === 'default' ? client.address : this.seenAs } = how;
    const ports = { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT };
    return packetFrom(endpoint, seenAs, sctp({ ...ports, tag, chunks }));
  }

  sendRequest(packet: Packet, how: Sending = {}): RunResult {
    return this.bench.receive(packet, (how.client ?? this.client).device);
  }

  sendAnswer(packet: Packet, how: Sending = {}): RunResult {
    return this.bench.receive(packet, (how.endpoint ?? this.endpoint).device);
  }

  /** Sends as the client, and judges every byte that comes out. */
  fromClient(chunks: readonly Chunk[], how: Sending = {}): void {
    const packet = this.request(chunks, how);
    const { client = this.client } = how;
    const { seenAs = this.mode === 'default' ? client.address : this.seenAs } = how;
    const out = translate(packet, {
      source: { address: seenAs, port: CLIENT_PORT },
      destination: { address: this.endpoint.address, port: ENDPOINT_PORT },
      hop: departure(this.endpoint),
      hops: 1,
    });
    expectForwarded(this.sendRequest(packet, how), rechunk(out, how.becomes));
  }

  /** Sends as the endpoint, likewise. */
  fromEndpoint(chunks: readonly Chunk[], how: Sending = {}): void {
    const packet = this.answer(chunks, how);
    const { client = this.client, vip = this.vip } = how;
    const out = translate(packet, {
      source: { address: vip, port: SERVICE_PORT },
      destination: { address: client.address, port: CLIENT_PORT },
      hop: departure(client),
      hops: 1,
    });
    expectForwarded(this.sendAnswer(packet, how), rechunk(out, how.becomes));
  }

  init(parameters: readonly Parameter[] = [SUPPORTED], tag = this.clientTag): Chunk {
    return init({ tag, tsn: 1, parameters });
  }

  initAck(parameters: readonly Parameter[] = [COOKIE], tag = this.endpointTag): Chunk {
    return init({ tag, tsn: 1000, parameters }, CHUNK.initAck);
  }

  /** The four packets it takes. */
  establish(): void {
    this.fromClient([this.init()], { tag: 0 });
    this.fromEndpoint([this.initAck()]);
    this.fromClient([COOKIE_ECHO]);
    this.fromEndpoint([COOKIE_ACK]);
  }

  peers(): { readonly client: Peer; readonly vip: Peer; readonly endpoint: Peer; readonly seen: Peer } {
    return {
      client: { address: this.client.address, port: CLIENT_PORT },
      vip: { address: this.vip, port: SERVICE_PORT },
      endpoint: { address: this.endpoint.address, port: ENDPOINT_PORT },
      seen: { address: this.seenAs, port: CLIENT_PORT },
    };
  }

  /** States of both directions of the first flow. */
  states(): readonly (number | undefined)[] {
    const { client, vip, endpoint, seen } = this.peers();
    const flows = [this.bench.findFlow(PROTOCOL.sctp, client, vip), this.bench.findFlow(PROTOCOL.sctp, endpoint, seen)];
    return flows.map((flow) => flow?.state);
  }

  expectState(state: number | undefined): void {
    expect(this.states()).toEqual([state, state]);
  }

  /** Entries of paths, and which of them are one way. */
  paths(): { readonly entries: number; readonly oneWay: number } {
    const flags = this.bench.tables().flatMap((table) => table.entries().map(([, entry]) => entry.flags));
    const paths = flags.filter((one) => one & CtFlags.CT_PATH);
    return { entries: paths.length, oneWay: paths.filter((one) => one & CtFlags.CT_ONE_WAY).length };
  }
}

function rechunk(packet: Packet, chunks: readonly Chunk[] | undefined): Packet {
  if (!chunks || packet.transport.kind !== 'sctp') return packet;
  return { ...packet, transport: { ...packet.transport, chunks } };
}
