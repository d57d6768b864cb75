/** One mode, loaded: services, flows that exist, packets to damage, and what may become of them. */

import { DpCounter } from '../../../core/dataplane/layout.gen.js';
import { addressOf, bpf } from '../../../core/dataplane/sys/libc.js';
import { LbEndpointFlags } from '../../../plugins/lb/layout.gen.js';
import { CLIENT_SIDE, type Device, SERVER_SIDE } from '../network.js';
import { ipBytes, ipText, macBytes } from '../reference/address.js';
import { buildFrame, buildIp } from '../reference/build.js';
import { fragment } from '../reference/fragment.js';
import { ipHeader, joinBytes, type Packet, TCP, type Transport, text } from '../reference/packet.js';
import { parseFrame } from '../reference/parse.js';
import { RawPacket } from '../reference/raw.js';
import {
  answer,
  type Bench,
  ENDPOINT_PORT,
  type Family,
  host,
  opening,
  type Protocol,
  packetFrom,
} from '../scenario.js';
import { FastRun } from './fast-run.js';
import { Judge } from './judge.js';
import { type EndpointModel, Model, type ServiceModel } from './model.js';
import { type Mode, type PlannedService, planServices } from './modes.js';
import { type Dice, mutate } from './mutate.js';

interface Sample {
  readonly frame: Uint8Array;
  readonly device: Device;
}

const DROPS = Object.entries(DpCounter).filter(([name]) => name.startsWith('DROP_') || name === 'EVENT_FRAGMENT_HELD');
const CLIENT_PORTS = [40_000, 40_001];
const LOOKUP_AND_DELETE_BATCH = 25;

export class World {
  readonly model: Model;
  readonly judge: Judge;
  private readonly fast: FastRun;
  private readonly services: readonly PlannedService[];
  private readonly serviceIds: readonly number[];
  private readonly openings: Sample[] = [];
  private readonly samples: Sample[] = [];

  constructor(
    private readonly bench: Bench,
    readonly mode: Mode,
    private readonly family: Family,
    protocol: Protocol,
  ) {
    bench.reset();
    this.services = planServices(mode, family, protocol);
    this.serviceIds = this.services.map(({ spec }) => bench.addService(spec).id);
    const known = mode.fragments ? this.announce() : [];
    this.model = new Model(this.services.map(modelOf), known);
    this.judge = new Judge(this.model);
    this.fast = new FastRun(bench.path.programFd('tc_ingress'));
    this.makeOpenings();
    this.refresh();
    this.makeSamples();
    this.refresh();
  }

  /** Nothing but the first flows, as at the beginning. Throws when one of their packets is not right. */
  refresh(): void {
    const { maps } = this.bench.path;
    for (const map of [maps.flows, maps.pending, maps.fragments, maps.heldFragments]) clearTable(map.fd);
    maps.halfOpen.zero(0);
    for (const id of this.serviceIds) maps.serviceStates.change(id, { cursor: 0 });
    this.model.forget();
    this.judge.stale = false;
    for (const sample of this.openings) {
      const fault = this.run(sample.frame, sample.frame.length, sample.device);
      if (fault) throw new Error(`${this.mode.name}: a packet without damage: ${fault}`);
    }
  }

  /** Damages a packet and sends it. What is wrong with what became of it, or undefined. */
  step(dice: Dice): string | undefined {
    const { input } = this.fast;
    const sample = this.samples[dice.pick(this.samples.length)] as Sample;
    const other = this.samples[dice.pick(this.samples.length)] as Sample;
    input.set(sample.frame);
    const length = mutate(input, sample.frame.length, other.frame, dice);
    const fault = this.run(undefined, length, sample.device);
    if (this.judge.stale) this.refresh();
    return fault;
  }

  /** Every sample as it is: all of them have to be carried. */
  clean(): string[] {
    return this.samples.flatMap(({ frame, device }) => this.run(frame, frame.length, device) ?? []);
  }

