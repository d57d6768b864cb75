/** Which endpoint a new flow gets, by each selection. */
import { describe, expect, it } from 'vitest';
import { CLIENT_SIDE } from './network.js';
import { parseFrame } from './reference/parse.js';
import { seeded } from './reference/random.js';
import {
  type Bench,
  describePath,
  type Family,
  type Host,
  host,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  SELECT,
  SERVICE_PORT,
  type Service,
  type ServiceSpec,
  scene,
  TICKS_PER_SECOND,
} from './scenario.js';

const FAMILY: Family = 4;
const { vip, client, endpoint } = scene(FAMILY);

/** A service with `count` endpoints that serves TCP and is otherwise as given. */
function addService(bench: Bench, count: number, fields: Partial<ServiceSpec> = {}): Service {
  const endpoints = Array.from({ length: count }, (_, index) => ({ address: endpoint(index).address }));
  const protocol = protocolNumber(FAMILY, 'tcp');
  return bench.addService({ address: vip, port: SERVICE_PORT, protocol, endpoints, ...fields });
}

/** Opens a flow and tells the index of the endpoint it went to. */
function choose(bench: Bench, clientPort: number, from: Host = client, protocol: Protocol = 'tcp'): number {
  const result = bench.receive(packetFrom(from, vip, opening(protocol, clientPort, SERVICE_PORT)), CLIENT_SIDE);
  const { destination } = parseFrame(result.frame).ip;
  return Array.from({ length: 40 }, (_, index) => endpoint(index).address).indexOf(destination);
}

function chooseMany(bench: Bench, count: number, firstPort = 10_000): number[] {
  return Array.from({ length: count }, (_, index) => choose(bench, firstPort + index));
}

/** How often each of `count` endpoints was chosen. */
function histogram(chosen: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, index) => chosen.filter((one) => one === index).length);
}

/** The index of the smallest; of equals the first from `start` on. */
function leastBusy(totals: readonly number[], start: number): number {
  const order = totals.map((_, index) => (start + index) % totals.length);
  return order.reduce((best, index) => ((totals[index] ?? 0) < (totals[best] ?? 0) ? index : best));
}

