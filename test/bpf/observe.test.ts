/** What `observe` shows: packets that were dropped, given to the kernel, or changed a flow's state; while somebody asks. */
import { describe, expect, it } from 'vitest';
import { DpCounter, DpObserveKinds } from '../../core/dataplane/layout.gen.js';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addPlainService, conversation } from './conversation.js';
import { addDsrService } from './dsr.js';
import { CLIENT_SIDE, hostAddress, NARROW_SIDE, ROUTED } from './network.js';
import { ipBytes } from './reference/address.js';
import { buildFrame } from './reference/build.js';
import { fragment } from './reference/fragment.js';
import { EXTENSION, ipHeader, type Packet, TCP, udp } from './reference/packet.js';
import {
  CLIENT_PORT,
  describePath,
  type Family,
  host,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const { DP_OBSERVE_DROPS, DP_OBSERVE_PASSES, DP_OBSERVE_EVENTS } = DpObserveKinds;
const EVERYTHING = DP_OBSERVE_DROPS | DP_OBSERVE_PASSES | DP_OBSERVE_EVENTS;

type Reason = keyof typeof DpCounter;

interface Event {
  readonly time: bigint;
  readonly reason: Reason | undefined;
  readonly serviceId: number;
  readonly endpointId: number;
  readonly ifindex: number;
  readonly length: number;
  readonly sport: number;
  readonly dport: number;
  readonly source: string;
  readonly destination: string;
  readonly proto: number;
  readonly tcpFlags: number;
}

/** IPv4 as IPv4-mapped IPv6, in hexadecimal. */
function sixteen(address: string): string {
  return Buffer.from(ipBytes(address))
    .toString('hex')
    .padStart(32, address.includes(':') ? '0' : '00000000000000000000ffff');
}

/** A record as bpf/maps/dataplane.h lays it out. */
function readEvent(record: Uint8Array): Event {
  expect(record.length).toBe(72);
  expect([...record.subarray(66)]).toEqual([0, 0, 0, 0, 0, 0]);
  const view = new DataView(record.buffer, record.byteOffset);
  const word = (at: number) => view.getUint32(at, true);
  const [reason] = Object.entries(DpCounter).find(([, number]) => number === word(8)) ?? [];
  const text = (at: number) => Buffer.from(record.subarray(at, at + 16)).toString('hex');
  return {
    time: view.getBigUint64(0, true),
    reason: reason as Reason | undefined,
    serviceId: word(12),
    endpointId: word(16),
    ifindex: word(20),
    length: word(24),
    sport: view.getUint16(28),
    dport: view.getUint16(30),
    source: text(32),
    destination: text(48),
    proto: view.getUint8(64),
    tcpFlags: view.getUint8(65),
  };
}

describePath('observe', (bench) => {
  const watch = (fields: { kinds?: number; sample?: number; serviceId?: number } = {}) =>
    bench().path.maps.observe.set(0, { kinds: EVERYTHING, sample: 0, serviceId: 0, lost: 0, ...fields });
  const events = () => bench().path.drain('dp_event').map(readEvent);
  const reasons = () => events().map(({ reason }) => reason);
  const plain = (family: Family, clientPort = CLIENT_PORT): Packet => {
    const { vip, client } = scene(family);
    return packetFrom(client, vip, opening('udp', clientPort, SERVICE_PORT));
  };
  const refuseAll = (family: Family, address = scene(family).vip) =>
    bench().addService({ address, port: SERVICE_PORT, protocol: 17, endpoints: [], sources: [] });

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client, endpoint } = scene(family);

    it.each([
      ['tcp', TCP.syn],
      ['udp', 0],
    ] as const)('tells what of %s packet it was', (protocol, tcpFlags) => {
      const { id, endpointIds } = addPlainService(bench(), family, protocol);
      watch();
      const { request } = conversation(family, protocol);
      bench().receive(request, CLIENT_SIDE);
      const [event, ...rest] = events();
      expect(rest).toEqual([]);
      const { time, ...fields } = event as Event;
      expect(fields).toEqual({
        reason: 'EVENT_FLOW_CREATED',
        serviceId: id,
        endpointId: endpointIds[0],
        ifindex: bench().network.ifindex(CLIENT_SIDE),
        length: buildFrame(request).length - 14,
        sport: CLIENT_PORT,
        dport: SERVICE_PORT,
        source: sixteen(client.address),
        destination: sixteen(vip),
        proto: protocolNumber(family, protocol),
        tcpFlags,
      });
      // CLOCK_MONOTONIC, which Node's clock is too.
      const age = process.hrtime.bigint() - time;
      expect(age).toBeGreaterThanOrEqual(0n);
      expect(age).toBeLessThan(2_000_000_000n);
    });

    it('nothing while nobody watches', () => {
      addPlainService(bench(), family, 'udp');
      refuseAll(family, endpoint(5).address);
      watch({ kinds: 0 });
      bench().receive(plain(family), CLIENT_SIDE);
      bench().receive(packetFrom(client, endpoint(5).address, plain(family).transport), CLIENT_SIDE);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, DROP_SOURCE: 1 });
      expect(events()).toEqual([]);
      expect(bench().path.maps.observe.need(0).lost).toBe(0);
    });

    it('only the kinds asked for', () => {
      addPlainService(bench(), family, 'tcp');
      refuseAll(family);
      const middle = packetFrom(client, vip, opening('tcp', 7, SERVICE_PORT, { flags: TCP.ack }));
      const shown = (kinds: number) => {
        watch({ kinds });
        bench().forgetFlows();
        bench().receive(conversation(family, 'tcp').request, CLIENT_SIDE);
        bench().receive(plain(family), CLIENT_SIDE);
        bench().receive(middle, CLIENT_SIDE);
        return reasons();
      };
      expect(shown(DP_OBSERVE_DROPS)).toEqual(['DROP_SOURCE']);
      expect(shown(DP_OBSERVE_PASSES)).toEqual(['PASS_NO_FLOW']);
      expect(shown(DP_OBSERVE_EVENTS)).toEqual(['EVENT_FLOW_CREATED']);
      expect(shown(EVERYTHING)).toEqual(['EVENT_FLOW_CREATED', 'DROP_SOURCE', 'PASS_NO_FLOW']);
    });

    it('only the service asked for', () => {
      const other = family === 4 ? '20.20.20.9' : '2001:db8:20::9';
      const { id } = refuseAll(family);
      refuseAll(family, other);
      watch({ serviceId: id });
      for (const to of [vip, other, vip]) bench().receive(packetFrom(client, to, plain(family).transport), CLIENT_SIDE);
      const seen = events();
      expect(seen.map(({ serviceId }) => serviceId)).toEqual([id, id]);
      expect(seen.map(({ destination }) => destination)).toEqual([sixteen(vip), sixteen(vip)]);
    });

    it('one of so many', () => {
      refuseAll(family);
      for (const [sample, least, most] of [
        [0, 1000, 1000],
        [1, 1000, 1000],
        [10, 50, 170],
      ] as const) {
        watch({ sample });
        for (let port = 1; port <= 1000; port++) bench().receive(plain(family, port), CLIENT_SIDE);
        const count = events().length;
        expect(count).toBeGreaterThanOrEqual(least);
        expect(count).toBeLessThanOrEqual(most);
      }
    });

    it('what there is no room for is counted as lost', () => {
      refuseAll(family);
      watch();
      const PACKETS = 5000;
      for (let sent = 0; sent < PACKETS; sent++) bench().receive(plain(family, 1 + sent), CLIENT_SIDE);
      const { lost } = bench().path.maps.observe.need(0);
      expect(lost).toBeGreaterThan(0);
      expect(events().length + lost).toBe(PACKETS);
    });

    it('packets of an established flow are no events', () => {
      addPlainService(bench(), family, 'udp');
      const { request, reply } = conversation(family, 'udp');
      for (let round = 0; round < 10; round++) {
        bench().receive(request, CLIENT_SIDE);
        bench().receive(reply, endpoint(0).device);
      }
      watch();
      for (let round = 0; round < 10; round++) {
        bench().receive(request, CLIENT_SIDE);
        bench().receive(reply, endpoint(0).device);
      }
      expect(events()).toEqual([]);
    });

    /** Whatever the counters say about a packet, `observe` shows. */
    describe('shows each packet that is counted as dropped, passed or changing a flow', () => {
      const big = packetFrom(
        client,
        vip,
        udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload: new Uint8Array(1410) }),
      );
      const blackhole = () => {
        const [network = ''] = ROUTED.blackhole[family === 4 ? 0 : 1].split('/');
        return family === 4 ? hostAddress(network, 7) : `${network}7`;
      };
      const service = (address: string, fields = {}) =>
        bench().addService({ address: vip, port: SERVICE_PORT, protocol: 17, endpoints: [{ address }], ...fields });
      const spent = { ...plain(family), ip: { ...plain(family).ip, ttl: 1 } };
      const long = packetFrom(
        client,
        vip,
        udp({ sourcePort: 9, destinationPort: SERVICE_PORT, payload: new Uint8Array(900) }),
      );
      const later = () => fragment(long, 400, 77)[1] as Packet;
      const cases: readonly (readonly [Reason, () => unknown, () => Packet])[] = [
        ['DROP_NO_ENDPOINT', () => service(vip, { slots: [] }), () => plain(family)],
        ['DROP_SOURCE', () => refuseAll(family), () => plain(family)],
        ['DROP_UNREACHABLE', () => service(blackhole()), () => plain(family)],
        ['DROP_TTL_EXCEEDED', () => service(endpoint(0).address), () => spent],
        ['DROP_TOO_BIG', () => service(host(NARROW_SIDE, family, 11).address), () => big],
        [
          'DROP_TUNNEL',
          () =>
            addDsrService(bench(), family, 'udp', [
              { address: endpoint(0).address, flags: LbEndpointFlags.LB_EP_TUNNEL },
            ]),
          () => plain(family),
        ],
        ['PASS_FRAGMENT', () => service(endpoint(0).address), later],
        ['EVENT_FRAGMENT_HELD', () => bench().path.maps.addresses.set(vip, { uses: 1 }), later],
      ];

      it.each(cases)('%s', (reason, arrange, packet) => {
        arrange();
        watch();
        bench().receive(packet(), CLIENT_SIDE);
        expect(bench().path.counters()[reason]).toBe(1);
        expect(reasons().filter((one) => one === reason)).toEqual([reason]);
      });

      it('headers that do not fit', () => {
        watch();
        const frame = buildFrame(plain(family));
        new DataView(frame.buffer).setUint16(family === 4 ? 16 : 18, family === 4 ? 24 : 4);
        bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) });
        expect(bench().path.counters()).toEqual({ PASS_TRUNCATED: 1 });
        expect(reasons()).toEqual(['PASS_TRUNCATED']);
      });

      it('a flow that both sides have confirmed', () => {
        const { id } = addPlainService(bench(), family, 'udp');
        const { request, reply } = conversation(family, 'udp');
        bench().receive(request, CLIENT_SIDE);
        watch();
        bench().receive(reply, endpoint(0).device);
        expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CONFIRMED: 1 });
        expect(events()).toMatchObject([{ reason: 'EVENT_FLOW_CONFIRMED', serviceId: id }]);
      });
    });
  });

  it('more extension headers than are walked', () => {
    watch();
    const { vip, client } = scene(6);
    const body = Uint8Array.of(1, 4, 0, 0, 0, 0);
    const extensions = Array.from({ length: 12 }, () => ({ type: EXTENSION.destination, body }));
    const ip = ipHeader({ source: client.address, destination: vip, extensions });
    bench().receive({ ...plain(6), ip }, CLIENT_SIDE);
    expect(bench().path.counters()).toEqual({ PASS_IP_OPTIONS: 1 });
    expect(reasons()).toEqual(['PASS_IP_OPTIONS']);
  });
});
