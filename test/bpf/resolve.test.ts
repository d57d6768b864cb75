/** The way out of a flow: looked up once, kept, and looked up again when something changed. */
import { describe, expect, it } from 'vitest';
import { IntfFlags } from '../../core/dataplane/layout.gen.js';
import { type CtEntry, CtWay } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, hostAddress, ip, ROUTED, ROUTER, SERVER_SIDE, STRANGER } from './network.js';
import { translate } from './reference/translate.js';
import {
  type Bench,
  departure,
  describePath,
  ENDPOINT_PORT,
  expectForwarded,
  expectPacket,
  type Family,
  host,
  protocolNumber,
  scene,
} from './scenario.js';

function entryOf(bench: Bench, family: Family): CtEntry | undefined {
  const { from, to } = conversation(family, 'udp');
  return bench.findFlow(protocolNumber(family, 'udp'), from, to);
}

/** An address in a routed network. */
function far(network: readonly [string, string], family: Family): string {
  const [base = ''] = network[family === 4 ? 0 : 1].split('/');
  return family === 4 ? hostAddress(base, 7) : `${base}7`;
}

describePath('the way out', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { endpoint } = scene(family);
    const server = endpoint(0);
    const talk = conversation(family, 'udp');
    const send = () => bench().receive(talk.request, CLIENT_SIDE);
    const addFor = (address: string) => addPlainService(bench(), family, 'udp', {}, { endpoints: [{ address }] });
    const raiseGeneration = () => {
      const { generation } = bench().path.maps.control.need(0);
      bench().path.maps.control.change(0, { generation: generation + 1 });
    };
    const to = (address: string) => ({ destination: { address, port: ENDPOINT_PORT }, hops: 1 });

    it('is looked up once for many packets', () => {
      addFor(server.address);
      for (let round = 0; round < 20; round++) expectForwarded(send(), talk.requestOut);
      expect(bench().path.counters().EVENT_RESOLVED).toBe(1);
      expect(entryOf(bench(), family)).toMatchObject({
        way: CtWay.CT_WAY_REDIRECT,
        oif: bench().network.ifindex(SERVER_SIDE),
      });
    });

    it('is looked up again when the generation is raised', () => {
      addFor(server.address);
      expectForwarded(send(), talk.requestOut);
      const moved = { ...departure(server), destination: '02:00:00:00:02:ee' };
      const neighbor = ['neigh', 'replace', server.address, 'dev', SERVER_SIDE.name, 'nud', 'permanent', 'lladdr'];
      ip(...neighbor, moved.destination);
      try {
        expectForwarded(send(), talk.requestOut);
        raiseGeneration();
        expectForwarded(send(), { ...talk.requestOut, ethernet: moved });
        expectForwarded(send(), { ...talk.requestOut, ethernet: moved });
        expect(bench().path.counters().EVENT_RESOLVED).toBe(2);
      } finally {
        ip(...neighbor, server.mac);
      }
    });

    it('goes through the router of the route', () => {
      const address = far(ROUTED.viaRouter, family);
      addFor(address);
      const hop = departure(host(SERVER_SIDE, family, ROUTER));
      expectForwarded(send(), translate(talk.request, { ...to(address), hop }));
    });

    it('without a known neighbour the kernel resolves it, packet by packet until it has', () => {
      const stranger = host(SERVER_SIDE, family, STRANGER);
      addFor(stranger.address);
      for (let round = 0; round < 3; round++) expectForwarded(send(), translate(talk.request, to(stranger.address)));
      expect(entryOf(bench(), family)?.way).toBe(CtWay.CT_WAY_NEIGH);
      const neighbor = [stranger.address, 'dev', SERVER_SIDE.name];
      ip('neigh', 'replace', ...neighbor, 'nud', 'permanent', 'lladdr', stranger.mac);
      try {
        expectForwarded(send(), translate(talk.request, { ...to(stranger.address), hop: departure(stranger) }));
      } finally {
        ip('neigh', 'del', ...neighbor);
      }
    });

    it('leads into the namespace of a veth peer where there is one', () => {
      const interfaceKey = { ifindex: bench().network.ifindex(SERVER_SIDE), ingVid: 0 };
      bench().path.maps.interfaces.set(interfaceKey, { port: 1, zone: 0, bd: 0, flags: IntfFlags.INTF_PEER });
      addFor(server.address);
      for (let round = 0; round < 3; round++) expectForwarded(send(), talk.requestOut);
      expect(entryOf(bench(), family)?.way).toBe(CtWay.CT_WAY_PEER);
    });

    it('into a black hole is a drop, counted', () => {
      addFor(far(ROUTED.blackhole, family));
      for (let round = 0; round < 2; round++) expect(send().verdict).toBe(VERDICT.drop);
      expect(bench().path.counters()).toMatchObject({ DROP_UNREACHABLE: 2 });
    });

    it('without a route the kernel gets the translated packet, and its complaint is for the kernel to make', () => {
      const address = family === 4 ? '10.200.0.1' : '2001:db8:200::1';
      addFor(address);
      const result = send();
      expectPacket(result, translate(talk.request, { ...to(address), hops: 0 }));
      expect(result.verdict).toBe(VERDICT.next);
    });
  });
});

describePath(
  'an aged way out',
  (bench) => {
    it.each([4, 6] as const)(
      'lets the kernel send a packet now and then, which keeps the neighbour confirmed, IPv%d',
      (family) => {
        addPlainService(bench(), family, 'udp');
        const talk = conversation(family, 'udp');
        expectForwarded(bench().receive(talk.request, CLIENT_SIDE), talk.requestOut);
        const key = bench()
          .path.maps.flows.keys()
          .find((one) => one.daddr === scene(family).vip);
        if (!key) throw new Error('no flow');
        const { resolved } = bench().path.maps.flows.need(key);
        bench().path.maps.flows.change(key, { resolved: (resolved - 10) & 0xffff });
        expectForwarded(bench().receive(talk.request, CLIENT_SIDE), {
          ...talk.requestOut,
          ethernet: talk.request.ethernet,
        });
        expectForwarded(bench().receive(talk.request, CLIENT_SIDE), talk.requestOut);
        expect(bench().path.counters().EVENT_RESOLVED).toBe(2);
      },
    );
  },
  { features: { cfg_resolve_age: 7 } },
);