describePath('selection', (bench) => {
  describe('rr', () => {
    it('goes round in the given order, starting with the first', () => {
      addService(bench(), 4);
      expect(chooseMany(bench(), 10)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1]);
    });

    it('keeps one turn per service', () => {
      addService(bench(), 3);
      const other = { address: vip, port: SERVICE_PORT, protocol: protocolNumber(FAMILY, 'udp') };
      bench().addService({ ...other, endpoints: [0, 1, 2].map((index) => ({ address: endpoint(index).address })) });
      expect([1, 2, 3].map((port) => choose(bench(), port))).toEqual([0, 1, 2]);
      expect([1, 2, 3].map((port) => choose(bench(), port, client, 'udp'))).toEqual([0, 1, 2]);
    });

    it('never chooses an inactive endpoint', () => {
      const endpoints = [0, 1, 2, 3].map((index) => ({ address: endpoint(index).address, active: index !== 1 }));
      addService(bench(), 0, { endpoints });
      expect(chooseMany(bench(), 6)).toEqual([0, 2, 3, 0, 2, 3]);
    });

    it('does not take a turn for packets of flows that exist', () => {
      addService(bench(), 3);
      expect([1, 1, 1, 2, 1, 3].map((port) => choose(bench(), port))).toEqual([0, 0, 0, 1, 0, 2]);
    });

    it('follows a change of the endpoints at once, while flows stay where they are', () => {
      const { id, endpointIds } = addService(bench(), 3);
      expect(chooseMany(bench(), 3)).toEqual([0, 1, 2]);
      const [, , last = 0] = endpointIds;
      const key = { addr: vip, port: SERVICE_PORT, proto: protocolNumber(FAMILY, 'tcp'), mark: 0 };
      const { services } = bench().path.maps;
      services.change(key, { serviceId: id, slotBase: bench().addSlots([last]), slotCount: 1 });
      expect(chooseMany(bench(), 3, 20_000)).toEqual([2, 2, 2]);
      expect(chooseMany(bench(), 3)).toEqual([0, 1, 2]);
    });
  });

  it('priority follows the sequence it is given', () => {
    addService(bench(), 3, { select: SELECT.priority, slots: [0, 1, 0, 2, 0] });
    expect(chooseMany(bench(), 10)).toEqual([0, 1, 0, 2, 0, 0, 1, 0, 2, 0]);
  });

  describe('hash', () => {
    const random = seeded(11);
    const slots = Array.from({ length: 1021 }, () => Math.floor(random() * 4));

    it('spreads tuples like the table', () => {
      addService(bench(), 4, { select: SELECT.hash, slots });
      const flows = 2000;
      const chosen = histogram(chooseMany(bench(), flows), 4);
      const shares = histogram(slots, 4).map((count) => (count / slots.length) * flows);
      const chiSquare = chosen.reduce(
        (sum, count, index) => sum + (count - (shares[index] ?? 0)) ** 2 / (shares[index] ?? 1),
        0,
      );
      // Three degrees of freedom: 16.3 is passed by chance once in a thousand; the hash is fixed, so never.
      expect(chiSquare).toBeLessThan(16.3);
    });

    it('spreads clients that differ in one byte of the address only', () => {
      addService(bench(), 4, { select: SELECT.hash, slots });
      const chosen = Array.from({ length: 200 }, (_, index) =>
        choose(bench(), 7777, host(CLIENT_SIDE, FAMILY, 10 + index)),
      );
      for (const count of histogram(chosen, 4)) expect(count).toBeGreaterThan(25);
    });

    it('gives a tuple the same endpoint again after its flow is forgotten', () => {
      addService(bench(), 4, { select: SELECT.hash, slots });
      const before = chooseMany(bench(), 100);
      bench().forgetFlows();
      expect(chooseMany(bench(), 100)).toEqual(before);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(200);
    });
  });

  describe('persist', () => {
    const affinityTicks = 60 * TICKS_PER_SECOND;
    const slots = Array.from({ length: 64 }, (_, index) => index % 4);
    const clients = Array.from({ length: 30 }, (_, index) => host(CLIENT_SIDE, FAMILY, 10 + index));
    const add = () => addService(bench(), 4, { select: SELECT.persist, affinityTicks, slots });

    it('gives a client the endpoint it had, whatever its port', () => {
      add();
      for (const from of clients) {
        const ports = Array.from({ length: 5 }, (_, index) => choose(bench(), 1000 + index, from));
        expect(new Set(ports).size).toBe(1);
      }
    });

    it('spreads clients over all endpoints', () => {
      add();
      const chosen = clients.map((from) => choose(bench(), 1000, from));
      for (const count of histogram(chosen, 4)) expect(count).toBeGreaterThan(0);
    });

    it('keeps clients where they are when the endpoints change', () => {
      const { endpointIds } = add();
      const before = clients.map((from) => choose(bench(), 1000, from));
      const shuffled = slots.map((index) => endpointIds[(index + 1) % 4] ?? 0);
      const key = { addr: vip, port: SERVICE_PORT, proto: protocolNumber(FAMILY, 'tcp'), mark: 0 };
      bench().path.maps.services.change(key, { slotBase: bench().addSlots(shuffled) });
      expect(clients.map((from) => choose(bench(), 1001, from))).toEqual(before);
    });

    it('forgets a client that was idle longer than the timeout', () => {
      const { id, endpointIds } = add();
      const chosen = choose(bench(), 1000);
      const onlyOther = (chosen + 1) % 4;
      const service = { addr: vip, port: SERVICE_PORT, proto: protocolNumber(FAMILY, 'tcp'), mark: 0 };
      bench().path.maps.services.change(service, {
        slotBase: bench().addSlots([endpointIds[onlyOther] ?? 0]),
        slotCount: 1,
      });
      const affinity = { client: client.address, serviceId: id };
      const { seen } = bench().path.maps.affinity.need(affinity);
      const idle = (ticks: number) => bench().path.maps.affinity.change(affinity, { seen: (seen - ticks) >>> 0 });
      idle(affinityTicks - TICKS_PER_SECOND);
      expect(choose(bench(), 1001)).toBe(chosen);
      idle(affinityTicks + TICKS_PER_SECOND);
      expect(choose(bench(), 1002)).toBe(onlyOther);
      expect(choose(bench(), 1003)).toBe(onlyOther);
    });

    it('moves a client whose endpoint is inactive', () => {
      const { endpointIds } = add();
      const chosen = choose(bench(), 1000);
      const left = [0, 1, 2, 3].filter((index) => index !== chosen);
      bench().path.maps.endpoints.change(endpointIds[chosen] ?? 0, { active: 0 });
      const key = { addr: vip, port: SERVICE_PORT, proto: protocolNumber(FAMILY, 'tcp'), mark: 0 };
      const slotBase = bench().addSlots(left.map((index) => endpointIds[index] ?? 0));
      bench().path.maps.services.change(key, { slotBase, slotCount: left.length });
      const moved = choose(bench(), 1001);
      expect(left).toContain(moved);
      expect(choose(bench(), 1002)).toBe(moved);
    });

    it('knows a client of one service from the same client of another', () => {
      add();
      const protocol = protocolNumber(FAMILY, 'udp');
      const endpoints = [{ address: endpoint(7).address }];
      bench().addService({
        address: vip,
        port: SERVICE_PORT,
        protocol,
        endpoints,
        select: SELECT.persist,
        affinityTicks,
      });
      expect(choose(bench(), 1000)).toBeLessThan(4);
      expect(choose(bench(), 1000, client, 'udp')).toBe(7);
    });
  });

  describe('lc', () => {
    it('takes the endpoint with the fewest flows, half-open ones included', () => {
      const { endpointIds } = addService(bench(), 3, { select: SELECT.lc });
      const active = [5, 1, 3];
      for (const [index, id] of endpointIds.entries()) {
        bench().path.maps.endpointFlows.change(id, { active: active[index] ?? 0 });
      }
      const chosen = chooseMany(bench(), 9);
      // 5 1 3 -> 5 3 3 after two, then both grow to 5, and the three go level.
      expect(chosen.slice(0, 2)).toEqual([1, 1]);
      expect(histogram(chosen.slice(0, 6), 3)).toEqual([0, 4, 2]);
      expect(histogram(chosen, 3)).toEqual([1, 5, 3]);
    });

    it('spreads evenly from nothing', () => {
      addService(bench(), 4, { select: SELECT.lc });
      expect(histogram(chooseMany(bench(), 40), 4)).toEqual([10, 10, 10, 10]);
    });

    it('counts a flow no longer once it is over', () => {
      const { endpointIds } = addService(bench(), 2, { select: SELECT.lc });
      const flowsOf = () => endpointIds.map((id) => bench().path.maps.endpointFlows.need(id).pending);
      chooseMany(bench(), 10);
      expect(flowsOf()).toEqual([5, 5]);
      for (const table of bench().tables()) {
        for (const [key, entry] of table.entries()) {
          const seen = (entry.seen - 60 * TICKS_PER_SECOND) >>> 0;
          if (entry.endpointId === endpointIds[0]) table.set(key, { ...entry, seen });
        }
      }
      bench().path.expire();
      expect(flowsOf()).toEqual([0, 5]);
      expect(histogram(chooseMany(bench(), 5, 20_000), 2)).toEqual([5, 0]);
    });

    // Without bpf_loop a rule has at most 64.
    const sizes = [
      1,
      2,
      3,
      15,
      16,
      17,
      31,
      32,
      33,
      63,
      64,
      ...(process.env.LOXILB_BPF_OLD_KERNEL ? [] : [65, 500, 1000]),
    ];
    it.each(sizes)('of %i endpoints takes the very least busy, from the next one on among equals', (count) => {
      const random = seeded(count);
      const endpoints = Array.from({ length: count }, (_, index) => ({
        address: endpoint(0).address,
        port: 2000 + index,
      }));
      const { id, endpointIds } = addService(bench(), 0, { select: SELECT.lc, endpoints });
      const { endpointFlows, serviceStates } = bench().path.maps;
      // Few values, so that there are equals.
      const totals = endpointIds.map((endpointId) => {
        const [active, pending] = [Math.floor(random() * 3), Math.floor(random() * 3)];
        endpointFlows.set(endpointId, { active, pending, recount: 0 });
        return active + pending;
      });
      for (let turn = 0; turn < 40; turn++) {
        const cursor = Math.floor(random() * 2 ** 32);
        serviceStates.change(id, { cursor });
        const wanted = leastBusy(totals, cursor % count);
        totals[wanted] = (totals[wanted] ?? 0) + 1;
        const packet = packetFrom(client, vip, opening('tcp', 10_000 + turn, SERVICE_PORT));
        const { transport } = parseFrame(bench().receive(packet, CLIENT_SIDE).frame);
        expect(transport).toMatchObject({ destinationPort: 2000 + wanted });
      }
      for (const endpointId of endpointIds) endpointFlows.zero(endpointId);
    });
  });

  describe('firewall mark', () => {
    const ofMark = (mark: number, clientPort: number): string => {
      const packet = packetFrom(client, vip, opening('tcp', clientPort, SERVICE_PORT));
      return parseFrame(bench().receive(packet, CLIENT_SIDE, { mark }).frame).ip.destination;
    };

    it('a service with a mark takes packets with that mark only', () => {
      addService(bench(), 1, { mark: 7 });
      expect([7, 0, 8].map((mark, index) => ofMark(mark, 100 + index))).toEqual([endpoint(0).address, vip, vip]);
    });

    it('a service without a mark takes what the marked one leaves', () => {
      addService(bench(), 1, { mark: 7 });
      addService(bench(), 2, { slots: [1] });
      const expected = [endpoint(0).address, endpoint(1).address, endpoint(1).address];
      expect([7, 0, 8].map((mark, index) => ofMark(mark, 100 + index))).toEqual(expected);
    });
  });

  describe('clients of one provider, IPv6', () => {
    const six = scene(6);
    const PROVIDER = ['2001', 'db8'];
    const slots = Array.from({ length: 1021 }, (_, index) => index % 4);
    /** Addresses of one /32 that differ in one group of sixteen bits only. */
    const clientsOf = (group: number): Host[] =>
      Array.from({ length: 100 }, (_, index) => {
        const groups = [...PROVIDER, ...Array(6).fill('0')];
        groups[group] = (1 + index).toString(16);
        return { ...six.client, address: groups.join(':') };
      });
    const chosenBy = (from: Host): number => {
      const packet = packetFrom(from, six.vip, opening('tcp', 7777, SERVICE_PORT));
      const { destination } = parseFrame(bench().receive(packet, CLIENT_SIDE).frame).ip;
      return [0, 1, 2, 3].findIndex((index) => six.endpoint(index).address === destination);
    };

    it.each(['hash', 'persist'] as const)('are spread by %s, wherever their addresses differ', (select) => {
      const endpoints = [0, 1, 2, 3].map((index) => ({ address: six.endpoint(index).address }));
      const service = { address: six.vip, port: SERVICE_PORT, protocol: protocolNumber(6, 'tcp'), endpoints };
      bench().addService({ ...service, select: SELECT[select], affinityTicks: 60 * TICKS_PER_SECOND, slots });
      for (const group of [2, 3, 4, 5, 6, 7]) {
        const counts = histogram(clientsOf(group).map(chosenBy), 4);
        expect([group, counts.reduce((sum, one) => sum + one)]).toEqual([group, 100]);
        for (const count of counts) expect(count).toBeGreaterThan(10);
      }
    });
  });
});
