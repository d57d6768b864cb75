/** A flow of a service whose endpoints are told the client: segments of both sides, and what must come out. */
import { expect } from 'vitest';
import { CtFlags } from '../../plugins/conntrack/layout.gen.js';
import { LbServiceFlags } from '../../plugins/lb/layout.gen.js';
import type { RunOptions, RunResult } from './harness.js';
import { NO_BYTES, type Packet, TCP, type Tcp, tcp } from './reference/packet.js';
import { proxyHeader } from './reference/proxy.js';
import { translate } from './reference/translate.js';
import {
  type Bench,
  CLIENT_PORT,
  departure,
  ENDPOINT_PORT,
  expectForwarded,
  type Family,
  packetFrom,
  SERVICE_PORT,
  scene,
} from './scenario.js';

export interface ProxyFlowOptions {
  /** Whom the endpoint sees as its client; the client itself unless given. */
  readonly seenAs?: string;
  /** Sequence number of the client's SYN. */
  readonly isn?: number;
}

type Fields = Partial<Tcp>;

const PURE = { flags: TCP.ack, window: 60_000 } as const;

/** Sequence numbers are those of the side that sends the segment; `client` and `answer` build it, `...Out` what becomes of it. */
export class ProxyFlow {
  readonly header: Uint8Array;
  readonly size: number;
  readonly isn: number;
  /** Of the endpoint's SYN. */
  readonly answerIsn = 0xffff_fff0;
  private readonly bench: Bench;
  private readonly at;
  private readonly seenAs: string;

  constructor(bench: Bench, family: Family, options: ProxyFlowOptions = {}) {
    this.bench = bench;
    this.at = scene(family);
    const { seenAs = this.at.client.address, isn = 5000 } = options;
    this.seenAs = seenAs;
    this.isn = isn;
    const source = { address: this.at.client.address, port: CLIENT_PORT };
    this.header = proxyHeader(source, { address: this.at.vip, port: SERVICE_PORT });
    this.size = this.header.length;
    bench.addService({
      address: this.at.vip,
      port: SERVICE_PORT,
      protocol: 6,
      flags: LbServiceFlags.LB_SERVICE_PPV2,
      endpoints: [
        { address: this.at.endpoint(0).address, ...(options.seenAs === undefined ? {} : { source: seenAs }) },
      ],
    });
  }

  /** Where the client's bytes begin, for the client; and what it acknowledges before any answer. */
  get first(): number {
    return (this.isn + 1) >>> 0;
  }

  get answerFirst(): number {
    return (this.answerIsn + 1) >>> 0;
  }

  client(fields: Fields = {}): Packet {
    const numbers = { sequence: this.first, acknowledgment: this.answerFirst };
    const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
    return packetFrom(this.at.client, this.at.vip, tcp({ ...ports, ...PURE, ...numbers, ...fields }));
  }

  /** The client's segment as the endpoint gets it, with these differences. */
  clientOut(packet: Packet, fields: Fields = {}): Packet {
    const server = this.at.endpoint(0);
    return translate(changed(packet, fields), {
      source: { address: this.seenAs, port: CLIENT_PORT },
      destination: { address: server.address, port: ENDPOINT_PORT },
      hop: departure(server),
      hops: 1,
    });
  }

  answer(fields: Fields = {}): Packet {
    const numbers = { sequence: this.answerFirst, acknowledgment: this.first };
    const ports = { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT };
    return packetFrom(this.at.endpoint(0), this.seenAs, tcp({ ...ports, ...PURE, ...numbers, ...fields }));
  }

  answerOut(packet: Packet, fields: Fields = {}): Packet {
    return translate(changed(packet, fields), {
      source: { address: this.at.vip, port: SERVICE_PORT },
      destination: { address: this.at.client.address, port: CLIENT_PORT },
      hop: departure(this.at.client),
      hops: 1,
    });
  }

  fromClient(packet: Packet, options: Partial<RunOptions> = {}): RunResult {
    return this.bench.receive(packet, this.at.client.device, options);
  }

