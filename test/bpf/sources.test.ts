/** Services that are for some clients only. */
import { describe, expect, it } from 'vitest';
import { DpCounter } from '../../core/dataplane/layout.gen.js';
import { addDsrService } from './dsr.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { type Packet, TCP } from './reference/packet.js';
import { translate } from './reference/translate.js';
import {
  answer,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  type Family,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  type ServiceSpec,
  scene,
} from './scenario.js';

/** Prefixes with an address each that is just inside, and one that is just outside. */
const EDGES: Record<Family, readonly (readonly [prefix: string, inside: readonly string[], outside: string[]])[]> = {
  4: [
    ['10.20.30.40/32', ['10.20.30.40'], ['10.20.30.41', '10.20.30.39']],
    ['10.20.30.0/25', ['10.20.30.0', '10.20.30.127'], ['10.20.30.128', '10.20.29.255']],
    ['10.20.30.4/30', ['10.20.30.4', '10.20.30.7'], ['10.20.30.8', '10.20.30.3']],
    ['10.16.0.0/12', ['10.16.0.0', '10.31.255.255'], ['10.32.0.0', '10.15.255.255']],
    ['128.0.0.0/1', ['128.0.0.1', '200.1.2.3'], ['126.255.255.254', '1.2.3.4']],
    ['0.0.0.0/0', ['1.2.3.4', '200.1.2.3'], []],
  ],
  6: [
    ['2001:db8:5::40/128', ['2001:db8:5::40'], ['2001:db8:5::41']],
    ['2001:db8:5::/64', ['2001:db8:5::1', '2001:db8:5::ffff:ffff:ffff:ffff'], ['2001:db8:5:1::1', '2001:db8:4::1']],
    ['2001:db8:5::/47', ['2001:db8:4::1', '2001:db8:5::1'], ['2001:db8:6::1', '2001:db8:3::1']],
    ['2000::/3', ['2001:db8:5::1', '3fff::1'], ['4000::1', '1fff::1']],
    ['::/0', ['2001:db8:5::1', 'fd00::1'], []],
  ],
};

