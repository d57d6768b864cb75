/** Drops are known by service and reason: wherever a drop's service is known, it is counted for that service too. */
import { describe, expect, it } from 'vitest';
import { DpCounter } from '../../core/dataplane/layout.gen.js';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addDsrService } from './dsr.js';
import { CLIENT_SIDE, hostAddress, NARROW_MTU, NARROW_SIDE, ROUTED } from './network.js';
import { type Packet, udp } from './reference/packet.js';
import {
  type Bench,
  CLIENT_PORT,
  describePath,
  type EndpointSpec,
  type Family,
  host,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  type ServiceSpec,
  scene,
} from './scenario.js';

type Reason = keyof typeof DpCounter;

interface Case {
  readonly name: string;
  readonly reason: Reason;
  readonly service: (family: Family) => Partial<ServiceSpec> & { readonly endpoint?: Partial<EndpointSpec> };
  readonly packet?: (family: Family) => Packet;
  /** The flow exists already. */
  readonly opened?: boolean;
}

const plain = (family: Family, ttl = 64): Packet => {
  const { vip, client } = scene(family);
  return packetFrom(client, vip, opening('udp', CLIENT_PORT, SERVICE_PORT), { ttl });
};

const long = (family: Family): Packet => {
  const { vip, client } = scene(family);
  const payload = new Uint8Array(NARROW_MTU);
  return packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload }));
};

const blackhole = (family: Family): string => {
  const [network = ''] = ROUTED.blackhole[family === 4 ? 0 : 1].split('/');
  return family === 4 ? hostAddress(network, 7) : `${network}7`;
};

const narrow = (family: Family) => ({ endpoint: { address: host(NARROW_SIDE, family, 11).address } });

const CASES: readonly Case[] = [
  { name: 'no active endpoint', reason: 'DROP_NO_ENDPOINT', service: () => ({ slots: [] }) },
  { name: 'client not allowed', reason: 'DROP_SOURCE', service: () => ({ sources: [] }) },
  {
    name: 'no route to the endpoint',
    reason: 'DROP_UNREACHABLE',
    service: (family) => ({ endpoint: { address: blackhole(family) } }),
  },
  { name: 'TTL spent', reason: 'DROP_TTL_EXCEEDED', service: () => ({}), packet: (family) => plain(family, 1) },
  {
    name: 'TTL spent in a flow',
    reason: 'DROP_TTL_EXCEEDED',
    service: () => ({}),
    packet: (f) => plain(f, 1),
    opened: true,
  },
  { name: 'larger than the way out', reason: 'DROP_TOO_BIG', service: narrow, packet: long },
  { name: 'larger than the way out, in a flow', reason: 'DROP_TOO_BIG', service: narrow, packet: long, opened: true },
];

/** Counts by service, for every reason that is not zero. */
function dropsOf(bench: Bench, serviceId: number): Record<string, number> {
  const all = Object.entries(DpCounter).map(([name, reason]): [string, number] => [
    name,
    bench.path.serviceDrops(serviceId, reason),
  ]);
  return Object.fromEntries(all.filter(([, packets]) => packets > 0));
}

describePath('drops by service', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, endpoint, self } = scene(family);
    const add = ({ endpoint: own, ...fields }: ReturnType<Case['service']>, address = vip) =>
      bench().addService({
        address,
        port: SERVICE_PORT,
        protocol: protocolNumber(family, 'udp'),
        endpoints: [{ address: endpoint(0).address, ...own }],
        ...fields,
      });

    it.each(CASES)('$name', ({ reason, service, packet = plain, opened }) => {
      const other = add({}, family === 4 ? '20.20.20.9' : '2001:db8:20::9');
      const { id } = add(service(family));
      if (opened) bench().receive(plain(family), CLIENT_SIDE);
      for (let round = 0; round < 3; round++) bench().receive(packet(family), CLIENT_SIDE);
      expect(bench().path.counters()[reason]).toBe(3);
      expect(dropsOf(bench(), id)).toEqual({ [reason]: 3 });
      expect(dropsOf(bench(), other.id)).toEqual({});
    });

    it('a slot whose endpoint is gone', () => {
      const { id, slotBase } = add({});
      bench().path.maps.slots.set(slotBase, { endpointId: 0 });
      bench().receive(plain(family), CLIENT_SIDE);
      expect(dropsOf(bench(), id)).toEqual({ DROP_BAD_ENDPOINT: 1 });
    });

    it('a tunnel without an address of this machine', () => {
      const endpoints = [{ address: endpoint(0).address, flags: LbEndpointFlags.LB_EP_TUNNEL }];
      const { id } = addDsrService(bench(), family, 'udp', endpoints);
      bench().receive(plain(family), CLIENT_SIDE);
      expect(dropsOf(bench(), id)).toEqual({ DROP_TUNNEL: 1 });
    });

    it('a packet too big for its tunnel', () => {
      const { address } = host(NARROW_SIDE, family, 11);
      const endpoints = [{ address, self, flags: LbEndpointFlags.LB_EP_TUNNEL }];
      const { id } = addDsrService(bench(), family, 'udp', endpoints);
      bench().receive(long(family), CLIENT_SIDE);
      expect(dropsOf(bench(), id)).toEqual({ DROP_TOO_BIG: 1 });
    });

    it('what goes through, or passes, is no drop', () => {
      const { id } = add({});
      for (let round = 0; round < 3; round++) bench().receive(plain(family), CLIENT_SIDE);
      bench().receive(packetFrom(scene(family).client, vip, opening('tcp', 1, SERVICE_PORT)), CLIENT_SIDE);
      expect(dropsOf(bench(), id)).toEqual({});
      expect(bench().path.maps.serviceDrops.keys()).toEqual([]);
    });

    it('services that drop for the same reason are counted apart', () => {
      const ids = [1, 2, 3].map((n) => add({ slots: [] }, family === 4 ? `20.20.21.${n}` : `2001:db8:21::${n}`).id);
      const { client } = scene(family);
      ids.forEach((_, index) => {
        const to = family === 4 ? `20.20.21.${index + 1}` : `2001:db8:21::${index + 1}`;
        const packet = packetFrom(client, to, opening('udp', CLIENT_PORT, SERVICE_PORT));
        for (let round = 0; round <= index; round++) bench().receive(packet, CLIENT_SIDE);
      });
      expect(ids.map((id) => dropsOf(bench(), id))).toEqual([1, 2, 3].map((n) => ({ DROP_NO_ENDPOINT: n })));
    });
  });
});
