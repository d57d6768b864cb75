/** Ageing: what is idle too long or belongs to a service that is gone ends, and the counts of live flows follow. */
import { describe, expect, it } from 'vitest';
import { CtFlags, CtTcpState } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { CLIENT_SIDE } from './network.js';
import { TCP } from './reference/packet.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  describePath,
  ENDPOINT_PORT,
  type Family,
  opening,
  type Protocol,
  packetFrom,
  SERVICE_PORT,
  scene,
  TICKS_PER_SECOND,
} from './scenario.js';

const IDLE_SECONDS = 100;

/** Makes all flows, or those one asks for, look idle. */
function age(bench: Bench, seconds: number, wanted: (reply: boolean) => boolean = () => true): void {
  for (const map of [bench.path.maps.flows, bench.path.maps.pending]) {
    for (const [key, entry] of map.entries()) {
      if (wanted((entry.flags & 1) === 1)) map.change(key, { seen: (entry.seen - seconds * TICKS_PER_SECOND) >>> 0 });
    }
  }
}

function describeExpiry(bench: () => Bench): void {
  const add = (family: Family, protocol: Protocol) =>
    addPlainService(bench(), family, protocol, {}, { idleTicks: IDLE_SECONDS * TICKS_PER_SECOND });
  const flows = () => bench().flowCount().confirmed + bench().flowCount().pending;

  /** To half a second: flows are as old as the packets before this. */
  const expectNextEnd = (seconds: number) => {
    const next = bench().path.nextEnd() / TICKS_PER_SECOND;
    expect(next).toBeLessThanOrEqual(seconds);
    expect(next).toBeGreaterThan(seconds - 0.5);
  };

  /** Request and answer, and for TCP the rest of the handshake. */
  const establish = (family: Family, protocol: Protocol) => {
    const { vip, client, endpoint } = scene(family);
    expectConversation(bench(), conversation(family, protocol), client, endpoint(0));
    if (protocol !== 'tcp') return;
    const fields = { flags: TCP.ack, sequence: 1001, acknowledgment: 500_001 };
    bench().receive(packetFrom(client, vip, opening('tcp', CLIENT_PORT, SERVICE_PORT, fields)), CLIENT_SIDE);
  };

  describe.each([4, 6] as const)('IPv%d', (family) => {
    it.each(['tcp', 'udp', 'icmp'] as const)('established %s lives as long as its service says', (protocol) => {
      add(family, protocol);
      establish(family, protocol);
      age(bench(), IDLE_SECONDS - 2);
      expect(bench().path.expire()).toEqual({ flows: 2, expired: 0 });
      expect(flows()).toBe(2);
      age(bench(), 4);
      expect(bench().path.expire().expired).toBeGreaterThan(0);
      expect(flows()).toBe(0);
      expect(bench().path.counters().EVENT_FLOW_EXPIRED).toBeGreaterThan(0);
    });

    it.each([
      ['tcp', 10],
      ['udp', 5],
      ['icmp', 5],
    ] as const)('half-open %s lives %d seconds', (protocol, seconds) => {
      const { client } = scene(family);
      add(family, protocol);
      bench().receive(conversation(family, protocol).request, client.device);
      age(bench(), seconds - 1);
      bench().path.expire();
      expect(flows()).toBe(2);
      age(bench(), 2);
      bench().path.expire();
      expect(flows()).toBe(0);
    });

    it('a closed TCP flow lives 10 seconds', () => {
      const { vip, client, endpoint } = scene(family);
      add(family, 'tcp');
      establish(family, 'tcp');
      const end = { flags: TCP.fin | TCP.ack, sequence: 1001, acknowledgment: 500_001 };
      bench().receive(packetFrom(client, vip, opening('tcp', CLIENT_PORT, SERVICE_PORT, end)), CLIENT_SIDE);
      const back = { flags: TCP.fin | TCP.ack, sequence: 500_001, acknowledgment: 1002 };
      const reply = packetFrom(endpoint(0), client.address, answer('tcp', ENDPOINT_PORT, CLIENT_PORT, back));
      bench().receive(reply, endpoint(0).device);
      const states = bench()
        .path.maps.flows.entries()
        .map(([, entry]) => entry.state);
      expect(states).toEqual([CtTcpState.CT_TCP_CLOSED_WAIT, CtTcpState.CT_TCP_CLOSED_WAIT]);
      expect(bench().path.counters().EVENT_FLOW_CLOSED).toBe(1);
      age(bench(), 9);
      expect(bench().path.expire().expired).toBe(0);
      expectNextEnd(1);
      age(bench(), 2);
      bench().path.expire();
      expect(flows()).toBe(0);
    });

    it('a reset that is believed closes a flow, once', () => {
      const { vip } = scene(family);
      add(family, 'tcp');
      establish(family, 'tcp');
      expect(bench().path.counters().EVENT_FLOW_CLOSED ?? 0).toBe(0);
      const fields = { flags: TCP.rst | TCP.ack, sequence: 1001, acknowledgment: 500_001 };
      const reset = packetFrom(scene(family).client, vip, opening('tcp', CLIENT_PORT, SERVICE_PORT, fields));
      for (let sent = 0; sent < 2; sent++) bench().receive(reset, CLIENT_SIDE);
      expect(bench().path.counters().EVENT_FLOW_CLOSED).toBe(1);
    });

    it('a pass knows when the first flow it left is over', () => {
      const { client } = scene(family);
      add(family, 'tcp');
      expect(bench().path.expire()).toEqual({ flows: 0, expired: 0 });
      expect(bench().path.nextEnd()).toBe(0xffff_ffff);
      establish(family, 'tcp');
      age(bench(), 40);
      bench().path.expire();
      expectNextEnd(IDLE_SECONDS - 40);
      // The later direction counts.
      age(bench(), 30, (reply) => reply);
      age(bench(), 45);
      bench().path.expire();
      expectNextEnd(IDLE_SECONDS - 85);
      const other = family === 4 ? 6 : 4;
      add(other, 'udp');
      bench().receive(conversation(other, 'udp').request, scene(other).client.device);
      bench().path.expire();
      expectNextEnd(5);
      bench().receive(conversation(family, 'tcp').request, client.device);
      age(bench(), IDLE_SECONDS + 1);
      bench().path.expire();
      expect(bench().path.nextEnd()).toBe(0xffff_ffff);
    });

    it('a flow with packets one way only is not idle', () => {
      add(family, 'udp');
      establish(family, 'udp');
      for (const reply of [true, false]) {
        age(bench(), 10 * IDLE_SECONDS, (isReply) => isReply === reply);
        bench().path.expire();
        expect(flows()).toBe(2);
        expectConversation(bench(), conversation(family, 'udp'), scene(family).client, scene(family).endpoint(0));
      }
    });

    it('half a flow is no flow', () => {
      add(family, 'udp');
      establish(family, 'udp');
      const [key] = bench().path.maps.flows.keys();
      if (!key) throw new Error('no flow');
      bench().path.maps.flows.delete(key);
      age(bench(), IDLE_SECONDS + 2);
      bench().path.expire();
      expect(flows()).toBe(0);
    });

    it.each(['tcp', 'udp', 'icmp'] as const)(
      '%s flows of a service that is gone end at once, others stay',
      (protocol) => {
        const { id } = add(family, protocol);
        establish(family, protocol);
        const other = family === 4 ? 6 : 4;
        add(other, protocol);
        establish(other, protocol);
        expect(flows()).toBe(4);
        bench().path.maps.serviceStates.change(id, { alive: 0 });
        bench().path.expire();
        expect(flows()).toBe(2);
        const left = [...bench().path.maps.flows.keys(), ...bench().path.maps.pending.keys()];
        expect(left.every((key) => key.saddr.includes(':') === (other === 6))).toBe(true);
      },
    );

    it('live flows per endpoint follow', () => {
      const [id = 0] = add(family, 'tcp').endpointIds;
      const counts = () => {
        const { active, pending } = bench().path.maps.endpointFlows.need(id);
        return { active, pending };
      };
      establish(family, 'tcp');
      const { vip, client } = scene(family);
      for (let port = 1; port <= 5; port++) {
        bench().receive(packetFrom(client, vip, opening('tcp', port, SERVICE_PORT)), CLIENT_SIDE);
      }
      expect(counts()).toEqual({ active: 1, pending: 5 });
      bench().path.expire();
      expect(counts()).toEqual({ active: 1, pending: 5 });
      // The kernel evicts from ct_new without telling: the next pass finds out.
      for (const key of bench().path.maps.pending.keys().slice(0, 4)) bench().path.maps.pending.delete(key);
      bench().path.expire();
      const left = bench()
        .tables()
        .flatMap((table) => table.entries())
        .filter(([, { flags }]) => (flags & (CtFlags.CT_PENDING | CtFlags.CT_REPLY)) === CtFlags.CT_PENDING).length;
      expect(counts()).toEqual({ active: 1, pending: left });
      age(bench(), IDLE_SECONDS + 2);
      bench().path.expire();
      expect(counts()).toEqual({ active: 0, pending: 0 });
    });

    it('the default is 240 seconds where a service says nothing', () => {
      addPlainService(bench(), family, 'tcp');
      establish(family, 'tcp');
      age(bench(), 238);
      bench().path.expire();
      expect(flows()).toBe(2);
      age(bench(), 4);
      bench().path.expire();
      expect(flows()).toBe(0);
    });
  });

  it('a pass over many flows sees each of them, and ends what it should', () => {
    const { vip, client } = scene(4);
    add(4, 'udp');
    for (let port = 1; port <= 3000; port++) {
      bench().receive(packetFrom(client, vip, opening('udp', port, SERVICE_PORT)), CLIENT_SIDE);
    }
    for (const table of bench().tables()) {
      for (const [key, entry] of table.entries()) {
        const port = (entry.flags & 1) === 1 ? key.dport : key.sport;
        // The others as if they had been seen in a minute: a slow machine takes longer for all this than they live.
        const minutes = port % 3 === 0 ? -1 : 1;
        table.change(key, { seen: (entry.seen + minutes * 60 * TICKS_PER_SECOND) >>> 0 });
      }
    }
    expect(bench().path.expire().flows).toBeGreaterThanOrEqual(5000);
    expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 4000 });
  });
}

