/** One mode, loaded: services, flows that exist, packets to damage, and what may become of them. */

import { DpCounter } from '../../../core/dataplane/layout.gen.js';
import { addressOf, bpf } from '../../../core/dataplane/sys/libc.js';
import { LbEndpointFlags } from '../../../plugins/lb/layout.gen.js';
import { CLIENT_SIDE, type Device, SERVER_SIDE } from '../network.js';
import { ipBytes, ipText, macBytes } from '../reference/address.js';
import { buildFrame } from '../reference/build.js';
import { fragment } from '../reference/fragment.js';
import { joinBytes, type Packet, type Transport } from '../reference/packet.js';
import { RawPacket } from '../reference/raw.js';
import { type Bench, ENDPOINT_PORT, type Family, type Host, host, packetFrom, type ServiceSpec } from '../scenario.js';
import { FastRun } from './fast-run.js';
import { Judge } from './judge.js';
import { type EndpointModel, Model, type ServiceModel } from './model.js';
import { type Mode, type MutatedProtocol, type PlannedService, planServices } from './modes.js';
import { type Dice, mutate } from './mutate.js';
import { errorAbout, type Ports, segmentsOfClient, segmentsOfEndpoint, serverAt } from './segments.js';
import { withoutSum, withSumOfZero } from './sums.js';

interface Sample {
  readonly frame: Uint8Array;
  readonly device: Device;
}

interface Opening extends Sample {
  readonly client: Host;
  readonly service: ServiceSpec;
  readonly ports: Ports;
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
  private readonly openings: Opening[] = [];
  /** What follows the first packets until the flows are established. */
  private readonly handshakes: Sample[] = [];
  private readonly samples: Sample[] = [];
  private established = false;

  constructor(
    private readonly bench: Bench,
    readonly mode: Mode,
    private readonly family: Family,
    protocol: MutatedProtocol,
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
    for (const sample of this.openings) this.addSamples(sample);
    if (mode.sums) this.addSums();
  }

  /**
   * Nothing but the first flows, as at the beginning; `established` or just opened. Throws when one of their packets is
   * not right.
   */
  refresh(established = this.established): void {
    this.established = established;
    const { maps } = this.bench.path;
    for (const map of [maps.flows, maps.pending, maps.fragments, maps.heldFragments, maps.associations, maps.offers])
      clearTable(map.fd);
    maps.halfOpen.zero(0);
    for (const id of this.serviceIds) maps.serviceStates.change(id, { cursor: 0 });
    this.model.forget();
    this.judge.stale = false;
    for (const sample of established ? [...this.openings, ...this.handshakes] : this.openings) {
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

  /** The first packet of each client's flow to each service. */
  private makeOpenings(): void {
    const clients = [10, 11].map((number) => host(CLIENT_SIDE, this.family, number));
    for (const { spec } of this.services) {
      if (spec.endpoints.length === 0) continue;
      const port = spec.portMax === undefined ? (spec.port ?? 0) : (spec.port ?? 0) + 4;
      clients.forEach((client, index) => {
        const ports = { own: CLIENT_PORTS[index] ?? 0, peer: port, salt: this.openings.length + 1 };
        const [first] = segmentsOfClient(protocolOf(spec.protocol), ports).all;
        const frame = buildFrame(packetFrom(client, spec.address, first as Transport));
        this.openings.push({ frame, device: CLIENT_SIDE, client, service: spec, ports });
      });
    }
  }

  /** What each flow's packets look like, in both directions; found by the flows that the openings have made. */
  private addSamples({ frame, client, service, ports }: Opening): void {
    const direction = this.model.flows.get(this.model.keyOf(readRaw(frame)));
    if (!direction) throw new Error(`no flow of ${client.address} to ${service.address}`);
    const protocol = protocolOf(service.protocol);
    const asked = segmentsOfClient(protocol, ports);
    const requests = this.push(
      asked.all.map((segment) => packetFrom(client, service.address, segment)),
      CLIENT_SIDE,
    );
    const answered = segmentsOfEndpoint(protocol, { own: direction.dport, peer: direction.sport, salt: ports.salt });
    if (direction.otherKey === undefined) {
      const past = segmentsOfEndpoint(protocol, { own: ports.peer, peer: ports.own }).all[0] as Transport;
      const router = host(CLIENT_SIDE, this.family, 30);
      this.push([errorAbout(service.address, client.address, past, router)], CLIENT_SIDE);
      this.handshakes.push(...requests.slice(1, asked.handshake));
      return;
    }
    const server = serverAt(ipText(direction.destination));
    const seen = ipText(direction.source);
    const replies = this.push(
      answered.all.map((segment) => packetFrom(server, seen, segment)),
      SERVER_SIDE,
    );
    const sent = segmentsOfClient(protocol, { own: direction.sport, peer: direction.dport }).all[0] as Transport;
    this.push([errorAbout(seen, server.address, sent, server)], SERVER_SIDE);
    for (let turn = 0; turn < Math.max(asked.handshake, answered.handshake + 1); turn++) {
      if (turn > 0) this.handshakes.push(...requests.slice(turn, Math.min(turn + 1, asked.handshake)));
      this.handshakes.push(...replies.slice(turn, Math.min(turn + 1, answered.handshake)));
    }
  }

  /** Each packet once more with either checksum. */
  private addSums(): void {
    for (const { frame, device } of [...this.samples]) {
      const packet = readRaw(frame);
      const direction = packet.protocol === 17 ? this.model.flows.get(this.model.keyOf(packet)) : undefined;
      if (!direction) continue;
      this.samples.push({ frame: withoutSum(packet), device }, { frame: withSumOfZero(packet, direction), device });
    }
  }

  /** The whole packets; parts of them are samples too where the mode is about those. */
  private push(packets: readonly Packet[], device: Device): Sample[] {
    return packets.map((packet) => {
      const parts = this.mode.fragments && packet.transport.kind !== 'error' ? fragment(packet, 40, 1) : [];
      const [whole, ...rest] = [packet, ...parts].map((one) => ({ frame: buildFrame(one), device }));
      this.samples.push(whole as Sample, ...rest);
      return whole as Sample;
    });
  }
}

function protocolOf(number: number): MutatedProtocol {
  return ({ 6: 'tcp', 17: 'udp', 132: 'sctp' } as const)[number] ?? 'icmp';
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