  /** Drops that the programs have counted. */
  countedDrops(): number {
    const { counters } = this.bench.path.maps;
    return DROPS.reduce((sum, [, index]) => {
      const copies = counters.getAll(index) ?? [];
      return sum + copies.reduce((all, { packets }) => all + Number(packets), 0);
    }, 0);
  }

  /** The last packet, for messages. */
  last(length = 96): string {
    const { input, output, outputLength } = this.fast;
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
    return `in  ${hex(input.subarray(0, length))}\nout ${hex(output.subarray(0, outputLength))}`;
  }

  private run(frame: Uint8Array | undefined, length: number, device: Device): string | undefined {
    const { fast, judge } = this;
    if (frame) fast.input.set(frame);
    const verdict = fast.run(length, this.bench.network.ifindex(device));
    const fault = judge.judge(fast.input, length, verdict, fast.output, fast.outputLength);
    return fault === undefined ? undefined : `${fault} (verdict ${verdict})\n${this.last(length)}`;
  }

  /** Parts of packets to and from these are kept until the first one comes. */
  private announce(): Uint8Array[] {
    const addresses = this.services.flatMap(({ spec }) => [
      spec.address,
      ...spec.endpoints.map(({ address }) => address),
    ]);
    for (const address of new Set(addresses)) this.bench.path.maps.addresses.set(address, { uses: 1 });
    return addresses.map(ipBytes);
  }

  private makeOpenings(): void {
    const clients = [10, 11].map((number) => host(CLIENT_SIDE, this.family, number));
    for (const { spec } of this.services) {
      if (spec.endpoints.length === 0) continue;
      const protocol = ({ 6: 'tcp', 17: 'udp' } as const)[spec.protocol] ?? 'icmp';
      clients.forEach((client, index) => {
        const transport = opening(protocol, CLIENT_PORTS[index] ?? 0, this.portOf(spec));
        this.openings.push({ frame: buildFrame(packetFrom(client, spec.address, transport)), device: CLIENT_SIDE });
      });
    }
  }

  private portOf(spec: PlannedService['spec']): number {
    return spec.portMax === undefined ? (spec.port ?? 0) : (spec.port ?? 0) + 4;
  }

  /** What each flow's packets look like, in both directions; found by the flows that the openings have made. */
  private makeSamples(): void {
    for (const sample of this.openings) this.addSamples(parseFrame(sample.frame));
  }

  private addSamples(request: Packet): void {
    const { transport, ip } = request;
    const bytes = this.samplesOf(request);
    const direction = this.model.flows.get(this.model.keyOf(readRaw(buildFrame(request))));
    if (!direction) throw new Error(`no flow of ${ip.source} to ${ip.destination}`);
    this.push(bytes, CLIENT_SIDE);
    const seen = { source: ipText(direction.source), destination: ipText(direction.destination) };
    const protocol = transport.kind === 'echo' ? 'icmp' : (transport.kind as Protocol);
    if (direction.otherKey === undefined) {
      this.push([this.errorAbout(ip.destination, ip.source, protocol, request, true)], CLIENT_SIDE);
      return;
    }
    const server = { ...host(SERVER_SIDE, this.family, 11), address: seen.destination };
    const replies = this.replySegments(protocol, direction.dport, direction.sport).map((segment) =>
      packetFrom(server, seen.source, segment),
    );
    this.push(replies, SERVER_SIDE);
    this.push([this.errorAbout(seen.source, seen.destination, protocol, request, false, direction)], SERVER_SIDE);
  }

  private replySegments(protocol: Protocol, port: number, peer: number): Transport[] {
    if (protocol !== 'tcp') return [withPayload(answer(protocol, port, peer))];
    return [
      answer('tcp', port, peer),
      answer('tcp', port, peer, { flags: TCP.ack, sequence: 500_001, acknowledgment: 1001, payload: PAYLOAD }),
    ];
  }