describePath('expiry', describeExpiry, { features: { cfg_half_open_flows: 0 } });
describePath('expiry of half-open flows in the flow table', describeExpiry);

describePath(
  'the places of half-open flows',
  (bench) => {
    const { vip, client } = scene(4);
    const open = (from: number, to: number) => {
      for (let port = from; port <= to; port++)
        bench().receive(packetFrom(client, vip, opening('udp', port, SERVICE_PORT)), CLIENT_SIDE);
    };
    const held = () => bench().path.maps.flows.keys().length / 2;
    const age = () => {
      const table = bench().path.maps.flows;
      for (const [key, entry] of table.entries())
        table.change(key, { seen: (entry.seen - 60 * TICKS_PER_SECOND) >>> 0 });
    };

    it('are those of flows too that begin behind a pass', () => {
      addPlainService(bench(), 4, 'udp');
      open(1, 20);
      expect(held()).toBe(16);
      age();
      bench().path.expire({ behind: () => open(21, 36) });
      expect(held()).toBe(16);
      open(37, 60);
      expect(held()).toBe(16);
    });

    it('that nobody holds any more come free with the next pass', () => {
      addPlainService(bench(), 4, 'udp');
      open(1, 16);
      for (const key of bench().path.maps.flows.keys()) bench().path.maps.flows.delete(key);
      open(17, 32);
      expect(held()).toBe(0);
      bench().path.expire();
      open(33, 60);
      expect(held()).toBe(16);
    });

    it('that were given back twice make no more room than there is, and then none', () => {
      addPlainService(bench(), 4, 'udp');
      open(1, 2);
      bench().path.maps.halfOpen.change(0, { givenBack: 5 });
      bench().path.expire();
      open(3, 60);
      expect(held()).toBe(16);
    });
  },
  { features: { cfg_half_open_flows: 16 } },
);
