/** Services of a range of ports, and endpoints with a span of them. */
import { describe, expect, it } from 'vitest';
import { LbControlFlags, LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addDsrService } from './dsr.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import type { Packet } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { translate } from './reference/translate.js';
import {
  answer,
  type Bench,
  departure,
  describePath,
  expectForwarded,
  expectUntouched,
  type Host,
  host,
  opening,
  packetFrom,
  protocolNumber,
  type ServiceSpec,
  scene,
} from './scenario.js';

const { LB_EP_PORT_SHIFT } = LbEndpointFlags;

const KINDS = ([4, 6] as const).flatMap((family) =>
  (['tcp', 'udp'] as const).map((protocol) => ({ family, protocol })),
);

type Kind = (typeof KINDS)[number];

/** Ports of a range worth asking for: its ends, its blocks' ends, and some between. */
function probes(first: number, last: number): number[] {
  const wanted = [first, first + 1, (first + last) >> 1, last - 1, last];
  for (let power = 1; power < 65_536; power *= 2) wanted.push(power - 1, power);
  return [...new Set(wanted.filter((port) => port >= first && port <= last))];
}

function request(kind: Kind, servicePort: number, clientPort: number, client?: Host): Packet {
  const { vip, client: usual } = scene(kind.family);
  return packetFrom(client ?? usual, vip, opening(kind.protocol, clientPort, servicePort));
}

function addRange(bench: Bench, { family, protocol }: Kind, fields: Partial<ServiceSpec>) {
  const { vip, endpoint } = scene(family);
  const spec = {
    address: vip,
    protocol: protocolNumber(family, protocol),
    endpoints: [{ address: endpoint(0).address }],
  };
  return bench.addService({ ...spec, ...fields });
}

/** What the endpoint gets: its port is the same as asked for unless given. */
function sentTo(packet: Packet, server: Host, port: number): Packet {
  return translate(packet, { destination: { address: server.address, port }, hop: departure(server), hops: 1 });
}

/** The answer from an endpoint's port comes back from the port that was asked. */
function expectAnswer(
  bench: Bench,
  kind: Kind,
  server: Host,
  ports: { endpoint: number; client: number; service: number },
) {
  const { vip, client } = scene(kind.family);
  const reply = packetFrom(server, client.address, answer(kind.protocol, ports.endpoint, ports.client));
  const source = { address: vip, port: ports.service };
  expectForwarded(bench.receive(reply, server.device), translate(reply, { source, hop: departure(client), hops: 1 }));
}

