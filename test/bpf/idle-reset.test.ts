/** Flows that end while they are open: by their idle time, to the second, or because their endpoint was cut off. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CtResetReason, CtSpecial } from '../../plugins/conntrack/layout.gen.js';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addPlainService } from './conversation.js';
import { addDsrService } from './dsr.js';
import { CLIENT_SIDE } from './network.js';
import { ipBytes } from './reference/address.js';
import { TCP, TCP_OPTION, type Tcp } from './reference/packet.js';
import {
  answer,
  type Bench,
  describePath,
  ENDPOINT_PORT,
  type Family,
  type Host,
  opening,
  packetFrom,
  SERVICE_PORT,
  scene,
  TICKS_PER_SECOND,
} from './scenario.js';

const { LB_EP_CUT, LB_EP_RESET, LB_EP_TUNNEL } = LbEndpointFlags;
const { CT_RESET_IDLE, CT_RESET_CUT } = CtResetReason;
const IDLE_MS = 1000;

interface Expected {
  readonly client: readonly [address: string, port: number];
  readonly service: readonly [address: string, port: number];
  /** As the endpoint sees client and service. */
  readonly seen: readonly [address: string, port: number];
  readonly endpoint: readonly [address: string, port: number];
  readonly clientSeq: number;
  readonly endpointSeq: number;
  readonly serviceId: number;
  readonly reason: number;
  readonly special?: number;
  readonly oneWay?: boolean;
}

/** IPv4 as IPv4-mapped IPv6. */
function sixteen(address: string): Uint8Array {
  const bytes = ipBytes(address);
  return bytes.length === 16 ? bytes : Uint8Array.of(...new Uint8Array(10), 255, 255, ...bytes);
}

/** A record as bpf/maps/conntrack.h lays it out. */
function record(of: Expected): Uint8Array {
  const out = new Uint8Array(100);
  const view = new DataView(out.buffer);
  out.set(sixteen(of.client[0]), 0);
  out.set(sixteen(of.service[0]), 16);
  view.setUint16(32, of.client[1]);
  view.setUint16(34, of.service[1]);
  view.setUint8(36, 6);
  out.set(sixteen(of.seen[0]), 40);
  out.set(sixteen(of.endpoint[0]), 56);
  view.setUint16(72, of.seen[1]);
  view.setUint16(74, of.endpoint[1]);
  const words = [of.clientSeq, of.endpointSeq, of.serviceId, of.special ?? 0];
  words.forEach((word, index) => {
    view.setUint32(76 + 4 * index, word, true);
  });
  view.setUint8(92, of.reason);
  view.setUint8(93, of.oneWay ? 1 : 0);
  return out;
}

