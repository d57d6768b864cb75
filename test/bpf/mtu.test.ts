/** Packets larger than the way to the other side: path MTU discovery has to find out through the service. */
import { describe, expect, it } from 'vitest';
import { VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import {
  CLIENT_SIDE,
  hostAddress,
  NARROW_MTU,
  NARROW_SIDE,
  ROUTE_MTU,
  ROUTED,
  ROUTER,
  SERVER_SIDE,
  STRANGER,
} from './network.js';
import { buildFrame } from './reference/build.js';
import { type Packet, TCP, tcp, udp } from './reference/packet.js';
import { randomBytes, seeded } from './reference/random.js';
import { translate } from './reference/translate.js';
import {
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  expectForwarded,
  expectPacket,
  type Family,
  type Host,
  host,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const random = seeded(3);

function tooBig(family: Family, mtu: number) {
  return family === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: mtu };
}

describePath('path MTU', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client } = scene(family);
    const narrow = host(NARROW_SIDE, family, 11);
    const overhead = family === 4 ? 20 : 40;
    const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
    /** A datagram whose IP packet has this length. */
    const datagram = (length: number): Packet =>
      packetFrom(client, vip, udp({ ...ports, payload: randomBytes(random, length - overhead - 8) }));
    const add = (endpoint: string, source = '::') => {
      const protocol = protocolNumber(family, 'udp');
      bench().addService({ address: vip, port: SERVICE_PORT, protocol, endpoints: [{ address: endpoint, source }] });
    };
    const to = (server: Host) => {
      return { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    };

    it('what just fits goes through', () => {
      add(narrow.address);
      for (let round = 0; round < 3; round++) {
        const packet = datagram(NARROW_MTU);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, to(narrow)));
      }
    });

    it('one byte more is answered with the MTU, first packet and later', () => {
      add(narrow.address);
      for (let round = 0; round < 2; round++) {
        const packet = datagram(NARROW_MTU + 1);
        expectErrorAbout(bench().receive(packet, CLIENT_SIDE), packet, tooBig(family, NARROW_MTU));
        const small = datagram(100);
        expectForwarded(bench().receive(small, CLIENT_SIDE), translate(small, to(narrow)));
      }
      expect(bench().path.counters()).toMatchObject({ DROP_TOO_BIG: 2, EVENT_FLOW_CREATED: 1 });
    });

    it('the first packet too, when the MAC address of the endpoint is not known yet', () => {
      const stranger = hostAddress(NARROW_SIDE.addresses[family === 4 ? 0 : 1], STRANGER);
      add(stranger);
      const packet = datagram(NARROW_MTU + 1);
      expectErrorAbout(bench().receive(packet, CLIENT_SIDE), packet, tooBig(family, NARROW_MTU));
      expect(bench().path.counters()).toMatchObject({ DROP_TOO_BIG: 1 });
    });

    it("the route's MTU counts when it is below the device's", () => {
      const [network = ''] = (ROUTED.narrowRoute[family === 4 ? 0 : 1] ?? '').split('/');
      const far = family === 4 ? hostAddress(network, 7) : `${network}7`;
      add(far);
      const packet = datagram(ROUTE_MTU + 1);
      expectErrorAbout(bench().receive(packet, CLIENT_SIDE), packet, tooBig(family, ROUTE_MTU));
      const fits = datagram(ROUTE_MTU);
      const router = host(SERVER_SIDE, family, ROUTER);
      const change = { destination: { address: far, port: ENDPOINT_PORT }, hop: departure(router), hops: 1 };
      expectForwarded(bench().receive(fits, CLIENT_SIDE), translate(fits, change));
    });

    it('the answer of an endpoint may be too big as well', () => {
      add(narrow.address);
      const request = datagram(100);
      bench().receive(request, CLIENT_SIDE);
      const peers = { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT };
      const reply = packetFrom(
        narrow,
        client.address,
        udp({ ...peers, payload: randomBytes(random, 1501 - overhead - 8) }),
      );
      expectErrorAbout(bench().receive(reply, NARROW_SIDE), reply, tooBig(family, 1500));
    });

    it('super-packets count by their segments', () => {
      const protocol = protocolNumber(family, 'tcp');
      bench().addService({ address: vip, port: SERVICE_PORT, protocol, endpoints: [{ address: narrow.address }] });
      bench().receive(packetFrom(client, vip, tcp({ ...ports, flags: TCP.syn })), CLIENT_SIDE);
      const headers = overhead + 20;
      const big = packetFrom(client, vip, tcp({ ...ports, flags: TCP.ack, payload: randomBytes(random, 2800) }));
      const fits = bench().receive(big, CLIENT_SIDE, { gsoSize: NARROW_MTU - headers });
      expectForwarded(fits, translate(big, to(narrow)));
      const exceeds = bench().receive(big, CLIENT_SIDE, { gsoSize: NARROW_MTU - headers + 1 });
      expectErrorAbout(exceeds, big, tooBig(family, NARROW_MTU));
    });
  });

  it('without "do not fragment" the kernel gets the translated packet to fragment', () => {
    const { vip, client } = scene(4);
    const narrow = host(NARROW_SIDE, 4, 11);
    bench().addService({ address: vip, port: SERVICE_PORT, protocol: 17, endpoints: [{ address: narrow.address }] });
    const payload = randomBytes(random, 1450);
    const plain = packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload }));
    const packet: Packet = { ...plain, ip: { ...plain.ip, version: 4, dontFragment: false } as Packet['ip'] };
    for (let round = 0; round < 2; round++) {
      const result = bench().receive(packet, CLIENT_SIDE);
      expectPacket(result, translate(packet, { destination: { address: narrow.address, port: ENDPOINT_PORT } }));
      expect(result.verdict).toBe(VERDICT.next);
    }
    expect(buildFrame(packet).length).toBe(14 + 1478);
  });

  it('what may be fragmented and has a source of our own is given to the kernel by lo, the only place it is taken', () => {
    const { vip, client, self } = scene(4);
    const narrow = host(NARROW_SIDE, 4, 11);
    const endpoints = [{ address: narrow.address, source: self }];
    bench().addService({ address: vip, port: SERVICE_PORT, protocol: 17, endpoints });
    const payload = randomBytes(random, 1450);
    const plain = packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload }));
    const packet: Packet = { ...plain, ip: { ...plain.ip, version: 4, dontFragment: false } as Packet['ip'] };
    const result = bench().receive(packet, CLIENT_SIDE);
    const lo = '00:00:00:00:00:00';
    const source = { address: self, port: CLIENT_PORT };
    const destination = { address: narrow.address, port: ENDPOINT_PORT };
    expectPacket(result, translate(packet, { source, destination, hop: { source: lo, destination: lo } }));
    expect(result.verdict).toBe(VERDICT.redirect);
  });
});
