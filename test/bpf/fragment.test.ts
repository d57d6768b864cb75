/** Fragments: the first goes like any packet, the others follow it, whichever comes first. */
import { describe, expect, it } from 'vitest';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addPlainService } from './conversation.js';
import { addDsrService } from './dsr.js';
import { FRAME_MAX } from './fragment-layout.js';
import { type RunResult, VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import { CLIENT_SIDE, NARROW_MTU, NARROW_SIDE, SERVER_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { fragment } from './reference/fragment.js';
import { echo, type Packet, TCP, type Transport, tcp, udp } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import { type Peer, translate } from './reference/translate.js';
import { encapsulate } from './reference/tunnel.js';
import {
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  expectPacket,
  expectUntouched,
  type Family,
  host,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
  TICKS_PER_SECOND,
} from './scenario.js';
import { Wire, whileAttached } from './wire.js';

const ID = 0xbeef;
/** FRAG_HELD_MAX, and FRAG_LIFETIME_TICKS in seconds. */
const HELD_MAX = 48;
const LIFETIME = 10;

function transportOf(protocol: Protocol, from: number, to: number, payload: Uint8Array, reply = false): Transport {
  switch (protocol) {
    case 'tcp':
      return tcp({ sourcePort: from, destinationPort: to, flags: reply ? TCP.syn | TCP.ack : TCP.syn, payload });
    case 'udp':
      return udp({ sourcePort: from, destinationPort: to, payload });
    case 'icmp':
      return echo({ identifier: reply ? to : from, reply, payload });
  }
}

/** Bytes of payload; not a multiple of eight. */
const SIZE = 2995;
const random = seeded(8200);
const PAYLOAD = randomBytes(random, SIZE);

function request(family: Family, protocol: Protocol, payload = PAYLOAD): Packet {
  const { vip, client } = scene(family);
  return packetFrom(client, vip, transportOf(protocol, CLIENT_PORT, SERVICE_PORT, payload));
}

/** How each mode sends a packet of the client to `endpoint(0)`. */
const MODES = ['default', 'onearm', 'fullnat', 'L2-DSR', 'L3-DSR'] as const;
type Mode = (typeof MODES)[number];

/** The address the endpoint sees as its client. */
function seenAs(mode: Mode, family: Family): string {
  const { vip, client, self } = scene(family);
  return mode === 'onearm' ? self : mode === 'fullnat' ? vip : client.address;
}

describePath('fragments', (bench) => {
  const add = (mode: Mode, family: Family, protocol: Protocol) => {
    const { endpoint, self } = scene(family);
    const { address } = endpoint(0);
    if (mode === 'L2-DSR') return addDsrService(bench(), family, protocol, [{ address, self }]);
    const flags = LbEndpointFlags.LB_EP_TUNNEL;
    if (mode === 'L3-DSR') return addDsrService(bench(), family, protocol, [{ address, self, flags }]);
    const source = seenAs(mode, family);
    return addPlainService(bench(), family, protocol, mode === 'default' ? {} : { source });
  };

  /** The parts as they have to leave: those of the translated packet, but for DSR, which translates nothing. */
  const expected = (mode: Mode, packet: Packet, size: number, results: readonly RunResult[], id = ID): Packet[] => {
    const family = packet.ip.version;
    const { endpoint, self } = scene(family);
    const { address: destination } = endpoint(0);
    const hop = departure(endpoint(0));
    if (mode === 'L2-DSR') return fragment(packet, size, id).map((part) => ({ ...part, ethernet: hop }));
    if (mode === 'L3-DSR')
      return fragment(packet, size, id).map((part, index) => {
        const [high = 0, low = 0] = results[index]?.frame.subarray(18, 20) ?? [];
        return encapsulate(part, { source: self, destination, hop, identification: (high << 8) | low });
      });
    const source = { address: seenAs(mode, family), port: CLIENT_PORT };
    const to = { address: destination, port: ENDPOINT_PORT };
    return fragment(translate(packet, { source, destination: to, hop, hops: 1 }), size, id);
  };

  const send = (parts: readonly Packet[]): RunResult[] => parts.map((part) => bench().receive(part, CLIENT_SIDE));
  const expectAll = (results: readonly RunResult[], parts: readonly Packet[]) => {
    expect(results).toHaveLength(parts.length);
    for (const [index, part] of parts.entries()) expectForwarded(results[index] as RunResult, part);
  };
  const announce = (...addresses: string[]) => {
    for (const address of addresses) bench().path.maps.addresses.set(address, { uses: 1 });
  };
  /** What is remembered of fragmented packets looks older. */
  const age = (seconds: number) => {
    const { fragments } = bench().path.maps;
    for (const [key, known] of fragments.entries())
      fragments.set(key, { ...known, seen: (known.seen - seconds * TICKS_PER_SECOND) >>> 0 });
  };

  describe.each(MODES)('%s', (mode) => {
    describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
      it.each([1400, 1024, 200, 32])('in order, %d bytes each', (size) => {
        add(mode, family, protocol);
        const packet = request(family, protocol);
        const results = send(fragment(packet, size, ID));
        expectAll(results, expected(mode, packet, size, results));
        expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1 });
        expect(bench().path.counters().PASS_FRAGMENT).toBeUndefined();
      });

      it('two packets whose parts mix', () => {
        add(mode, family, protocol);
        const one = request(family, protocol);
        const other = request(family, protocol, randomBytes(random, SIZE));
        const parts = [fragment(one, 1024, 1), fragment(other, 1024, 2)] as const;
        const mixed = parts[0].flatMap((part, index) => [part, ...parts[1].slice(index, index + 1)]);
        const results = send(mixed);
        const every = (bit: number) => results.filter((_, index) => index % 2 === bit);
        expectAll(every(0), expected(mode, one, 1024, every(0), 1));
        expectAll(every(1), expected(mode, other, 1024, every(1), 2));
      });

      it('the last before the ones between', () => {
        add(mode, family, protocol);
        const packet = request(family, protocol);
        const parts = fragment(packet, 600, ID);
        const later = parts.slice(1).map((_, index) => index + 1);
        const order = [0, ...later.reverse()];
        const results = send(order.map((index) => parts[index] as Packet));
        const sorted = parts.map((_, index) => results[order.indexOf(index)] as RunResult);
        expectAll(sorted, expected(mode, packet, 600, sorted));
      });
    });
  });

  describe.each(['default', 'onearm', 'fullnat'] as const)('answers, %s', (mode) => {
    it.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
      const { vip, client, endpoint } = scene(family);
      const server = endpoint(0);
      add(mode, family, protocol);
      bench().receive(request(family, protocol, PAYLOAD.subarray(0, 100)), CLIENT_SIDE);
      const seen: Peer = { address: seenAs(mode, family), port: CLIENT_PORT };
      const reply = packetFrom(server, seen.address, transportOf(protocol, ENDPOINT_PORT, seen.port, PAYLOAD, true));
      const back = {
        source: { address: vip, port: SERVICE_PORT },
        destination: { address: client.address, port: CLIENT_PORT },
        hop: departure(client),
        hops: 1,
      };
      const results = fragment(reply, 1400, ID).map((part) => bench().receive(part, SERVER_SIDE));
      expectAll(results, fragment(translate(reply, back), 1400, ID));
    });
  });

  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint } = scene(family);
    const packet = request(family, protocol);
    const parts = fragment(packet, 1024, ID);
    const [first, second, third] = parts as [Packet, Packet, Packet];
    const expectPassed = (part: Packet) => {
      const before = bench().path.counters().PASS_FRAGMENT ?? 0;
      expectUntouched(bench().receive(part, CLIENT_SIDE), buildFrame(part));
      expect(bench().path.counters().PASS_FRAGMENT).toBe(before + 1);
    };
    const expectHeld = (part: Packet) => {
      const before = bench().path.counters().EVENT_FRAGMENT_HELD ?? 0;
      expect(bench().receive(part, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      expect(bench().path.counters().EVENT_FRAGMENT_HELD).toBe(before + 1);
    };

    it('parts of another packet do not follow', () => {
      add('default', family, protocol);
      bench().receive(first, CLIENT_SIDE);
      expectPassed(fragment(packet, 1024, ID + 1)[1] as Packet);
      const stranger = host(CLIENT_SIDE, family, 15);
      const theirs = packetFrom(stranger, vip, packet.transport);
      expectPassed(fragment(theirs, 1024, ID)[1] as Packet);
      const elsewhere = packetFrom(client, endpoint(3).address, packet.transport);
      expectPassed(fragment(elsewhere, 1024, ID)[1] as Packet);
      const [other = 'udp'] = (['tcp', 'udp'] as const).filter((one) => one !== protocol);
      expectPassed(fragment(request(family, other), 1024, ID)[1] as Packet);
    });

    it('packets between others are not touched, in whatever order', () => {
      add('default', family, protocol);
      announce(vip, endpoint(0).address);
      const others = packetFrom(client, endpoint(7).address, packet.transport);
      const theirs = fragment(others, 1024, ID);
      for (const part of [...theirs, ...fragment(others, 1024, ID + 1).reverse()]) expectPassed(part);
      expect(bench().path.maps.heldFragments.keys()).toEqual([]);
    });

    it('a port without a service: all parts pass', () => {
      announce(vip);
      for (const part of parts) expectPassed(part);
    });

    it('what comes before the first part passes where the address is nobody of ours', () => {
      add('default', family, protocol);
      for (const part of [second, third]) expectPassed(part);
      expect(bench().path.maps.heldFragments.keys()).toEqual([]);
    });

    it('and is kept where it is of a service', () => {
      add('default', family, protocol);
      announce(vip);
      for (const part of [third, second]) expectHeld(part);
      const kept = bench().path.maps.heldFragments.entries();
      const frames = kept.map(([key, { length, frame }]) => [key.index, frame.slice(0, length)] as const);
      expect(new Map(frames)).toEqual(
        new Map([
          [0, buildFrame(third)],
          [1, buildFrame(second)],
        ]),
      );
    });

    it('or comes from an endpoint', () => {
      const server = endpoint(0);
      announce(server.address);
      const reply = packetFrom(server, client.address, packet.transport);
      const later = fragment(reply, 1024, ID)[1] as Packet;
      expect(bench().receive(later, SERVER_SIDE).verdict).toBe(VERDICT.drop);
      expect(bench().path.counters()).toEqual({ EVENT_FRAGMENT_HELD: 1 });
    });

    it('a frame longer than there is room for is dropped and counted', () => {
      announce(vip);
      const size = 8 * Math.ceil(FRAME_MAX / 8);
      const [, later] = fragment(request(family, protocol, randomBytes(random, 2 * FRAME_MAX)), size, ID);
      expect(bench().receive(later as Packet, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      expect(bench().path.counters()).toEqual({ DROP_FRAGMENT: 1 });
      expect(bench().path.maps.heldFragments.keys()).toEqual([]);
    });

    it('so is the one part of a packet too many', () => {
      announce(vip);
      const many = fragment(packet, 32, ID).slice(1, HELD_MAX + 4);
      for (const [index, part] of many.entries()) {
        if (index < HELD_MAX) expectHeld(part);
        else expect(bench().receive(part, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
      }
      expect(bench().path.counters()).toEqual({ EVENT_FRAGMENT_HELD: HELD_MAX, DROP_FRAGMENT: 3 });
      expect(bench().path.maps.heldFragments.keys()).toHaveLength(HELD_MAX);
    });

    it('a first part long ago is not followed', () => {
      add('default', family, protocol);
      bench().receive(first, CLIENT_SIDE);
      age(LIFETIME - 1);
      const [, translated] = expected('default', packet, 1024, []);
      expectForwarded(bench().receive(second, CLIENT_SIDE), translated as Packet);
      age(2);
      expectPassed(second);
      announce(vip);
      expectHeld(third);
    });

    it('a first part again begins anew', () => {
      add('default', family, protocol);
      const results = send([first, second]);
      age(LIFETIME + 1);
      results.push(...send([first, second, third]));
      const [one, two, three] = expected('default', packet, 1024, []) as [Packet, Packet, Packet];
      expectAll(results, [one, two, one, two, three]);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
    });

    it('later parts do not open a flow, nor move one on', () => {
      add('default', family, protocol);
      bench().receive(first, CLIENT_SIDE);
      bench().forgetFlows();
      for (const part of [second, third]) expectUntouched(bench().receive(part, CLIENT_SIDE), buildFrame(part));
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });

    it('a service without an endpoint: the first part is refused, and no answer is a broken packet', () => {
      bench().addService({
        address: vip,
        port: protocol === 'icmp' ? 0 : SERVICE_PORT,
        protocol: protocolNumber(family, protocol),
        endpoints: [],
      });
      const result = bench().receive(first, CLIENT_SIDE);
      expect(bench().path.counters()).toMatchObject({ DROP_NO_ENDPOINT: 1 });
      if (result.verdict === VERDICT.drop) return;
      const refusal = parseFrame(result.frame);
      expect(refusal.ip).toMatchObject({ source: vip, destination: client.address });
      expect(refusal.transport.kind).toBe(protocol === 'tcp' ? 'tcp' : 'error');
      if (family === 4) expect(refusal.ip).toMatchObject({ moreFragments: false, fragmentOffset: 0 });
      else expect(refusal.ip).toMatchObject({ extensions: [] });
    });
  });

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client } = scene(family);

    it('a spent TTL is answered about the first part', () => {
      add('default', family, 'udp');
      const [first] = fragment(packetFrom(client, vip, request(family, 'udp').transport, { ttl: 1 }), 1024, ID);
      const result = bench().receive(first as Packet, CLIENT_SIDE);
      if (family === 6) {
        // What is quoted begins with the fragment header; it is enough that it is answered or dropped.
        expect(bench().path.counters()).toMatchObject({ DROP_TTL_EXCEEDED: 1 });
        return;
      }
      expectErrorAbout(result, first as Packet, { type: 11, code: 0, rest: 0 });
    });

    it('UDP without a checksum stays without', () => {
      if (family === 6) return;
      add('default', family, 'udp');
      const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
      const packet = packetFrom(client, vip, udp({ ...ports, payload: PAYLOAD, unsummed: true }));
      const results = send(fragment(packet, 1024, ID));
      expectAll(results, expected('default', packet, 1024, results));
    });

    it('an answer of this machine itself leaves translated', () => {
      const { self } = scene(family);
      bench().addService({ address: vip, port: SERVICE_PORT, protocol: 17, endpoints: [{ address: self }] });
      const packet = request(family, 'udp');
      const local = { address: self, port: ENDPOINT_PORT };
      const inside = fragment(translate(packet, { destination: local }), 1024, ID);
      for (const [index, part] of fragment(packet, 1024, ID).entries()) {
        const result = bench().receive(part, CLIENT_SIDE);
        expectPacket(result, inside[index] as Packet);
        expect(result.verdict).toBe(VERDICT.next);
      }
      const transport = transportOf('udp', ENDPOINT_PORT, CLIENT_PORT, PAYLOAD);
      const reply = { ...packetFrom(client, client.address, transport, { source: self }), ethernet: departure(client) };
      const outside = fragment(translate(reply, { source: { address: vip, port: SERVICE_PORT } }), 1024, ID);
      for (const [index, part] of fragment(reply, 1024, ID).entries()) {
        const result = bench().path.egress(buildFrame(part), { ifindex: bench().network.ifindex(CLIENT_SIDE) });
        expectPacket(result, outside[index] as Packet);
        expect(result.verdict).toBe(VERDICT.next);
      }
    });

    it.each(['default', 'onearm', 'fullnat', 'L2-DSR', 'L3-DSR'] as const)(
      'over the wire, in any order, through %s: all arrive, in order',
      (mode) => {
        add(mode, family, 'udp');
        announce(vip, scene(family).endpoint(0).address);
        const here = new Wire(bench().network.farIfindex(CLIENT_SIDE));
        const there = new Wire(bench().network.farIfindex(SERVER_SIDE));
        const ours = (frame: Uint8Array) => Buffer.from(frame.subarray(6, 12)).equals(Buffer.from([2, 0, 0, 0, 2, 1]));
        whileAttached(bench(), [CLIENT_SIDE, SERVER_SIDE], () => {
          for (const [round, order] of [
            [2, 1, 0],
            [1, 0, 2],
            [2, 0, 1],
            [0, 2, 1],
            [1, 2, 0],
          ].entries()) {
            const packet = request(family, 'udp', randomBytes(random, SIZE));
            const parts = fragment(packet, 1024, ID + round);
            for (const index of order) here.send(buildFrame(parts[index] as Packet));
            const frames = there.receive(parts.length, ours);
            const place = (frame: Uint8Array) => Buffer.from(frame).toString('hex');
            const results = frames.map((frame) => ({ verdict: VERDICT.redirect, frame }));
            // Those that came before the first follow it as they came; those after come when they come.
            const held = order.slice(0, order.indexOf(0));
            const arrival = [0, ...held, ...order.slice(order.indexOf(0) + 1)];
            const byPlace = parts.map((_, index) => results[arrival.indexOf(index)]);
            expect(frames).toHaveLength(parts.length);
            const wanted = expected(mode, packet, 1024, byPlace as RunResult[], ID + round).map(buildFrame);
            expect(frames.map(place)).toEqual(arrival.map((index) => place(wanted[index] as Uint8Array)));
          }
        });
        here.close();
        there.close();
        expect(bench().path.maps.heldFragments.keys()).toEqual([]);
      },
    );
  });

  it('no ICMP error about any but the first part, IPv4 (RFC 1122 3.2.2)', () => {
    add('default', 4, 'udp');
    const { vip, client } = scene(4);
    const whole = request(4, 'udp');
    const [first] = fragment(whole, 1024, ID);
    bench().receive(first as Packet, CLIENT_SIDE);
    const [, spent] = fragment(packetFrom(client, vip, whole.transport, { ttl: 1 }), 1024, ID);
    expect(bench().receive(spent as Packet, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
    expect(bench().path.counters()).toMatchObject({ DROP_TTL_EXCEEDED: 1 });
  });

  it.each(['L2-DSR', 'L3-DSR'] as const)('nor that one is too big, %s', (mode) => {
    const narrow = host(NARROW_SIDE, 4, 11);
    const flags = mode === 'L3-DSR' ? LbEndpointFlags.LB_EP_TUNNEL : 0;
    addDsrService(bench(), 4, 'udp', [{ address: narrow.address, self: NARROW_SIDE.addresses[0], flags }]);
    const packet = request(4, 'udp');
    const [small] = fragment(packet, 512, ID);
    bench().receive(small as Packet, CLIENT_SIDE);
    const [, big] = fragment(packet, 1440, ID);
    expect(bench().receive(big as Packet, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
    expect(bench().path.counters()).toMatchObject({ DROP_TOO_BIG: 1 });
  });

  it('parts too big for the way out are left to the kernel to cut further, IPv4', () => {
    const narrow = host(NARROW_SIDE, 4, 11);
    bench().addService({
      address: scene(4).vip,
      port: SERVICE_PORT,
      protocol: 17,
      endpoints: [{ address: narrow.address }],
    });
    const packet = request(4, 'udp');
    const destination = { address: narrow.address, port: ENDPOINT_PORT };
    const size = 8 * Math.ceil(NARROW_MTU / 8);
    const wanted = fragment(translate(packet, { destination }), size, ID);
    for (const [index, part] of fragment(packet, size, ID).slice(0, 2).entries()) {
      const result = bench().receive(part, CLIENT_SIDE);
      expectPacket(result, wanted[index] as Packet);
      expect(result.verdict).toBe(VERDICT.next);
    }
  });

  it('parts too big for the way out are answered, IPv6', () => {
    const narrow = host(NARROW_SIDE, 6, 11);
    bench().addService({
      address: scene(6).vip,
      port: SERVICE_PORT,
      protocol: 17,
      endpoints: [{ address: narrow.address }],
    });
    const packet = request(6, 'udp');
    const [first] = fragment(packet, 1440, ID);
    const result = bench().receive(first as Packet, CLIENT_SIDE);
    expectErrorAbout(result, first as Packet, { type: 2, code: 0, rest: NARROW_MTU });
  });

  it('many packets at once: the oldest kept give way, nothing else', () => {
    announce(scene(4).vip);
    add('default', 4, 'udp');
    const packet = request(4, 'udp', PAYLOAD.subarray(0, 100));
    for (let id = 0; id < 4000; id++) {
      const [, later] = fragment(packet, 56, id);
      expect(bench().receive(later as Packet, CLIENT_SIDE).verdict).toBe(VERDICT.drop);
    }
    expect(bench().path.counters().EVENT_FRAGMENT_HELD).toBe(4000);
    expect(bench().path.maps.heldFragments.keys().length).toBeLessThanOrEqual(2048);
  });
});