describePath('flows that end while they are open', (bench) => {
  const records = () => bench().path.drain('ct_reset');
  const flows = () => bench().flowCount().confirmed + bench().flowCount().pending;

  /** A TCP conversation through the service, segment by segment. */
  const talk = (family: Family, port: number, source?: string, server: Host = scene(family).endpoint(0)) => {
    const { vip, client } = scene(family);
    const seenAs = source ?? client.address;
    const ask = (flags: number, fields: Partial<Tcp> = {}) =>
      bench().receive(packetFrom(client, vip, opening('tcp', port, SERVICE_PORT, { flags, ...fields })), CLIENT_SIDE);
    const reply = (flags: number, fields: Partial<Tcp> = {}) =>
      bench().receive(
        packetFrom(server, seenAs, answer('tcp', ENDPOINT_PORT, port, { flags, ...fields })),
        server.device,
      );
    const establish = (sequence = 1000, answered = 500_000) => {
      const next = { sequence: (sequence + 1) >>> 0, acknowledgment: (answered + 1) >>> 0 };
      ask(TCP.syn, { sequence, options: TCP_OPTION.windowScale(7) });
      const options = TCP_OPTION.windowScale(7);
      reply(TCP.syn | TCP.ack, { sequence: answered, acknowledgment: next.sequence, options });
      ask(TCP.ack, next);
    };
    return { ask, reply, establish };
  };

  /** What the daemon has to be told about `talk(family, port)` after its handshake. */
  const expectedOf = (family: Family, port: number, serviceId: number, reason: number): Expected => {
    const { vip, client, endpoint } = scene(family);
    return {
      client: [client.address, port],
      service: [vip, SERVICE_PORT],
      seen: [client.address, port],
      endpoint: [endpoint(0).address, ENDPOINT_PORT],
      clientSeq: 500_001,
      endpointSeq: 1001,
      serviceId,
      reason,
    };
  };
  const hex = (bytes: readonly Uint8Array[]) => bytes.map((one) => Buffer.from(one).toString('hex')).sort();
  const expectRecords = (...expected: readonly Expected[]) => expect(hex(records())).toEqual(hex(expected.map(record)));

  /**
   * Milliseconds from `since`, before the last packet, until there is no flow. Where the kernel had no memory for a timer
   * at that moment the daemon's next pass ends the flow. The limit is of a machine that stood still; how late flows end
   * is measured with real connections.
   */
  const untilGone = async (since = performance.now()): Promise<number> => {
    const passed = () => performance.now() - since;
    for (let passes = 0; flows() > 0; await sleep(20)) {
      expect(passed()).toBeLessThan(IDLE_MS + 5000);
      if (passed() < IDLE_MS + 600 || passes > 0) continue;
      bench().path.expire();
      passes++;
    }
    return passed();
  };
  const ticks = (ms: number) => Math.floor((ms / 1000) * TICKS_PER_SECOND);
  const add = (family: Family, fields = {}, endpoint = {}) =>
    addPlainService(bench(), family, 'tcp', endpoint, { idleTicks: ticks(IDLE_MS), reset: 1, ...fields });
  /** Makes all flows look as if nothing had come for so long. */
  const age = (seconds: number) => {
    for (const table of bench().tables())
      for (const [key, entry] of table.entries())
        table.change(key, { seen: (entry.seen - seconds * TICKS_PER_SECOND) >>> 0 });
  };

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { self, vip, endpoint } = scene(family);

    it.each([
      ['default', undefined],
      ['onearm', self],
      ['fullnat', vip],
    ])('an idle flow ends within a second of its time, and both ends are told: %s', async (_mode, source) => {
      const { id, endpointIds } = add(family, {}, source === undefined ? {} : { source });
      const since = performance.now();
      talk(family, 40_000, source).establish();
      expect(bench().path.maps.idle.keys()).toHaveLength(1);
      const took = await untilGone(since);
      // Ticks are 1.05 ms, and the clock of packets lags by one jiffy.
      expect(took).toBeGreaterThan(IDLE_MS - 30);
      const expected = expectedOf(family, 40_000, id, CT_RESET_IDLE);
      expectRecords(source === undefined ? expected : { ...expected, seen: [source, 40_000] });
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_RESET: 1, EVENT_FLOW_EXPIRED: 1 });
      expect(bench().path.maps.idle.keys()).toEqual([]);
      expect(bench().path.maps.endpointFlows.need(endpointIds[0] ?? 0)).toMatchObject({ active: 0, pending: 0 });
    });

    it.each(['client', 'endpoint'] as const)('a flow whose %s goes on talking goes on', async (who) => {
      const { id } = add(family);
      const { ask, reply, establish } = talk(family, 40_001);
      establish();
      let since = 0;
      for (let beat = 0; beat < 8; beat++) {
        await sleep(300);
        since = performance.now();
        if (who === 'client') ask(TCP.ack, { sequence: 1001, acknowledgment: 500_001 });
        else reply(TCP.ack, { sequence: 500_001, acknowledgment: 1001 });
        expect(flows()).toBe(2);
      }
      expect(records()).toEqual([]);
      const took = await untilGone(since);
      expect(took).toBeGreaterThan(IDLE_MS - 30);
      expectRecords(expectedOf(family, 40_001, id, CT_RESET_IDLE));
    });

    it('what was acknowledged last is what each side expects next', () => {
      const { id, endpointIds } = add(family);
      const { ask, reply, establish } = talk(family, 40_002);
      establish();
      const data = new Uint8Array(300);
      ask(TCP.ack | TCP.psh, { sequence: 1001, acknowledgment: 500_001, payload: data });
      reply(TCP.ack, { sequence: 500_001, acknowledgment: 1301 });
      for (let sent = 0; sent < 5; sent++)
        reply(TCP.ack, { sequence: 500_001 + 300 * sent, acknowledgment: 1301, payload: data });
      ask(TCP.ack, { sequence: 1301, acknowledgment: 501_501 });
      bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT | LB_EP_RESET });
      bench().path.expire({ cut: true });
      const expected = expectedOf(family, 40_002, id, CT_RESET_CUT);
      expectRecords({ ...expected, clientSeq: 501_501, endpointSeq: 1301 });
    });

    it('sequence numbers go round', () => {
      const { id, endpointIds } = add(family);
      talk(family, 40_003).establish(0xffff_ffff, 0xffff_fffe);
      bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT | LB_EP_RESET });
      bench().path.expire({ cut: true });
      const expected = expectedOf(family, 40_003, id, CT_RESET_CUT);
      expectRecords({ ...expected, clientSeq: 0xffff_ffff, endpointSeq: 0 });
    });

    it('a half closed flow is open still', async () => {
      const { id } = add(family);
      const { ask, establish } = talk(family, 40_004);
      establish();
      ask(TCP.fin | TCP.ack, { sequence: 1001, acknowledgment: 500_001 });
      await untilGone();
      expectRecords(expectedOf(family, 40_004, id, CT_RESET_IDLE));
    });

    it('nobody is told about flows that closed, never opened, or are not TCP', async () => {
      add(family);
      const closed = talk(family, 40_005);
      closed.establish();
      closed.ask(TCP.rst, { sequence: 1001 });
      talk(family, 40_006).ask(TCP.syn);
      addPlainService(bench(), family, 'udp', {}, { idleTicks: ticks(IDLE_MS), reset: 1 });
      const { client } = scene(family);
      bench().receive(packetFrom(client, vip, opening('udp', 5, SERVICE_PORT)), CLIENT_SIDE);
      await sleep(IDLE_MS + 500);
      expect(bench().path.maps.idle.keys()).toEqual([]);
      age(20);
      bench().path.expire();
      expect(flows()).toBe(0);
      expect(records()).toEqual([]);
      expect(bench().path.counters().EVENT_FLOW_RESET).toBeUndefined();
    });

    it('a service that did not ask for it has no timers', async () => {
      add(family, { reset: 0 });
      talk(family, 40_007).establish();
      expect(bench().path.maps.idle.keys()).toEqual([]);
      await sleep(IDLE_MS + 500);
      expect(flows()).toBe(2);
      bench().path.expire();
      expect(flows()).toBe(0);
      expect(records()).toEqual([]);
    });

    it('the same tuple again, before the timer of the first: the second ends in its own time', async () => {
      const { id } = add(family);
      const { ask, establish } = talk(family, 40_008);
      establish();
      await sleep(600);
      ask(TCP.rst, { sequence: 1001 });
      const since = performance.now();
      establish(70_000, 900_000);
      const took = await untilGone(since);
      expect(took).toBeGreaterThan(IDLE_MS - 30);
      const expected = expectedOf(family, 40_008, id, CT_RESET_IDLE);
      expectRecords({ ...expected, clientSeq: 900_001, endpointSeq: 70_001 });
    });

    it('a pass that finds an idle flow first tells both ends too', () => {
      const { id } = add(family, { idleTicks: 100 * TICKS_PER_SECOND });
      talk(family, 40_009).establish();
      age(102);
      bench().path.expire();
      expect(flows()).toBe(0);
      expectRecords(expectedOf(family, 40_009, id, CT_RESET_IDLE));
    });

    it('without any pass, by timers alone', async () => {
      add(family);
      for (let port = 1; port <= 20; port++) talk(family, port).establish();
      await sleep(IDLE_MS + 300);
      expect(flows()).toBeLessThan(40);
    });

    it('hundreds of flows: each is told once', async () => {
      const { id } = add(family);
      const ports = Array.from({ length: 400 }, (_, index) => 20_000 + index);
      for (const port of ports) talk(family, port).establish();
      await sleep(IDLE_MS + 500);
      // Where the kernel had no memory for a timer just then, the daemon's next pass ends the flow.
      bench().path.expire();
      expect(flows()).toBe(0);
      expect(bench().path.maps.idle.keys()).toEqual([]);
      expectRecords(...ports.map((port) => expectedOf(family, port, id, CT_RESET_IDLE)));
    });

    it('a flow that ends in another way leaves no timer behind', () => {
      add(family, { idleTicks: 3600 * TICKS_PER_SECOND });
      for (let port = 1; port <= 20; port++) {
        const { ask, establish } = talk(family, port);
        establish();
        ask(TCP.rst, { sequence: 1001 });
      }
      age(12);
      bench().path.expire();
      expect(flows()).toBe(0);
      expect(bench().path.maps.idle.keys()).toEqual([]);
    });

    describe('an endpoint that is cut off', () => {
      const servers = [endpoint(0), endpoint(1)] as const;
      const addTwo = () => {
        const endpoints = servers.map(({ address }) => ({ address }));
        return bench().addService({ address: vip, port: SERVICE_PORT, protocol: 6, endpoints });
      };
      /** One flow of each endpoint: rr begins with the first. */
      const establishBoth = () =>
        servers.map((server, index) => talk(family, 30_000 + index, undefined, server).establish());

      it('loses its own flows, with a reset to both ends where asked', () => {
        const { id, endpointIds } = addTwo();
        establishBoth();
        bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT | LB_EP_RESET });
        expect(bench().path.expire({ cut: true })).toMatchObject({ expired: 1 });
        expectRecords(expectedOf(family, 30_000, id, CT_RESET_CUT));
        expect(flows()).toBe(2);
        const counts = endpointIds.map((endpointId) => bench().path.maps.endpointFlows.need(endpointId).active);
        expect(counts).toEqual([0, 1]);
      });

      it('without a reset where not', () => {
        const { endpointIds } = addTwo();
        establishBoth();
        bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT });
        bench().path.expire({ cut: true });
        expect(records()).toEqual([]);
        expect(flows()).toBe(2);
      });

      it('keeps them in a pass that does not cut', () => {
        const { endpointIds } = addTwo();
        establishBoth();
        bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT | LB_EP_RESET });
        bench().path.expire();
        expect(flows()).toBe(4);
        expect(records()).toEqual([]);
      });

      it.each(['udp', 'icmp'] as const)('%s flows end too, and nobody can be told', (protocol) => {
        const [endpointId = 0] = addPlainService(bench(), family, protocol).endpointIds;
        const { client } = scene(family);
        const packet = packetFrom(client, vip, opening(protocol, 7, SERVICE_PORT));
        bench().receive(packet, CLIENT_SIDE);
        bench().path.maps.endpoints.change(endpointId, { flags: LB_EP_CUT | LB_EP_RESET });
        bench().path.expire({ cut: true });
        expect(flows()).toBe(0);
        expect(records()).toEqual([]);
      });

      it('handshakes that were not over end without a word', () => {
        const { endpointIds } = addTwo();
        talk(family, 30_000).ask(TCP.syn);
        bench().path.maps.endpoints.change(endpointIds[0] ?? 0, { flags: LB_EP_CUT | LB_EP_RESET });
        bench().path.expire({ cut: true });
        expect(flows()).toBe(0);
        expect(records()).toEqual([]);
        expect(bench().path.maps.endpointFlows.need(endpointIds[0] ?? 0)).toMatchObject({ active: 0, pending: 0 });
      });
    });

    it.each([
      ['to a neighbour', 0, CtSpecial.CT_SPECIAL_DSR],
      [
        'through a tunnel',
        LB_EP_TUNNEL,
        CtSpecial.CT_SPECIAL_DSR | CtSpecial.CT_SPECIAL_TUNNEL | CtSpecial.CT_SPECIAL_FORCED,
      ],
    ] as const)('DSR %s: what the endpoint expects is not known', async (_way, flags, special) => {
      const { address } = endpoint(0);
      const { id } = addDsrService(bench(), family, 'tcp', [{ address, self, flags }], {
        idleTicks: ticks(IDLE_MS),
        reset: 1,
      });
      const { ask } = talk(family, 40_010);
      ask(TCP.syn);
      ask(TCP.ack, { sequence: 1001, acknowledgment: 500_001 });
      ask(TCP.ack, { sequence: 1001, acknowledgment: 500_777 });
      await untilGone();
      const expected = expectedOf(family, 40_010, id, CT_RESET_IDLE);
      const ends = { seen: [self, 40_010], endpoint: [address, SERVICE_PORT] } as const;
      expectRecords({ ...expected, ...ends, clientSeq: 500_777, endpointSeq: 0, special, oneWay: true });
    });
  });
});

