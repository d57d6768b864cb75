/** Direct server return through a tunnel: the packet reaches the endpoint whole, inside one from this machine. */
import { describe, expect, it } from 'vitest';
import { CtNat, CtSpecial, CtTcpState } from '../../plugins/conntrack/layout.gen.js';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addDsrService } from './dsr.js';
import { type RunResult, VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import {
  CLIENT_SIDE,
  hostAddress,
  ip,
  NARROW_MTU,
  NARROW_SIDE,
  neighborMac,
  ROUTE_MTU,
  ROUTED,
  ROUTER,
  SERVER_SIDE,
  STRANGER,
} from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { ipHeader, type Packet, TCP, text, udp } from './reference/packet.js';
import { randomBytes, seeded } from './reference/random.js';
import type { Hop } from './reference/translate.js';
import { encapsulate, tunnelOverhead } from './reference/tunnel.js';
import {
  answer,
  CLIENT_PORT,
  departure,
  describePath,
  EVERY_KIND,
  expectForwarded,
  expectUntouched,
  type Family,
  host,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
  TICKS_PER_SECOND,
} from './scenario.js';

const { LB_EP_TUNNEL } = LbEndpointFlags;

const EVERY_TUNNEL = EVERY_KIND.flatMap((kind) => ([4, 6] as const).map((outer) => ({ ...kind, outer })));

/** An address in a network of `ROUTED`. */
function routed(networks: readonly [string, string], family: Family): string {
  const [network = ''] = (networks[family === 4 ? 0 : 1] ?? '').split('/');
  return family === 4 ? hostAddress(network, 7) : `${network}7`;
}

function expectTunnelled(result: RunResult, packet: Packet, outer: Family, destination: string, hop: Hop): void {
  // Where the outer packet may be fragmented its identification is the sender's choice.
  const [high = 0, low = 0] = result.frame.subarray(18, 20);
  const identification = outer === 4 ? (high << 8) | low : 0;
  const source = scene(outer).self;
  expectForwarded(result, encapsulate(packet, { source, destination, hop, identification }));
}

describePath('L3-DSR', (bench) => {
  describe.each(EVERY_TUNNEL)('IPv$family $protocol in IPv$outer', ({ family, protocol, outer }) => {
    const { vip, client } = scene(family);
    const { endpoint, self } = scene(outer);
    const server = endpoint(0);
    const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
    const flags = family === outer ? LB_EP_TUNNEL : 0;
    const add = (address = server.address) => addDsrService(bench(), family, protocol, [{ address, self, flags }]);
    const expectSent = (packet: Packet) =>
      expectTunnelled(bench().receive(packet, CLIENT_SIDE), packet, outer, server.address, departure(server));

    it('puts the packet into another, first and later', () => {
      add();
      for (let round = 0; round < 12; round++) expectSent(request);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_TUNNELLED: 12 });
      const from = { address: client.address, port: CLIENT_PORT };
      const to = { address: vip, port: protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT };
      const flow = bench().findFlow(protocolNumber(family, protocol), from, to);
      expect(flow).toMatchObject({ nat: CtNat.CT_NAT_DSR, nsaddr: self, ndaddr: server.address });
      expect(flow?.special).toBe(CtSpecial.CT_SPECIAL_DSR | CtSpecial.CT_SPECIAL_TUNNEL | CtSpecial.CT_SPECIAL_FORCED);
    });

    it('every traffic class is copied, ECN with it', () => {
      add();
      for (let value = 0; value < 256; value++) {
        expectSent(packetFrom(client, vip, request.transport, { tos: value, trafficClass: value }));
      }
    });

    it('takes one hop off the inner packet', () => {
      add();
      for (const ttl of [2, 3, 64, 65, 128, 255]) expectSent(packetFrom(client, vip, request.transport, { ttl }));
    });

    it('a spent TTL is answered', () => {
      add();
      for (const ttl of [0, 1]) {
        const packet = packetFrom(client, vip, request.transport, { ttl });
        const kind = family === 4 ? { type: 11, code: 0, rest: 0 } : { type: 3, code: 0, rest: 0 };
        expectErrorAbout(bench().receive(packet, CLIENT_SIDE), packet, kind);
      }
      expect(bench().path.counters()).toMatchObject({ DROP_TTL_EXCEEDED: 2 });
    });

    it('options, flow label and padding stay with the inner packet', () => {
      add();
      expectSent({ ...request, trailer: text('Ethernet padding') });
      const options = Uint8Array.of(0x94, 4, 0, 0);
      expectSent(packetFrom(client, vip, request.transport, { options, flowLabel: 0x54321 }));
    });

    it('is in the way of the router where the endpoint is behind one', () => {
      const far = routed(ROUTED.viaRouter, outer);
      add(far);
      const router = departure(host(SERVER_SIDE, outer, ROUTER));
      for (let round = 0; round < 2; round++) {
        expectTunnelled(bench().receive(request, CLIENT_SIDE), request, outer, far, router);
      }
    });

    it('an ICMP error about what the endpoint sent goes to the endpoint the same way', () => {
      add();
      bench().receive(request, CLIENT_SIDE);
      const sent = ipHeader({ source: vip, destination: client.address, ttl: 3 });
      const quote = buildIp(sent, answer(protocol, SERVICE_PORT, CLIENT_PORT));
      const kind = family === 4 ? { type: 3, code: 4, rest: 1300 } : { type: 2, code: 0, rest: 1300 };
      const error = packetFrom(host(CLIENT_SIDE, family, 20), vip, { kind: 'error', ...kind, quote });
      expectSent(error);
      expect(bench().path.counters().EVENT_ICMP_RELAYED).toBe(1);
    });

    it('a neighbour whose MAC address is not known is asked for by the kernel', () => {
      const address = hostAddress(SERVER_SIDE.addresses[outer === 4 ? 0 : 1], STRANGER);
      add(address);
      const result = bench().receive(request, CLIENT_SIDE);
      // The kernel writes the MAC addresses.
      const known = { ...result, frame: Uint8Array.from([...new Uint8Array(12), ...result.frame.subarray(12)]) };
      const zero = '00:00:00:00:00:00';
      expectTunnelled(known, request, outer, address, { source: zero, destination: zero });
    });

    it.each([
      ['no address', '::'],
      ['an address of the other family only', scene(outer === 4 ? 6 : 4).self],
    ])('%s of this machine towards the endpoint: dropped and counted', (_name, own) => {
      addDsrService(bench(), family, protocol, [{ address: server.address, self: own, flags }]);
      for (let round = 0; round < 2; round++) {
        const result = bench().receive(request, CLIENT_SIDE);
        expect(result.verdict).toBe(VERDICT.drop);
      }
      expect(bench().path.counters()).toMatchObject({ DROP_TUNNEL: 2 });
    });

    it.each([
      ['a blackhole', routed(ROUTED.blackhole, outer)],
      ['no route', outer === 4 ? '192.0.2.7' : '2001:db8:dead::7'],
    ])('%s towards the endpoint: dropped and counted', (_name, address) => {
      add(address);
      expect(bench().receive(request, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      const drops = Object.keys(bench().path.counters()).filter((name) => name.startsWith('DROP_'));
      expect(drops).toHaveLength(1);
    });
  });

  describe.each([
    [4, 4],
    [6, 4],
    [4, 6],
    [6, 6],
  ] as const)('IPv%d in IPv%d', (family, outer) => {
    const { vip, client } = scene(family);
    const random = seeded(family * 10 + outer);
    const headers = (family === 4 ? 20 : 40) + 8;
    const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
    const datagram = (length: number, fields = {}): Packet =>
      packetFrom(client, vip, udp({ ...ports, payload: randomBytes(random, length - headers) }), fields);
    const add = (address: string, protocol: Protocol = 'udp') => {
      const flags = family === outer ? LB_EP_TUNNEL : 0;
      addDsrService(bench(), family, protocol, [{ address, self: scene(outer).self, flags }]);
    };
    // No IPv6 host takes less than the least MTU of IPv6 from a router (RFC 2473 7.1, RFC 8200 5).
    const tooBig = (mtu: number) =>
      family === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: Math.max(mtu, 1280) };

    it('what does not fit with its outer header is answered with the MTU inside', () => {
      const narrow = host(NARROW_SIDE, outer, 11);
      add(narrow.address);
      const limit = NARROW_MTU - tunnelOverhead(narrow.address);
      for (let round = 0; round < 3; round++) {
        const fits = datagram(limit);
        expectTunnelled(bench().receive(fits, CLIENT_SIDE), fits, outer, narrow.address, departure(narrow));
        const exceeds = datagram(limit + 1);
        expectErrorAbout(bench().receive(exceeds, CLIENT_SIDE), exceeds, tooBig(limit));
      }
      expect(bench().path.counters()).toMatchObject({ DROP_TOO_BIG: 3, EVENT_FLOW_CREATED: 1 });
    });

    it("the route's MTU counts when it is below the device's", () => {
      const far = routed(ROUTED.narrowRoute, outer);
      add(far);
      const limit = ROUTE_MTU - tunnelOverhead(far);
      const exceeds = datagram(limit + 1);
      expectErrorAbout(bench().receive(exceeds, CLIENT_SIDE), exceeds, tooBig(limit));
      const fits = datagram(limit);
      const router = departure(host(SERVER_SIDE, outer, ROUTER));
      expectTunnelled(bench().receive(fits, CLIENT_SIDE), fits, outer, far, router);
    });

    describe('a router farther on that cannot pass the outer packet', () => {
      const far = routed(ROUTED.viaRouter, outer);
      const { self } = scene(outer);
      const router = host(SERVER_SIDE, outer, ROUTER);
      const LEAST = outer === 4 ? 576 : 1280;
      /** What the router says about a packet in the tunnel. */
      const complaint = (mtu: number, about = datagram(1000)): Packet => {
        const { ip: header, transport } = encapsulate(about, {
          source: self,
          destination: far,
          hop: departure(router),
        });
        const kind = outer === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: mtu };
        const quote = buildIp(header, transport).slice(0, 128);
        return packetFrom(router, self, { kind: 'error', ...kind, quote });
      };
      const open = (known = true) => {
        add(far);
        if (known) bench().path.maps.addresses.set(far, { uses: 1 });
        const packet = datagram(1000);
        expectTunnelled(bench().receive(packet, CLIENT_SIDE), packet, outer, far, departure(router));
      };
      /** The way is looked up again every two seconds; here at once. */
      const lookAgain = () => bench().path.maps.control.change(0, { generation: 2 });
      const expectLimit = (mtu: number) => {
        const limit = mtu - tunnelOverhead(far);
        const fits = datagram(limit);
        expectTunnelled(bench().receive(fits, CLIENT_SIDE), fits, outer, far, departure(router));
        const exceeds = datagram(limit + 1);
        expectErrorAbout(bench().receive(exceeds, CLIENT_SIDE), exceeds, tooBig(limit));
      };

      it('is believed, and the kernel hears it too', () => {
        open();
        const said = complaint(1380);
        expectUntouched(bench().receive(said, SERVER_SIDE), buildFrame(said));
        lookAgain();
        expectLimit(1380);
      });

      it('but not for more than the way out has, nor for less than any link', () => {
        open();
        bench().receive(complaint(1480), SERVER_SIDE);
        bench().receive(complaint(9000), SERVER_SIDE);
        lookAgain();
        expectLimit(1500);
        bench().receive(complaint(68), SERVER_SIDE);
        bench().path.maps.control.change(0, { generation: 3 });
        expectLimit(LEAST);
      });

      it('for ten minutes', () => {
        open();
        bench().receive(complaint(1380), SERVER_SIDE);
        const { tunnelMtus } = bench().path.maps;
        tunnelMtus.change(far, { seen: (tunnelMtus.need(far).seen - 599 * TICKS_PER_SECOND) >>> 0 });
        lookAgain();
        expectLimit(1380);
        tunnelMtus.change(far, { seen: (tunnelMtus.need(far).seen - 2 * TICKS_PER_SECOND) >>> 0 });
        bench().path.maps.control.change(0, { generation: 3 });
        expectLimit(1500);
      });

      it('and not about an address that is no endpoint', () => {
        open(false);
        bench().receive(complaint(1380), SERVER_SIDE);
        lookAgain();
        expectLimit(1500);
        expect(bench().path.maps.tunnelMtus.keys()).toEqual([]);
      });

      it('nor when it only says that the endpoint is not there', () => {
        open();
        const error = complaint(1380);
        const kind = outer === 4 ? { type: 3, code: 1, rest: 1380 } : { type: 1, code: 0, rest: 1380 };
        bench().receive({ ...error, transport: { ...error.transport, ...kind } as Packet['transport'] }, SERVER_SIDE);
        expect(bench().path.maps.tunnelMtus.keys()).toEqual([]);
      });
    });

    it('any length up to that has a right length and checksum', () => {
      const server = scene(outer).endpoint(0);
      add(server.address);
      for (let length = headers; length < headers + 70; length++) {
        const packet = datagram(length);
        expectTunnelled(bench().receive(packet, CLIENT_SIDE), packet, outer, server.address, departure(server));
      }
    });

    it('states of TCP go by what the client sends', () => {
      const server = scene(outer).endpoint(0);
      add(server.address, 'tcp');
      const peers = [
        { address: client.address, port: CLIENT_PORT },
        { address: vip, port: SERVICE_PORT },
      ] as const;
      const steps = [
        [TCP.syn, CtTcpState.CT_TCP_SYN_SENT],
        [TCP.ack, CtTcpState.CT_TCP_EST],
        [TCP.fin | TCP.ack, CtTcpState.CT_TCP_CLOSED_WAIT],
      ] as const;
      for (const [flags, state] of steps) {
        const packet = packetFrom(client, vip, opening('tcp', CLIENT_PORT, SERVICE_PORT, { flags }));
        expectTunnelled(bench().receive(packet, CLIENT_SIDE), packet, outer, server.address, departure(server));
        expect(bench().findFlow(6, ...peers)?.state).toBe(state);
      }
    });
  });

  it('without "do not fragment" the outer packet has none either, and an identification', () => {
    const { vip, client, endpoint, self } = scene(4);
    const server = endpoint(0);
    addDsrService(bench(), 4, 'udp', [{ address: server.address, self, flags: LB_EP_TUNNEL }]);
    const packet = packetFrom(client, vip, opening('udp', CLIENT_PORT, SERVICE_PORT), { dontFragment: false });
    const seen = new Set<number>();
    for (let round = 0; round < 20; round++) {
      const result = bench().receive(packet, CLIENT_SIDE);
      expectTunnelled(result, packet, 4, server.address, departure(server));
      seen.add(new DataView(result.frame.buffer, result.frame.byteOffset).getUint16(18));
    }
    // Fragments of different packets are told apart by it (RFC 6864 4.1).
    expect(seen.size).toBeGreaterThan(15);
  });

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client, self } = scene(family);
    const request = packetFrom(client, vip, opening('udp', CLIENT_PORT, SERVICE_PORT));
    const far = routed(ROUTED.viaRouter, family);
    const router = departure(host(SERVER_SIDE, family, ROUTER));

    it('behind a gateway the tunnel is taken without being asked for', () => {
      addDsrService(bench(), family, 'udp', [{ address: far, self }]);
      for (let round = 0; round < 3; round++) {
        expectTunnelled(bench().receive(request, CLIENT_SIDE), request, family, far, router);
      }
    });

    it('and left when the endpoint becomes a neighbour, and taken again', () => {
      addDsrService(bench(), family, 'udp', [{ address: far, self }]);
      expectTunnelled(bench().receive(request, CLIENT_SIDE), request, family, far, router);
      const prefix = `${far}/${family === 4 ? 32 : 128}`;
      const mac = neighborMac(SERVER_SIDE, 39);
      ip('route', 'add', prefix, 'dev', SERVER_SIDE.name);
      ip('neigh', 'replace', far, 'lladdr', mac, 'dev', SERVER_SIDE.name, 'nud', 'permanent');
      bench().path.maps.control.change(0, { generation: 2 });
      const direct = { ...request, ethernet: { source: SERVER_SIDE.mac, destination: mac } };
      for (let round = 0; round < 2; round++) expectForwarded(bench().receive(request, CLIENT_SIDE), direct);
      ip('route', 'del', prefix, 'dev', SERVER_SIDE.name);
      bench().path.maps.control.change(0, { generation: 3 });
      expectTunnelled(bench().receive(request, CLIENT_SIDE), request, family, far, router);
    });

    it('the MTU follows that change', () => {
      addDsrService(bench(), family, 'udp', [{ address: far, self }]);
      const payload = new Uint8Array(1500 - (family === 4 ? 28 : 48));
      const full = packetFrom(client, vip, udp({ sourcePort: 5, destinationPort: SERVICE_PORT, payload }));
      const limit = 1500 - tunnelOverhead(far);
      const kind = family === 4 ? { type: 3, code: 4, rest: limit } : { type: 2, code: 0, rest: limit };
      expectErrorAbout(bench().receive(full, CLIENT_SIDE), full, kind);
    });
  });
});