  private samplesOf(request: Packet): Packet[] {
    const { transport } = request;
    if (transport.kind !== 'tcp') return [{ ...request, transport: withPayload(transport) }];
    const next = { flags: TCP.ack, sequence: 1001, acknowledgment: 500_001 };
    return [
      request,
      { ...request, transport: { ...transport, ...next } },
      { ...request, transport: { ...transport, ...next, payload: PAYLOAD } },
    ];
  }

  /** An ICMP error about a packet from `source` to `destination`: what the endpoint got, or what it sent past us. */
  private errorAbout(
    source: string,
    destination: string,
    protocol: Protocol,
    request: Packet,
    direct: boolean,
    ports?: { readonly sport: number; readonly dport: number },
  ): Packet {
    const { transport } = request;
    const own = transport.kind === 'tcp' || transport.kind === 'udp' ? transport : undefined;
    const client = own?.sourcePort ?? (transport.kind === 'echo' ? transport.identifier : 0);
    const quoted = direct
      ? answer(protocol, own?.destinationPort ?? 0, client)
      : opening(protocol, ports?.sport ?? 0, ports?.dport ?? 0);
    const quote = buildIp(ipHeader({ source, destination }), quoted);
    const kind = this.family === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, code: 0, rest: 1400 };
    const router = host(direct ? CLIENT_SIDE : SERVER_SIDE, this.family, 30);
    return packetFrom(router, source, { kind: 'error', ...kind, quote });
  }

  private push(packets: readonly Packet[], device: Device): void {
    for (const packet of packets) {
      const parts = this.mode.fragments && packet.transport.kind !== 'error' ? fragment(packet, 40, 1) : [];
      for (const one of [packet, ...parts]) this.samples.push({ frame: buildFrame(one), device });
    }
  }
}

const PAYLOAD = text('GET / HTTP/1.1\r\nHost: service\r\nAccept: */*\r\n\r\n');

function withPayload(transport: Transport): Transport {
  return transport.kind === 'udp' || transport.kind === 'echo' ? { ...transport, payload: PAYLOAD } : transport;
}

function readRaw(frame: Uint8Array): RawPacket {
  const packet = new RawPacket();
  packet.read(frame, frame.length);
  return packet;
}

function modelOf({ spec, way, behind, allows }: PlannedService): ServiceModel {
  const { port = 0, portMax = port } = spec;
  const endpoints = spec.endpoints.map((endpoint): EndpointModel => {
    const number = Number.parseInt(endpoint.address.replace(/^.*[.:]/, ''), 10);
    const { mac } = host(SERVER_SIDE, behind, number);
    return {
      address: ipBytes(endpoint.address),
      source: endpoint.source === undefined ? undefined : ipBytes(endpoint.source),
      self: ipBytes(endpoint.self ?? '::'),
      port: endpoint.port ?? ENDPOINT_PORT,
      ports: endpoint.ports ?? 1,
      shift: ((endpoint.flags ?? 0) & LbEndpointFlags.LB_EP_PORT_SHIFT) !== 0,
      macs: joinBytes(macBytes(mac), macBytes(SERVER_SIDE.mac)),
    };
  });
  return { vip: ipBytes(spec.address), protocol: spec.protocol, first: port, last: portMax, way, endpoints, allows };
}

const BATCH = 2048;
const keys = new Uint8Array(64 * BATCH);
const values = new Uint8Array(2048 * BATCH);
const cursor = new Uint8Array(64);

/** Takes all elements out of a hash table, thousands at a time. */
function clearTable(fd: number): void {
  const attribute = new DataView(new ArrayBuffer(64));
  for (let first = true; ; first = false) {
    if (!first) attribute.setBigUint64(0, addressOf(cursor), true);
    attribute.setBigUint64(8, addressOf(cursor), true);
    attribute.setBigUint64(16, addressOf(keys), true);
    attribute.setBigUint64(24, addressOf(values), true);
    attribute.setUint32(32, BATCH, true);
    attribute.setUint32(36, fd, true);
    if (bpf(LOOKUP_AND_DELETE_BATCH, new Uint8Array(attribute.buffer)) < 0) return;
  }
}
