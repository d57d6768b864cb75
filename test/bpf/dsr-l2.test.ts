/** Direct server return to a neighbour: nothing of the packet changes but its MAC addresses. */
import { describe, expect, it } from 'vitest';
import { CtFlags, CtNat, CtSpecial, CtTcpState, CtUdpState } from '../../plugins/conntrack/layout.gen.js';
import { addDsrService } from './dsr.js';
import { VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import {
  CLIENT_SIDE,
  hostAddress,
  ip,
  NARROW_MTU,
  NARROW_SIDE,
  neighborMac,
  ROUTED,
  SERVER_SIDE,
  STRANGER,
} from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { ipHeader, type Packet, TCP, TCP_OPTION, type Tcp, text, udp } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import {
  answer,
  CLIENT_PORT,
  departure,
  describePath,
  EVERY_KIND,
  expectForwarded,
  expectUntouched,
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

/** What a neighbour gets. */
function handedTo(packet: Packet, server: Host): Packet {
  return { ...packet, ethernet: departure(server) };
}

describePath('L2-DSR', (bench) => {
  const segment = (family: Family, flags: number, fields: Partial<Tcp> = {}, clientPort = CLIENT_PORT): Packet => {
    const { vip, client } = scene(family);
    return packetFrom(client, vip, opening('tcp', clientPort, SERVICE_PORT, { flags, ...fields }));
  };

  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const number = protocolNumber(family, protocol);
    const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
    const from = { address: client.address, port: CLIENT_PORT };
    const to = { address: vip, port: protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT };
    const add = () => addDsrService(bench(), family, protocol, [{ address: server.address, self }]);

    it('changes the MAC addresses only, first packet and later', () => {
      add();
      for (let round = 0; round < 12; round++) {
        expectForwarded(bench().receive(request, CLIENT_SIDE), handedTo(request, server));
      }
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1 });
      expect(bench().path.counters().EVENT_TUNNELLED).toBeUndefined();
    });

    it('knows one direction only', () => {
      const [id = 0] = add().endpointIds;
      bench().receive(request, CLIENT_SIDE);
      const tables = bench().tables();
      expect(tables.flatMap((table) => table.keys())).toHaveLength(1);
      const flow = bench().findFlow(number, from, to);
      expect(flow).toMatchObject({ nat: CtNat.CT_NAT_DSR, special: CtSpecial.CT_SPECIAL_DSR, endpointId: id });
      expect((flow?.flags ?? 0) & (CtFlags.CT_ONE_WAY | CtFlags.CT_REPLY)).toBe(CtFlags.CT_ONE_WAY);
    });

    it('whatever the TTL, the options, the traffic class or the padding', () => {
      add();
      const fields =
        family === 4
          ? [{ tos: 0xb9 }, { options: Uint8Array.of(0x94, 4, 0, 0) }, { dontFragment: false, identification: 7 }]
          : [{ trafficClass: 0xb9, flowLabel: 0x12345 }];
      for (const ipFields of [{ ttl: 1 }, { ttl: 2 }, { ttl: 255 }, ...fields]) {
        const packet = packetFrom(client, vip, request.transport, ipFields);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), handedTo(packet, server));
      }
      const padded = { ...request, trailer: text('Ethernet padding') };
      expectForwarded(bench().receive(padded, CLIENT_SIDE), handedTo(padded, server));
    });

    it('what the endpoint sends to a client is no business of ours', () => {
      add();
      bench().receive(request, CLIENT_SIDE);
      for (const source of [vip, server.address]) {
        const port = source === vip ? SERVICE_PORT : 8080;
        const reply = packetFrom(server, client.address, answer(protocol, port, CLIENT_PORT), { source });
        expectUntouched(bench().receive(reply, SERVER_SIDE), buildFrame(reply));
      }
    });

    it('counts packets, bytes and flows of the endpoint', () => {
      const [id = 0] = add().endpointIds;
      for (let round = 0; round < 3; round++) bench().receive(request, CLIENT_SIDE);
      const copies = bench().path.maps.endpointStats.getAll(id) ?? [];
      const sum = (field: 'packets' | 'bytes' | 'flows') => copies.reduce((all, copy) => all + copy[field], 0n);
      expect([sum('packets'), sum('bytes'), sum('flows')]).toEqual([
        3n,
        BigInt(3 * (buildFrame(request).length - 14)),
        1n,
      ]);
    });

    it('an ICMP error about what the endpoint sent to the client goes to the endpoint as it is', () => {
      add();
      bench().receive(request, CLIENT_SIDE);
      const router = host(CLIENT_SIDE, family, 20);
      const sent = buildIp(
        ipHeader({ source: vip, destination: client.address, ttl: 3 }),
        answer(protocol, SERVICE_PORT, CLIENT_PORT),
      );
      const kinds =
        family === 4
          ? [
              { type: 3, code: 4, rest: 1280 },
              { type: 11, code: 0, rest: 0 },
            ]
          : [
              { type: 2, code: 0, rest: 1280 },
              { type: 3, code: 0, rest: 0 },
            ];
      for (const kind of kinds) {
        for (const length of [sent.length, (family === 4 ? 20 : 40) + 8]) {
          const error = packetFrom(router, vip, { kind: 'error', ...kind, quote: sent.slice(0, length) }, { ttl: 1 });
          expectForwarded(bench().receive(error, CLIENT_SIDE), handedTo(error, server));
        }
      }
      expect(bench().path.counters().EVENT_ICMP_RELAYED).toBe(4);
    });

    it('an ICMP error about nothing of ours passes', () => {
      add();
      bench().receive(request, CLIENT_SIDE);
      const sent = buildIp(
        ipHeader({ source: vip, destination: host(CLIENT_SIDE, family, 15).address }),
        answer(protocol, SERVICE_PORT, CLIENT_PORT),
      );
      const kind = family === 4 ? { type: 3, code: 1, rest: 0 } : { type: 1, code: 3, rest: 0 };
      const error = packetFrom(host(CLIENT_SIDE, family, 20), vip, { kind: 'error', ...kind, quote: sent });
      expectUntouched(bench().receive(error, CLIENT_SIDE), buildFrame(error));
    });

    it('flows survive the loss of the table: any packet hashes to where its flow began', () => {
      const servers = Array.from({ length: 7 }, (_, index) => endpoint(index));
      addDsrService(
        bench(),
        family,
        protocol,
        servers.map(({ address }) => ({ address, self })),
      );
      const chosen = new Map<number, string>();
      for (let port = 1000; port < 1200; port++) {
        const first = packetFrom(client, vip, opening(protocol, port, SERVICE_PORT));
        const { ethernet } = parseFrame(bench().receive(first, CLIENT_SIDE).frame);
        chosen.set(port, ethernet.destination);
      }
      expect(new Set(chosen.values())).toEqual(new Set(servers.map(({ mac }) => mac)));
      const middle = [TCP.ack, TCP.ack | TCP.psh, TCP.fin | TCP.ack, TCP.rst, TCP.syn];
      for (const [port, mac] of chosen) {
        bench().forgetFlows();
        const transport = opening(protocol, port, SERVICE_PORT, { flags: middle[port % middle.length] ?? TCP.ack });
        const packet = packetFrom(client, vip, transport);
        const ethernet = { source: SERVER_SIDE.mac, destination: mac };
        expectForwarded(bench().receive(packet, CLIENT_SIDE), { ...packet, ethernet });
      }
    });

    it('an endpoint whose MAC address is not known yet is asked for by the kernel', () => {
      const address = hostAddress(SERVER_SIDE.addresses[family === 4 ? 0 : 1], STRANGER);
      addDsrService(bench(), family, protocol, [{ address, self }]);
      for (let round = 0; round < 2; round++) {
        const result = bench().receive(request, CLIENT_SIDE);
        expect(result.verdict).toBe(VERDICT.redirect);
        expect(parseFrame(result.frame)).toMatchObject({ ip: request.ip, transport: request.transport });
      }
      const mac = neighborMac(SERVER_SIDE, STRANGER);
      const neighbour = [address, 'dev', SERVER_SIDE.name];
      ip('neigh', 'replace', ...neighbour, 'lladdr', mac, 'nud', 'permanent');
      const known = bench().receive(request, CLIENT_SIDE);
      ip('neigh', 'del', ...neighbour);
      expectForwarded(known, { ...request, ethernet: { source: SERVER_SIDE.mac, destination: mac } });
    });

    it('an endpoint without a route gets nothing, and that is counted', () => {
      const [blackhole = '', blackhole6 = ''] = ROUTED.blackhole.map((prefix) => prefix.split('/')[0]);
      const address = family === 4 ? hostAddress(blackhole, 7) : `${blackhole6}7`;
      addDsrService(bench(), family, protocol, [{ address, self }]);
      expect(bench().receive(request, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      expect(bench().path.counters()).toMatchObject({ DROP_UNREACHABLE: 1 });
    });

    it('nor does one that no route leads to', () => {
      const address = family === 4 ? '192.0.2.7' : '2001:db8:dead::7';
      addDsrService(bench(), family, protocol, [{ address, self }]);
      expect(bench().receive(request, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      const drops = Object.keys(bench().path.counters()).filter((name) => name.startsWith('DROP_'));
      expect(drops).toHaveLength(1);
    });
  });

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const peers = [
      { address: client.address, port: CLIENT_PORT },
      { address: vip, port: SERVICE_PORT },
    ] as const;
    const add = (protocol: Protocol) =>
      addDsrService(bench(), family, protocol, [{ address: server.address, self }]).endpointIds[0] ?? 0;
    const send = (packet: Packet) => expectForwarded(bench().receive(packet, CLIENT_SIDE), handedTo(packet, server));
    const state = (protocol: Protocol) => bench().findFlow(protocolNumber(family, protocol), ...peers)?.state;
    const counts = (id: number) => {
      const { active, pending } = bench().path.maps.endpointFlows.need(id);
      return { active, pending };
    };

    it('TCP by what the client sends: SYN, ACK, data, FIN', () => {
      const id = add('tcp');
      send(segment(family, TCP.syn, { options: TCP_OPTION.windowScale(7) }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(counts(id)).toEqual({ active: 0, pending: 1 });
      send(segment(family, TCP.ack, { sequence: 1001, acknowledgment: 500_001 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_EST);
      expect(counts(id)).toEqual({ active: 1, pending: 0 });
      expect(bench().path.counters().EVENT_FLOW_CONFIRMED).toBe(1);
      send(segment(family, TCP.ack | TCP.psh, { sequence: 1001, acknowledgment: 500_001, payload: text('GET /') }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_EST);
      send(segment(family, TCP.fin | TCP.ack, { sequence: 1006, acknowledgment: 500_101 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      send(segment(family, TCP.ack, { sequence: 1007, acknowledgment: 500_102 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_FLOW_CLOSED: 1 });
    });

    it('a reset of the client ends the flow, and a SYN begins it anew', () => {
      const id = add('tcp');
      send(segment(family, TCP.syn));
      send(segment(family, TCP.ack, { sequence: 1001, acknowledgment: 500_001 }));
      send(segment(family, TCP.rst, { sequence: 1001 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      send(segment(family, TCP.syn, { sequence: 90_000 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(2);
      expect(counts(id)).toEqual({ active: 0, pending: 1 });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 1 });
    });

    it('a SYN again is the same flow', () => {
      add('tcp');
      for (let round = 0; round < 3; round++) send(segment(family, TCP.syn, { sequence: 1000 + round }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
    });

    it('a flow met in its middle is established by the second segment', () => {
      const id = add('tcp');
      for (let round = 0; round < 2; round++)
        send(segment(family, TCP.ack, { sequence: 70_000 + round, acknowledgment: 80_000 }));
      expect(state('tcp')).toBe(CtTcpState.CT_TCP_EST);
      expect(counts(id)).toEqual({ active: 1, pending: 0 });
    });

    it('UDP is established after more than eight packets', () => {
      const id = add('udp');
      const packet = packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT }));
      for (let count = 1; count <= 10; count++) send(packet);
      expect(state('udp')).toBe(CtUdpState.CT_UDP_EST);
      expect(counts(id)).toEqual({ active: 1, pending: 0 });
    });

    it('what just fits the way goes, one byte more is answered with its MTU', () => {
      const narrow = host(NARROW_SIDE, family, 11);
      const overhead = family === 4 ? 20 : 40;
      const random = seeded(family);
      addDsrService(bench(), family, 'udp', [{ address: narrow.address, self: NARROW_SIDE.addresses[0] }]);
      const datagram = (length: number) => {
        const payload = randomBytes(random, length - overhead - 8);
        return packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload }));
      };
      for (let round = 0; round < 2; round++) {
        const fits = datagram(NARROW_MTU);
        expectForwarded(bench().receive(fits, CLIENT_SIDE), handedTo(fits, narrow));
        const exceeds = datagram(NARROW_MTU + 1);
        const kind = family === 4 ? { type: 3, code: 4, rest: NARROW_MTU } : { type: 2, code: 0, rest: NARROW_MTU };
        expectErrorAbout(bench().receive(exceeds, CLIENT_SIDE), exceeds, kind);
      }
    });

    it('super-packets go as they are when their segments fit', () => {
      add('tcp');
      send(segment(family, TCP.syn));
      const big = segment(family, TCP.ack, { payload: randomBytes(seeded(9), 2800), sequence: 1001 });
      expectForwarded(bench().receive(big, CLIENT_SIDE, { gsoSize: 1400 }), handedTo(big, server));
    });
  });
});