describePath(
  'a ring nobody reads',
  (bench: () => Bench) => {
    it('what there is no room for is counted, and the flows end all the same', () => {
      const { vip, client, endpoint } = scene(4);
      const [id = 0] = addPlainService(bench(), 4, 'tcp').endpointIds;
      const FLOWS = 60;
      for (let port = 1; port <= FLOWS; port++) {
        bench().receive(packetFrom(client, vip, opening('tcp', port, SERVICE_PORT)), CLIENT_SIDE);
        bench().receive(
          packetFrom(endpoint(0), client.address, answer('tcp', ENDPOINT_PORT, port)),
          endpoint(0).device,
        );
        const last = { flags: TCP.ack, sequence: 1001, acknowledgment: 500_001 };
        bench().receive(packetFrom(client, vip, opening('tcp', port, SERVICE_PORT, last)), CLIENT_SIDE);
      }
      bench().path.maps.endpoints.change(id, { flags: LB_EP_CUT | LB_EP_RESET });
      bench().path.expire({ cut: true });
      const told = bench().path.drain('ct_reset').length;
      expect(told).toBeGreaterThan(20);
      expect(told).toBeLessThan(FLOWS);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_RESET: told, EVENT_RESET_LOST: FLOWS - told });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });
  },
  { maxEntries: { ct_reset: 4096 } },
);