describePath('allowed sources', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint } = scene(family);
    const server = endpoint(0);
    const destination = { address: server.address, port: ENDPOINT_PORT };
    const from = (source: string, port = 40_000): Packet =>
      packetFrom(client, vip, opening(protocol, port, SERVICE_PORT), { source });
    const add = (fields: Partial<ServiceSpec>) =>
      bench().addService({
        address: vip,
        port: protocol === 'icmp' ? 0 : SERVICE_PORT,
        protocol: protocolNumber(family, protocol),
        endpoints: [{ address: server.address }],
        ...fields,
      });
    const expectAllowed = (packet: Packet) =>
      expectForwarded(
        bench().receive(packet, CLIENT_SIDE),
        translate(packet, { destination, hop: departure(server), hops: 1 }),
      );
    const expectRefused = (packet: Packet) => {
      const before = bench().path.counters();
      const result = bench().receive(packet, CLIENT_SIDE);
      expect(result.verdict).toBe(VERDICT.drop);
      expect(Buffer.from(result.frame)).toEqual(Buffer.from(buildFrame(packet)));
      expect(bench().path.counters()).toEqual({ ...before, DROP_SOURCE: (before.DROP_SOURCE ?? 0) + 1 });
    };

    it.each(EDGES[family])('%s', (prefix, inside, outside) => {
      add({ sources: [prefix] });
      for (const address of inside) expectAllowed(from(address));
      for (const address of outside) expectRefused(from(address));
      expect(bench().flowCount().confirmed + bench().flowCount().pending).toBe(2 * inside.length);
    });

    it('any of several prefixes, one inside another too', () => {
      const prefixes = EDGES[family].map(([prefix]) => prefix).slice(0, 3);
      add({ sources: prefixes });
      for (const [, inside] of EDGES[family].slice(0, 3)) for (const address of inside) expectAllowed(from(address));
      expectRefused(from(family === 4 ? '10.99.99.99' : '2001:db8:99::99'));
    });

    it('thousands of prefixes', () => {
      const { id } = add({ sources: [] });
      const address = (n: number) =>
        family === 4 ? `10.${100 + (n >> 8)}.${n & 255}.1` : `2001:db8:${(0x1000 + n).toString(16)}::1`;
      for (let n = 0; n < 4000; n += 2) bench().allowSource(id, `${address(n)}/${family === 4 ? 24 : 48}`);
      for (let n = 0; n < 4000; n += 97) {
        if (n % 2 === 0) expectAllowed(from(address(n)));
        else expectRefused(from(address(n)));
      }
    });

    it('nobody while there is no prefix', () => {
      add({ sources: [] });
      expectRefused(from(client.address));
    });

    it('everybody without the flag, whatever prefixes there are', () => {
      const { id } = add({});
      bench().allowSource(id, family === 4 ? '10.20.30.40/32' : '2001:db8:5::40/128');
      expectAllowed(from(client.address));
    });

    it("one service's prefixes are not another's", () => {
      const other = family === 4 ? '20.20.20.2' : '2001:db8:20::2';
      const [mine, theirs] = family === 4 ? ['10.20.30.40', '10.20.30.41'] : ['2001:db8:5::40', '2001:db8:5::41'];
      const first = add({ sources: [mine ?? ''] });
      const second = add({ address: other, sources: [theirs ?? ''] });
      const toOther = (source: string) => packetFrom(client, other, opening(protocol, 1, SERVICE_PORT), { source });
      expectAllowed(from(mine ?? '', 1));
      expectRefused(from(theirs ?? '', 1));
      expectRefused(toOther(mine ?? ''));
      expectRefused(toOther(mine ?? ''));
      const packets = ({ id }: { id: number }) => bench().path.serviceDrops(id, DpCounter.DROP_SOURCE);
      expect([packets(first), packets(second)]).toEqual([1, 2]);
    });

    it('a prefix of the other family allows nothing', () => {
      add({ sources: [family === 4 ? '2001:db8::/32' : '0.0.0.0/0'] });
      expectRefused(from(client.address));
    });

    it('is asked when a flow begins, not after', () => {
      const prefix = family === 4 ? '10.20.30.40/32' : '2001:db8:5::40/128';
      const source = prefix.split('/')[0] ?? '';
      add({ sources: [prefix] });
      expectAllowed(from(source));
      bench().path.maps.sources.clear();
      expectAllowed(from(source));
      expectRefused(from(source, 40_001));
      const reply = packetFrom(server, source, answer(protocol, ENDPOINT_PORT, 40_000));
      expect(bench().receive(reply, server.device).verdict).not.toBe(VERDICT.drop);
    });

    it('DSR asks too, packets in the middle of a flow included', () => {
      addDsrService(bench(), family, protocol, [{ address: server.address }], { sources: [`${client.address}`] });
      const allowed = from(client.address);
      expectForwarded(bench().receive(allowed, CLIENT_SIDE), { ...allowed, ethernet: departure(server) });
      const stranger = family === 4 ? '10.20.30.40' : '2001:db8:5::40';
      expectRefused(from(stranger));
      const middle = opening(protocol, 5, SERVICE_PORT, { flags: TCP.ack });
      expectRefused(packetFrom(client, vip, middle, { source: stranger }));
    });

    it('a refused client is not told whether there are endpoints', () => {
      add({ sources: [], endpoints: [{ address: server.address, active: false }] });
      expectRefused(from(client.address));
    });
  });

  it.each([4, 6] as const)('ranges of ports ask as well, IPv%d', (family) => {
    const { vip, client, endpoint } = scene(family);
    const [mine = ''] = family === 4 ? ['10.20.30.40'] : ['2001:db8:5::40'];
    bench().addService({
      address: vip,
      port: 5000,
      portMax: 5100,
      protocol: 6,
      sources: [mine],
      endpoints: [{ address: endpoint(0).address }],
    });
    const packet = (source: string) => packetFrom(client, vip, opening('tcp', 1, 5050), { source });
    expect(bench().receive(packet(mine), CLIENT_SIDE).verdict).toBe(VERDICT.redirect);
    expect(bench().receive(packet(client.address), CLIENT_SIDE).verdict).toBe(VERDICT.drop);
    expect(bench().path.counters()).toMatchObject({ DROP_SOURCE: 1 });
  });
});