  fromEndpoint(packet: Packet, options: Partial<RunOptions> = {}): RunResult {
    return this.bench.receive(packet, this.at.endpoint(0).device, options);
  }

  /** Sends a segment of the client's; it must come out with these differences. */
  expectClient(fields: Fields, out: Fields, options: Partial<RunOptions> = {}): void {
    const packet = this.client(fields);
    expectForwarded(this.fromClient(packet, options), this.clientOut(packet, out));
  }

  expectAnswer(fields: Fields, out: Fields, options: Partial<RunOptions> = {}): void {
    const packet = this.answer(fields);
    expectForwarded(this.fromEndpoint(packet, options), this.answerOut(packet, out));
  }

  /** SYN and its answer. */
  begin(answer: Fields = {}, syn: Fields = {}): void {
    this.expectClient({ flags: TCP.syn, sequence: this.isn, acknowledgment: 0, ...syn }, {});
    this.expectAnswer({ flags: TCP.syn | TCP.ack, sequence: this.answerIsn, ...answer }, {});
  }

  /** The end of the handshake: the acknowledgment becomes the header. */
  expectHeader(fields: Fields = {}): void {
    this.expectClient(fields, { flags: TCP.ack | TCP.psh, payload: this.header });
  }

  open(): void {
    this.begin();
    this.expectHeader();
  }

  /** And the endpoint has it. */
  openAcknowledged(): void {
    this.open();
    this.expectAnswer({ acknowledgment: this.first + this.size }, { acknowledgment: this.first });
  }

  entry(reply: boolean) {
    for (const table of this.bench.tables())
      for (const [, entry] of table.entries()) if (Boolean(entry.flags & CtFlags.CT_REPLY) === reply) return entry;
    throw new Error('no such entry');
  }

  /** A segment that is the header and nothing else, as it is made anew from the client's. */
  madeOf(packet: Packet, timestamps?: Uint8Array): Packet {
    const options = timestamps ?? new Uint8Array(12).fill(1);
    return this.clientOut(packet, {
      sequence: this.first,
      flags: TCP.ack | TCP.psh,
      urgent: 0,
      options,
      payload: this.header,
    });
  }

  /** The same made of an answer, which returns to where it came from. */
  returned(packet: Packet, timestamps?: Uint8Array, fields: Fields = {}): Packet {
    const server = this.at.endpoint(0);
    const out = packetFrom(
      { ...server, address: this.seenAs },
      server.address,
      tcp({
        ...PURE,
        sourcePort: CLIENT_PORT,
        destinationPort: ENDPOINT_PORT,
        sequence: this.first,
        acknowledgment: this.answerFirst,
        flags: TCP.ack | TCP.psh,
        options: timestamps ?? new Uint8Array(12).fill(1),
        payload: this.header,
        ...fields,
      }),
    );
    const { destination, source } = packet.ethernet;
    return { ...out, ethernet: { destination: source, source: destination } };
  }
}

export function changed(packet: Packet, fields: Fields): Packet {
  if (packet.transport.kind !== 'tcp') throw new Error('not TCP');
  const { transport } = packet;
  const sequence = (fields.sequence ?? transport.sequence) >>> 0;
  const acknowledgment = (fields.acknowledgment ?? transport.acknowledgment) >>> 0;
  return { ...packet, transport: { ...transport, ...fields, sequence, acknowledgment }, trailer: NO_BYTES };
}

export function expectCounters(bench: Bench, expected: Record<string, number>): void {
  const { EVENT_RESOLVED, EVENT_FLOW_CREATED, EVENT_FLOW_CONFIRMED, EVENT_FLOW_CLOSED, ...rest } =
    bench.path.counters();
  void [EVENT_RESOLVED, EVENT_FLOW_CREATED, EVENT_FLOW_CONFIRMED, EVENT_FLOW_CLOSED];
  expect(rest).toEqual(expected);
}