describePath('port ranges', (bench) => {
  describe.each(KINDS)('IPv$family $protocol', (kind) => {
    const { family, protocol } = kind;
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const number = protocolNumber(family, protocol);
    const expectPassed = (packet: Packet) => expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));

    it.each([
      [8080, 8081],
      [5000, 5300],
      [1, 65_535],
      [1, 1],
      [65_535, 65_535],
      [1023, 1025],
      [32_767, 32_769],
    ])('%d to %d: every port of it and no other, there and back', (first, last) => {
      addRange(bench(), kind, { port: first, portMax: last, endpoints: [{ address: server.address, port: 9000 }] });
      for (const [index, port] of probes(first, last).entries()) {
        const packet = request(kind, port, 20_000 + index);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, 9000));
        expectAnswer(bench(), kind, server, { endpoint: 9000, client: 20_000 + index, service: port });
      }
      for (const outside of [first - 1, last + 1, 0]) {
        if (outside >= 0 && outside <= 65_535) expectPassed(request(kind, outside, 30_000));
      }
    });

    it('other addresses, protocols and families stay out of it', () => {
      addRange(bench(), kind, { port: 1, portMax: 65_535 });
      const elsewhere = packetFrom(client, self, opening(protocol, 1, 5000));
      expectPassed(elsewhere);
      expectPassed(request({ family, protocol: protocol === 'tcp' ? 'udp' : 'tcp' }, 5000, 1));
      expectPassed(request({ family: family === 4 ? 6 : 4, protocol }, 5000, 1));
      expectPassed(packetFrom(client, vip, opening('icmp', 1, 0)));
    });

    it('a service of the very port comes first', () => {
      addRange(bench(), kind, { port: 5000, portMax: 5100 });
      addRange(bench(), kind, { port: 5050, endpoints: [{ address: endpoint(1).address, port: 7 }] });
      for (const port of [5049, 5050, 5051]) {
        const packet = request(kind, port, port);
        const expected = port === 5050 ? sentTo(packet, endpoint(1), 7) : sentTo(packet, server, 8080);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), expected);
      }
    });

    it('a narrower range comes before a wider one', () => {
      addRange(bench(), kind, { port: 4096, portMax: 8191 });
      addRange(bench(), kind, { port: 5000, portMax: 5007, endpoints: [{ address: endpoint(1).address, port: 7 }] });
      for (const port of [4999, 5000, 5007, 5008]) {
        const packet = request(kind, port, port);
        const inner = port >= 5000 && port <= 5007;
        expectForwarded(
          bench().receive(packet, CLIENT_SIDE),
          inner ? sentTo(packet, endpoint(1), 7) : sentTo(packet, server, 8080),
        );
      }
    });

    it('a mark chooses among ranges, and one without a mark takes the rest', () => {
      addRange(bench(), kind, { port: 5000, portMax: 5100 });
      addRange(bench(), kind, {
        port: 5000,
        portMax: 5100,
        mark: 7,
        endpoints: [{ address: endpoint(1).address, port: 7 }],
      });
      for (const [index, mark] of [0, 7, 8, 0xffffffff].entries()) {
        const packet = request(kind, 5010, 1000 + index);
        const expected = mark === 7 ? sentTo(packet, endpoint(1), 7) : sentTo(packet, server, 8080);
        expectForwarded(bench().receive(packet, CLIENT_SIDE, { mark }), expected);
      }
    });

    it('a range with a mark is for packets with it only', () => {
      addRange(bench(), kind, { port: 5000, portMax: 5100, mark: 7 });
      expectPassed(request(kind, 5010, 1));
      const marked = request(kind, 5010, 2);
      expectForwarded(bench().receive(marked, CLIENT_SIDE, { mark: 7 }), sentTo(marked, server, 8080));
    });

    const RANKED = [
      { what: 'the port with the mark', port: 5050, mark: 7 },
      { what: 'a range with the mark', port: 5000, portMax: 5100, mark: 7 },
      { what: 'the port', port: 5050 },
      { what: 'a range', port: 5000, portMax: 5100 },
    ];
    const SETS = Array.from({ length: 16 }, (_, bits) => RANKED.filter((_, rank) => bits & (1 << rank)));

    it.each(SETS.map((set) => [set.map(({ what }) => what).join(', ') || 'nothing', set] as const))(
      'first the mark, then the port: of %s',
      (_, set) => {
        for (const { what, ...place } of set) {
          const rank = RANKED.findIndex((one) => one.what === what);
          addRange(bench(), kind, { ...place, endpoints: [{ address: endpoint(rank).address, port: 100 + rank }] });
        }
        for (const [index, mark] of [7, 8, 0].entries()) {
          const packet = request(kind, 5050, 1000 + index);
          const [first] = set.filter((one) => one.mark === undefined || one.mark === mark);
          const rank = first ? RANKED.indexOf(first) : 0;
          const result = bench().receive(packet, CLIENT_SIDE, { mark });
          if (first) expectForwarded(result, sentTo(packet, endpoint(rank), 100 + rank));
          else expectUntouched(result, buildFrame(packet));
        }
      },
    );

    it('what the service that comes first refuses goes to no other', () => {
      addRange(bench(), kind, { port: 5050, mark: 7, endpoints: [{ address: server.address, active: false }] });
      addRange(bench(), kind, { port: 5000, portMax: 5100 });
      expect(bench().receive(request(kind, 5050, 1), CLIENT_SIDE, { mark: 7 }).verdict).toBe(VERDICT.redirect);
      expect(bench().path.counters()).toMatchObject({ DROP_NO_ENDPOINT: 1 });
    });

    it('ranges are not looked for while there are said to be none', () => {
      addRange(bench(), kind, { port: 5000, portMax: 5100 });
      bench().path.maps.lbControl.set(0, { flags: 0 });
      expectPassed(request(kind, 5010, 1));
      bench().path.maps.lbControl.set(0, { flags: LbControlFlags.LB_HAS_RANGES });
      const packet = request(kind, 5010, 2);
      expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, 8080));
    });

    it('a flow keeps its endpoint and port when its range is gone', () => {
      addRange(bench(), kind, { port: 5000, portMax: 5100 });
      const packet = request(kind, 5010, 1);
      bench().receive(packet, CLIENT_SIDE);
      bench().path.maps.ranges.clear();
      expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, 8080));
      expectPassed(request(kind, 5011, 1));
    });

    it('one client port to two ports of the service is two flows', () => {
      addRange(bench(), kind, { port: 8080, portMax: 8081, endpoints: [{ address: server.address, port: 32_015 }] });
      const first = request(kind, 8080, 40_000);
      expectForwarded(bench().receive(first, CLIENT_SIDE), sentTo(first, server, 32_015));
      const second = request(kind, 8081, 40_000);
      const result = bench().receive(second, CLIENT_SIDE);
      const { transport } = parseFrame(result.frame);
      const port = transport.kind === 'tcp' || transport.kind === 'udp' ? transport.sourcePort : 0;
      // Both would look alike to the endpoint: the second gets another source port.
      expect(port).not.toBe(40_000);
      expect(port).toBeGreaterThanOrEqual(1024);
      const source = { address: client.address, port };
      const destination = { address: server.address, port: 32_015 };
      expectForwarded(result, translate(second, { source, destination, hop: departure(server), hops: 1 }));
      for (const [from, service] of [
        [40_000, 8080],
        [port, 8081],
      ] as const) {
        const reply = packetFrom(server, client.address, answer(protocol, 32_015, from));
        const back = {
          source: { address: vip, port: service },
          destination: { address: client.address, port: 40_000 },
        };
        expectForwarded(
          bench().receive(reply, server.device),
          translate(reply, { ...back, hop: departure(client), hops: 1 }),
        );
      }
      expect(bench().path.counters().EVENT_PORT_TRANSLATED).toBe(1);
    });

    it('shifted: the n-th port of the service is the n-th of the endpoint', () => {
      const endpoints = [{ address: server.address, port: 15_201, ports: 100, flags: LB_EP_PORT_SHIFT }];
      addRange(bench(), kind, { port: 5201, portMax: 5300, endpoints });
      for (let n = 0; n < 100; n++) {
        const packet = request(kind, 5201 + n, 40_000);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, 15_201 + n));
        expectAnswer(bench(), kind, server, { endpoint: 15_201 + n, client: 40_000, service: 5201 + n });
      }
      expectPassed(request(kind, 5301, 40_000));
    });

    it('shifted to lower ports, and all of them', () => {
      const endpoints = [{ address: server.address, port: 1, ports: 65_535, flags: LB_EP_PORT_SHIFT }];
      addRange(bench(), kind, { port: 1, portMax: 65_535, endpoints });
      for (const port of probes(1, 65_535)) {
        const packet = request(kind, port, 40_000);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, port));
      }
    });

    it('a span: each flow has a port of it for life, and all are used alike', () => {
      const span = { first: 5201, count: 100 };
      const endpoints = [{ address: server.address, port: span.first, ports: span.count }];
      addRange(bench(), kind, { port: 5000, endpoints });
      const FLOWS = 4000;
      const uses = new Map<number, number>();
      for (let flow = 0; flow < FLOWS; flow++) {
        const packet = request(kind, 5000, 1024 + flow);
        const result = bench().receive(packet, CLIENT_SIDE);
        const port = new DataView(result.frame.buffer, result.frame.byteOffset).getUint16(family === 4 ? 36 : 56);
        uses.set(port, (uses.get(port) ?? 0) + 1);
        expectForwarded(result, sentTo(packet, server, port));
        if (flow % 40 !== 0) continue;
        expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, port));
        expectAnswer(bench(), kind, server, { endpoint: port, client: 1024 + flow, service: 5000 });
      }
      const ports = [...uses.keys()].sort((a, b) => a - b);
      expect(ports).toEqual(Array.from({ length: span.count }, (_, index) => span.first + index));
      // 40 each, give or take: five times the deviation of a fair die.
      const deviation = 5 * Math.sqrt(FLOWS / span.count);
      for (const count of uses.values()) expect(Math.abs(count - FLOWS / span.count)).toBeLessThan(deviation);
    });

    it('endpoint and port of a span are chosen apart', () => {
      const servers = [0, 1, 2, 3].map(endpoint);
      const endpoints = servers.map(({ address }) => ({ address, port: 5200, ports: 4 }));
      const slots = Array.from({ length: 252 }, (_, index) => index % 4);
      addRange(bench(), kind, { port: 5000, endpoints, slots, select: 1 });
      const pairs = new Map<string, number>();
      for (let flow = 0; flow < 1600; flow++) {
        const { frame } = bench().receive(request(kind, 5000, 1024 + flow), CLIENT_SIDE);
        const { ip, transport } = parseFrame(frame);
        const port = transport.kind === 'tcp' || transport.kind === 'udp' ? transport.destinationPort : 0;
        const pair = `${ip.destination} ${port}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
      }
      expect(pairs.size).toBe(16);
      for (const count of pairs.values()) expect(count).toBeGreaterThan(50);
    });

    it('a count of 0 or 1 is one port', () => {
      for (const [index, ports] of [0, 1].entries()) {
        addRange(bench(), kind, { port: 100 + index, endpoints: [{ address: server.address, port: 9, ports }] });
        for (let flow = 0; flow < 20; flow++) {
          const packet = request(kind, 100 + index, 1000 + flow + 100 * index);
          expectForwarded(bench().receive(packet, CLIENT_SIDE), sentTo(packet, server, 9));
        }
      }
    });

    it('onearm over a range: every client keeps its flow apart', () => {
      const endpoints = [{ address: server.address, source: self, port: 7000, ports: 11, flags: LB_EP_PORT_SHIFT }];
      addRange(bench(), kind, { port: 6000, portMax: 6010, endpoints, mode: 1 });
      const clients = [11, 12].map((n) => host(CLIENT_SIDE, family, n));
      for (const one of clients) {
        for (let n = 0; n <= 10; n++) {
          const packet = request(kind, 6000 + n, 40_000, one);
          const result = bench().receive(packet, CLIENT_SIDE);
          const port = new DataView(result.frame.buffer, result.frame.byteOffset).getUint16(family === 4 ? 34 : 54);
          const source = { address: self, port };
          const destination = { address: server.address, port: 7000 + n };
          expectForwarded(result, translate(packet, { source, destination, hop: departure(server), hops: 1 }));
          const reply = packetFrom(server, self, answer(protocol, 7000 + n, port));
          const back = {
            source: { address: vip, port: 6000 + n },
            destination: { address: one.address, port: 40_000 },
          };
          expectForwarded(
            bench().receive(reply, server.device),
            translate(reply, { ...back, hop: departure(one), hops: 1 }),
          );
        }
      }
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 22, EVENT_PORT_TRANSLATED: 11 });
    });

    it('DSR keeps the port, whichever of the range', () => {
      addDsrService(bench(), family, protocol, [{ address: server.address, self, port: 100, ports: 900 }], {
        port: 100,
        portMax: 999,
      });
      for (const port of [100, 101, 555, 999]) {
        const packet = request(kind, port, 40_000);
        expectForwarded(bench().receive(packet, CLIENT_SIDE), { ...packet, ethernet: departure(server) });
      }
      expectPassed(request(kind, 1000, 40_000));
    });

    it('a range without an endpoint refuses', () => {
      addRange(bench(), kind, { port: 6000, portMax: 6010, endpoints: [{ address: server.address, active: false }] });
      expect(bench().receive(request(kind, 6005, 1), CLIENT_SIDE).verdict).toBe(VERDICT.redirect);
      expect(bench().path.counters()).toMatchObject({ DROP_NO_ENDPOINT: 1 });
      expect(
        bench().findFlow(number, { address: client.address, port: 1 }, { address: vip, port: 6005 }),
      ).toBeUndefined();
    });
  });
});
