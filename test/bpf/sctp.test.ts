/** SCTP (RFC 9260): translation with its CRC, the life of an association by its chunks, verification tags. */
import { describe, expect, it } from 'vitest';
import { CtFlags, CtSctpState as STATE } from '../../plugins/conntrack/layout.gen.js';
import {
  ABORT,
  Association,
  CLIENT_TAG,
  COOKIE_ACK,
  COOKIE_ECHO,
  ENDPOINT_TAG,
  HEARTBEAT,
  type ModeName,
  REFLECTED_ABORT,
  SACK,
  SHUTDOWN,
  SHUTDOWN_ACK,
  SHUTDOWN_COMPLETE,
} from './association.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, ROUTER, SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { type Chunk, joinBytes, type Packet, PROTOCOL } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import { CHUNK, chunk, crc32c, data, init, sctpBytes } from './reference/sctp.js';
import { translate, translateError } from './reference/translate.js';
import {
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  expectPacket,
  expectUntouched,
  type Family,
  host,
  packetFrom,
  SELECT,
  SERVICE_PORT,
  TICKS_PER_SECOND,
} from './scenario.js';

const MODES: readonly ModeName[] = ['default', 'onearm', 'fullnat'];
const FAMILIES: readonly Family[] = [4, 6];
const KINDS = FAMILIES.flatMap((family) => MODES.map((mode) => ({ family, mode })));

it('the reference computes the CRC32c everybody knows', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
  // RFC 3720 B.4
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
});

describePath('SCTP', (bench) => {
  const open = (family: Family = 4, mode: ModeName = 'default', endpoints = 1): Association => {
    const talk = new Association(bench(), family, mode);
    talk.addService({}, endpoints);
    return talk;
  };
  const established = (family: Family = 4, mode: ModeName = 'default'): Association => {
    const talk = open(family, mode);
    talk.establish();
    return talk;
  };
  const drops = (reason: 'DROP_SCTP' | 'DROP_SCTP_TAG') => bench().path.counters()[reason] ?? 0;

  describe.each(KINDS)('IPv$family $mode', ({ family, mode }) => {
    it('is translated from the first packet to the last', () => {
      const talk = established(family, mode);
      talk.expectState(STATE.CT_SCTP_EST);
      for (let round = 0; round < 3; round++) {
        talk.fromClient([data('question', round)]);
        talk.fromEndpoint([SACK, data('answer', round)]);
        talk.fromClient([SACK]);
        talk.fromEndpoint([HEARTBEAT]);
      }
      talk.fromClient([SHUTDOWN]);
      talk.fromEndpoint([SHUTDOWN_ACK]);
      talk.fromClient([SHUTDOWN_COMPLETE]);
      talk.expectState(STATE.CT_SCTP_SHUT_COMPLETE);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_FLOW_CONFIRMED: 1 });
    });

    it('whatever its length', () => {
      const talk = established(family, mode);
      const random = seeded(family);
      for (const length of [0, 1, 2, 3, 4, 15, 16, 17, 255, 256, 1000, 1023, 1024, 1400]) {
        const value = randomBytes(random, 12 + length);
        talk.fromClient([chunk(CHUNK.data, value, 3)]);
        talk.fromEndpoint([chunk(CHUNK.data, value, 3)]);
      }
    });

    it('a wrong checksum stays wrong, by the same difference', () => {
      const talk = established(family, mode);
      const packet = talk.request([data('spoiled')]);
      const right = buildFrame(packet);
      const at = right.length - sctpBytes(packet.transport as never).length + 8;
      const wrong = right.slice();
      for (const [index, flip] of [0x5a, 1, 0x80, 0xff].entries()) wrong[at + index] = (wrong[at + index] ?? 0) ^ flip;
      const options = { ifindex: bench().network.ifindex(CLIENT_SIDE) };
      const ok = bench().path.ingress(right, options).frame;
      const bad = bench().path.ingress(wrong, options).frame;
      expect(() => parseFrame(ok)).not.toThrow();
      const difference = bad.map((byte, index) => byte ^ (ok[index] ?? 0));
      const expected = new Uint8Array(right.length);
      expected.set([0x5a, 1, 0x80, 0xff], at);
      expect(difference).toEqual(expected);
    });

    it('a checksum of zero is one that is not there', () => {
      const talk = established(family, mode);
      const packet = talk.request([data('unsummed')]);
      const frame = buildFrame(packet);
      const at = frame.length - sctpBytes(packet.transport as never).length + 8;
      frame.fill(0, at, at + 4);
      const out = bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) }).frame;
      expect([...out.subarray(at, at + 4)]).toEqual([0, 0, 0, 0]);
    });

    it('an ICMP error about its packets finds its way', () => {
      const talk = established(family, mode);
      const router = host(SERVER_SIDE, family, ROUTER);
      const { client, vip, endpoint, seen } = talk.peers();
      const quoted = translate(talk.request([data('too long')]), { source: seen, destination: endpoint });
      const length = (family === 4 ? 20 : 40) + 8;
      const quote = buildIp(quoted.ip, quoted.transport).slice(0, length);
      const kind = family === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, code: 0, rest: 1400 };
      const error = packetFrom(router, seen.address, { kind: 'error', ...kind, quote });
      const result = bench().receive(error, router.device);
      const change = { destination: client.address, hops: 1, quoted: { source: client, destination: vip } };
      expectPacket(result, translateError(error, change));
      expect(result.verdict).toBe(VERDICT.redirect);
    });
  });

  describe('states', () => {
    it('follow the chunks', () => {
      const talk = open();
      talk.fromClient([talk.init()], { tag: 0 });
      talk.expectState(STATE.CT_SCTP_INIT);
      talk.fromEndpoint([talk.initAck()]);
      talk.expectState(STATE.CT_SCTP_INIT_ACK);
      talk.fromClient([COOKIE_ECHO]);
      talk.expectState(STATE.CT_SCTP_COOKIE_ECHO);
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      talk.fromEndpoint([COOKIE_ACK]);
      talk.expectState(STATE.CT_SCTP_EST);
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
      talk.fromEndpoint([SHUTDOWN]);
      talk.expectState(STATE.CT_SCTP_SHUT);
      talk.fromClient([data('in flight')]);
      talk.expectState(STATE.CT_SCTP_SHUT);
      talk.fromClient([SHUTDOWN_ACK]);
      talk.expectState(STATE.CT_SCTP_SHUT_ACK);
      talk.fromEndpoint([SHUTDOWN_COMPLETE]);
      talk.expectState(STATE.CT_SCTP_SHUT_COMPLETE);
    });

    it('chunks bundled with others count', () => {
      const talk = open();
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([talk.initAck()]);
      talk.fromClient([COOKIE_ECHO, data('early')]);
      talk.fromEndpoint([COOKIE_ACK, SACK, data('back')]);
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromClient([SACK, SHUTDOWN]);
      talk.expectState(STATE.CT_SCTP_SHUT);
      talk.fromEndpoint([SACK, SHUTDOWN_ACK]);
      talk.expectState(STATE.CT_SCTP_SHUT_ACK);
    });

    it('a chunk repeated changes nothing', () => {
      const talk = open();
      for (let round = 0; round < 2; round++) talk.fromClient([talk.init()], { tag: 0 });
      for (let round = 0; round < 2; round++) talk.fromEndpoint([talk.initAck()]);
      for (let round = 0; round < 2; round++) talk.fromClient([COOKIE_ECHO]);
      for (let round = 0; round < 2; round++) talk.fromEndpoint([COOKIE_ACK]);
      talk.fromClient([COOKIE_ECHO]);
      talk.fromEndpoint([COOKIE_ACK]);
      talk.expectState(STATE.CT_SCTP_EST);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_FLOW_CONFIRMED: 1 });
    });

    it('an endpoint that answers each INIT with another tag is understood', () => {
      const talk = open();
      const tags = [ENDPOINT_TAG, ENDPOINT_TAG + 1, ENDPOINT_TAG + 2];
      for (const tag of tags) {
        talk.fromClient([talk.init()], { tag: 0 });
        talk.fromEndpoint([talk.initAck(undefined, tag)]);
      }
      talk.endpointTag = tags[1] ?? 0;
      talk.fromClient([COOKIE_ECHO]);
      talk.fromEndpoint([COOKIE_ACK]);
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromClient([data('to the one it chose')]);
      talk.sendRequest(talk.request([data('to another')], { tag: tags[2] ?? 0 }));
      expect(drops('DROP_SCTP_TAG')).toBe(1);
    });

    it('an endpoint that refuses ends it, and the next INIT goes to the next endpoint', () => {
      const talk = open(4, 'default', 2);
      talk.fromClient([talk.init()], { tag: 0 });
      expect(bench().path.counters().EVENT_FLOW_CLOSED ?? 0).toBe(0);
      talk.fromEndpoint([ABORT]);
      talk.expectState(STATE.CT_SCTP_ABORT);
      expect(bench().path.counters().EVENT_FLOW_CLOSED).toBe(1);
      talk.endpoint = host(SERVER_SIDE, 4, 12);
      talk.establish();
      talk.expectState(STATE.CT_SCTP_EST);
    });

    it('both sides may begin at a time', () => {
      const talk = open();
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([init({ tag: ENDPOINT_TAG, tsn: 9, parameters: [] })], { tag: 0 });
      talk.fromClient([init({ tag: CLIENT_TAG, tsn: 1, parameters: [] }, CHUNK.initAck)]);
      talk.fromEndpoint([COOKIE_ECHO]);
      talk.fromClient([COOKIE_ACK]);
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromClient([data('one')]);
      talk.fromEndpoint([data('two')]);
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
    });
  });

  describe('tags', () => {
    const afterwards: readonly (readonly [string, readonly Chunk[]])[] = [
      ['data', [data('forged')]],
      ['SACK', [SACK]],
      ['HEARTBEAT', [HEARTBEAT]],
      ['SHUTDOWN', [SHUTDOWN]],
      ['SHUTDOWN ACK', [SHUTDOWN_ACK]],
      ['SHUTDOWN COMPLETE', [SHUTDOWN_COMPLETE]],
      ['ABORT', [ABORT]],
      ['ABORT that should reflect the tag', [REFLECTED_ABORT]],
      ['COOKIE ECHO', [COOKIE_ECHO]],
      ['COOKIE ACK', [COOKIE_ACK]],
      ['INIT ACK', [init({ tag: 7, tsn: 1, parameters: [] }, CHUNK.initAck)]],
    ];

    it.each(afterwards)('%s with the tag of nobody changes nothing', (_name, chunks) => {
      const talk = established();
      for (const tag of [0, 1, CLIENT_TAG, ENDPOINT_TAG + 1, 0xffffffff]) {
        if (chunks[0] === REFLECTED_ABORT && tag === CLIENT_TAG) continue;
        expect(talk.sendRequest(talk.request(chunks, { tag })).verdict).toBe(VERDICT.drop);
      }
      for (const tag of [0, 1, ENDPOINT_TAG, CLIENT_TAG + 1, 0xffffffff]) {
        if (chunks[0] === REFLECTED_ABORT && tag === ENDPOINT_TAG) continue;
        expect(talk.sendAnswer(talk.answer(chunks, { tag })).verdict).toBe(VERDICT.drop);
      }
      expect(drops('DROP_SCTP_TAG')).toBeGreaterThanOrEqual(8);
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromClient([data('still there')]);
      talk.fromEndpoint([data('so am I')]);
    });

    it('INIT ACK, COOKIE ECHO and COOKIE ACK of the handshake too', () => {
      const talk = open();
      const tag = 0x123;
      talk.fromClient([talk.init()], { tag: 0 });
      talk.sendAnswer(talk.answer([talk.initAck()], { tag }));
      talk.sendAnswer(talk.answer([ABORT], { tag }));
      talk.expectState(STATE.CT_SCTP_INIT);
      talk.fromEndpoint([talk.initAck()]);
      talk.sendRequest(talk.request([COOKIE_ECHO], { tag }));
      talk.expectState(STATE.CT_SCTP_INIT_ACK);
      talk.fromClient([COOKIE_ECHO]);
      talk.sendAnswer(talk.answer([COOKIE_ACK], { tag }));
      talk.expectState(STATE.CT_SCTP_COOKIE_ECHO);
      expect(drops('DROP_SCTP_TAG')).toBe(4);
    });

    it('a COOKIE ACK without a cookie is no handshake', () => {
      const talk = open();
      talk.fromClient([talk.init()], { tag: 0 });
      expect(talk.sendAnswer(talk.answer([COOKIE_ACK])).verdict).not.toBe(VERDICT.next);
      talk.expectState(STATE.CT_SCTP_INIT);
    });

    it.each(['client', 'endpoint'] as const)('a %s that has forgotten ends it with the tag it got', (side) => {
      const talk = established();
      if (side === 'client') talk.fromClient([REFLECTED_ABORT], { tag: CLIENT_TAG });
      else talk.fromEndpoint([REFLECTED_ABORT], { tag: ENDPOINT_TAG });
      talk.expectState(STATE.CT_SCTP_ABORT);
    });

    it('SHUTDOWN COMPLETE may reflect the tag too, and only ends what is to end', () => {
      const talk = established();
      talk.fromClient([SHUTDOWN_COMPLETE]);
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromClient([SHUTDOWN]);
      talk.fromEndpoint([SHUTDOWN_ACK]);
      talk.fromClient([chunk(CHUNK.shutdownComplete, undefined, 1)], { tag: CLIENT_TAG });
      talk.expectState(STATE.CT_SCTP_SHUT_COMPLETE);
    });

    it('one who does not know the tag opens nothing', () => {
      const talk = established();
      const stranger = host(CLIENT_SIDE, 4, 33);
      const packet = talk.request([data('guess')], { client: stranger, tag: 12 });
      expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));
      expect(bench().path.counters()).toMatchObject({ PASS_NO_FLOW: 1 });
      expect(bench().flowCount().confirmed).toBe(2);
    });
  });

  describe('restart (RFC 9260 5.2)', () => {
    it('of a client that has forgotten goes to the same endpoint, and has new tags', () => {
      const talk = open(4, 'default', 3);
      talk.establish();
      talk.clientTag = 0x5555;
      talk.fromClient([talk.init()], { tag: 0 });
      talk.endpointTag = 0x6666;
      talk.fromEndpoint([talk.initAck()]);
      talk.expectState(STATE.CT_SCTP_EST);
      // The old association is there until the handshake is through: the INIT may have been forged.
      talk.fromEndpoint([data('old')], { tag: CLIENT_TAG });
      talk.fromClient([data('old')], { tag: ENDPOINT_TAG });
      talk.fromClient([COOKIE_ECHO, data('new')]);
      talk.fromEndpoint([COOKIE_ACK]);
      talk.fromEndpoint([data('new')]);
      talk.fromClient([data('new')]);
      talk.expectState(STATE.CT_SCTP_EST);
      expect(drops('DROP_SCTP_TAG')).toBe(0);
      talk.sendRequest(talk.request([data('old')], { tag: ENDPOINT_TAG }));
      talk.sendAnswer(talk.answer([data('old')], { tag: CLIENT_TAG }));
      expect(drops('DROP_SCTP_TAG')).toBe(2);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
      const [[, association] = []] = bench().path.maps.associations.entries();
      expect([0x5555, 0x6666]).toContain(association?.peerTag);
      expect(bench().path.maps.associations.keys()).toHaveLength(2);
    });

    it('that is forged disturbs nobody', () => {
      const talk = established();
      for (let tag = 1; tag < 20; tag++) {
        talk.fromClient([talk.init(undefined, tag)], { tag: 0 });
        talk.fromEndpoint([talk.initAck(undefined, tag + 100)], { tag });
      }
      talk.fromClient([data('undisturbed')]);
      talk.fromEndpoint([data('likewise')]);
      talk.sendRequest(talk.request([COOKIE_ECHO], { tag: 0x777 }));
      expect(drops('DROP_SCTP_TAG')).toBe(1);
      talk.expectState(STATE.CT_SCTP_EST);
    });
  });

  describe('live flows of the endpoint', () => {
    const live = (id: number) => {
      const { active, pending } = bench().path.maps.endpointFlows.need(id);
      return { active, pending };
    };
    const endings: readonly (readonly [string, (talk: Association) => void])[] = [
      ['ABORT of the client', (talk) => talk.fromClient([ABORT])],
      ['ABORT of the endpoint', (talk) => talk.fromEndpoint([ABORT])],
      ['ABORT of both', (talk) => [talk.fromClient([ABORT]), talk.fromEndpoint([ABORT])]],
      [
        'SHUTDOWN',
        (talk) => {
          talk.fromClient([SHUTDOWN]);
          talk.fromEndpoint([SHUTDOWN_ACK]);
          talk.fromClient([SHUTDOWN_COMPLETE]);
        },
      ],
    ];

    it.each(endings)('are one less at once after %s, and no fewer when the entries go', (_name, end) => {
      const talk = new Association(bench(), 4);
      const { endpointIds } = talk.addService({ select: SELECT.lc });
      const [id = 0] = endpointIds;
      talk.fromClient([talk.init()], { tag: 0 });
      expect(live(id)).toEqual({ active: 0, pending: 1 });
      talk.establish();
      expect(live(id)).toEqual({ active: 1, pending: 0 });
      // Another, so that a second decrement would show.
      const other = host(CLIENT_SIDE, 4, 20);
      bench().receive(talk.request([talk.init()], { tag: 0, client: other }), CLIENT_SIDE);
      expect(live(id)).toEqual({ active: 1, pending: 1 });
      end(talk);
      expect(live(id)).toEqual({ active: 0, pending: 1 });
      bench().path.expire();
      expect(live(id)).toEqual({ active: 0, pending: 1 });
      for (const map of bench().tables()) {
        for (const [key, entry] of map.entries()) map.change(key, { seen: (entry.seen - 11 * TICKS_PER_SECOND) >>> 0 });
      }
      bench().path.expire();
      expect(live(id)).toEqual({ active: 0, pending: 0 });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
      expect(bench().path.maps.associations.keys()).toEqual([]);
    });

    it('ABORT in the handshake', () => {
      const talk = new Association(bench(), 4);
      const [id = 0] = talk.addService().endpointIds;
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([ABORT]);
      expect(live(id)).toEqual({ active: 0, pending: 0 });
      talk.fromClient([talk.init()], { tag: 0 });
      expect(live(id)).toEqual({ active: 0, pending: 1 });
      bench().path.expire();
      expect(live(id)).toEqual({ active: 0, pending: 1 });
    });

    it('least connections counts no association that was aborted', () => {
      const talk = new Association(bench(), 4);
      talk.addService({ select: SELECT.lc }, 2);
      talk.establish();
      talk.fromClient([ABORT]);
      const chosen = [21, 22].map((number) => {
        const client = host(CLIENT_SIDE, 4, number);
        const { frame } = bench().receive(talk.request([talk.init()], { tag: 0, client }), CLIENT_SIDE);
        return parseFrame(frame).ip.destination;
      });
      expect(new Set(chosen).size).toBe(2);
    });

    it.each([
      [STATE.CT_SCTP_EST, 240],
      [STATE.CT_SCTP_ABORT, 10],
    ] as const)('state %d lives %d seconds', (state, seconds) => {
      const talk = established();
      if (state === STATE.CT_SCTP_ABORT) talk.fromEndpoint([ABORT]);
      const age = (by: number) => {
        for (const map of bench().tables()) {
          for (const [key, entry] of map.entries())
            map.change(key, { seen: (entry.seen - by * TICKS_PER_SECOND) >>> 0 });
        }
        bench().path.expire();
      };
      age(seconds - 2);
      talk.expectState(state);
      age(4);
      talk.expectState(undefined);
      expect(bench().path.maps.associations.keys()).toEqual([]);
    });
  });

  describe('malformed', () => {
    const raw = (packet: Packet, change: (segment: Uint8Array) => Uint8Array): Packet => {
      if (packet.transport.kind !== 'sctp') throw new Error('not SCTP');
      const payload = change(sctpBytes(packet.transport));
      const sum = new DataView(payload.buffer);
      if (payload.length >= 12) {
        sum.setUint32(8, 0);
        sum.setUint32(8, crc32c(payload), true);
      }
      return { ...packet, transport: { kind: 'opaque', protocol: PROTOCOL.sctp, payload } };
    };
    const set =
      (at: number, ...bytes: readonly number[]) =>
      (segment: Uint8Array) => {
        const out = segment.slice();
        out.set(bytes, at);
        return out;
      };

    it.each([
      ['a chunk length of 0', set(14, 0, 0)],
      ['of 3', set(14, 0, 3)],
      ['beyond the packet', set(14, 0xff, 0xff)],
      ['just beyond the packet', (segment: Uint8Array) => set(14, 0, segment.length - 12 + 1)(segment)],
      ['a second chunk that is too short', (segment: Uint8Array) => joinBytes(segment, Uint8Array.of(3, 0, 0, 2))],
      ['a second chunk beyond the packet', (segment: Uint8Array) => joinBytes(segment, Uint8Array.of(3, 0, 0, 5))],
    ])('%s: dropped, and the state stays', (_name, change) => {
      const talk = established();
      for (const one of [ABORT, SHUTDOWN, SACK, HEARTBEAT]) {
        if (one === ABORT && _name.startsWith('a second')) continue;
        expect(talk.sendRequest(raw(talk.request([one]), change)).verdict).toBe(VERDICT.drop);
      }
      talk.expectState(STATE.CT_SCTP_EST);
      expect(drops('DROP_SCTP')).toBeGreaterThanOrEqual(3);
      talk.fromClient([data('fine')]);
    });

    it.each([
      ['a tag in the header', (talk: Association) => talk.request([talk.init()], { tag: 5 })],
      ['no tag to use', (talk: Association) => talk.request([talk.init(undefined, 0)], { tag: 0 })],
      ['another chunk behind it', (talk: Association) => talk.request([talk.init(), SACK], { tag: 0 })],
      ['half of it missing', (talk: Association) => talk.request([chunk(CHUNK.init, new Uint8Array(8))], { tag: 0 })],
    ])('INIT with %s opens nothing and restarts nothing', (_name, make) => {
      const talk = open();
      if (!_name.startsWith('another')) {
        expect(talk.sendRequest(make(talk)).verdict).toBe(VERDICT.drop);
        expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
        expect(drops('DROP_SCTP')).toBe(1);
      }
      talk.establish();
      expect(talk.sendRequest(make(talk)).verdict).toBe(VERDICT.drop);
      talk.expectState(STATE.CT_SCTP_EST);
    });

    it('cut short anywhere: no crash, no flow, no wrong rewrite', () => {
      const talk = established();
      const packet = talk.request([SACK, HEARTBEAT, data('payload')]);
      const segment = packet.transport.kind === 'sctp' ? sctpBytes(packet.transport) : new Uint8Array();
      for (let length = 0; length < segment.length; length++) {
        const { verdict } = talk.sendRequest(raw(packet, (all) => all.slice(0, length)));
        expect([VERDICT.drop, VERDICT.next, VERDICT.redirect]).toContain(verdict);
      }
      talk.expectState(STATE.CT_SCTP_EST);
      expect(bench().flowCount().confirmed).toBe(2);
    });

    it('padding that is missing behind the last chunk is no fault', () => {
      const talk = established();
      const packet = raw(talk.request([SACK, chunk(CHUNK.heartbeat, Uint8Array.of(0, 1, 0, 5, 9))]), (all) =>
        all.slice(0, -3),
      );
      expect(talk.sendRequest(packet).verdict).toBe(VERDICT.redirect);
    });

    it('random bytes behind a good header: the state only changes by what is a chunk', () => {
      const talk = established();
      const random = seeded(132);
      for (let round = 0; round < 2000; round++) {
        const garbage = randomBytes(random, 4 + Math.floor(random() * 60));
        const packet = raw(talk.request([SACK]), (all) => joinBytes(all.subarray(0, 12), garbage));
        const { frame, verdict } = talk.sendRequest(packet);
        if (verdict !== VERDICT.redirect) continue;
        const length = 14 + 20 + 12 + garbage.length;
        expect(frame.length).toBe(length);
        const segment = frame.slice(34);
        const sum = new DataView(segment.buffer).getUint32(8, true);
        segment.fill(0, 8, 12);
        expect(sum).toBe(crc32c(segment));
        expect(Buffer.from(segment.subarray(12)).equals(Buffer.from(garbage))).toBe(true);
      }
    });
  });

  describe.each(FAMILIES)('no active endpoint, IPv%d', (family) => {
    const refused = (talk: Association, chunks: readonly Chunk[], tag: number) => {
      const packet = talk.request(chunks, { tag });
      const { verdict, frame } = talk.sendRequest(packet);
      expect(verdict).toBe(VERDICT.redirect);
      const out = parseFrame(frame);
      const { client, vip } = talk.peers();
      const hop = { source: packet.ethernet.destination, destination: packet.ethernet.source };
      expect(out.ethernet).toEqual(hop);
      expect(out.ip).toMatchObject({ source: vip.address, destination: client.address, ttl: 64 });
      expect(out.transport).toMatchObject({ sourcePort: SERVICE_PORT, destinationPort: CLIENT_PORT });
      return out.transport;
    };
    const inactive = () => {
      const talk = new Association(bench(), family);
      talk.addService({ endpoints: [{ address: talk.endpoint.address, active: false }] });
      return talk;
    };

    it('INIT is answered with ABORT, which has its tag', () => {
      const talk = inactive();
      expect(refused(talk, [talk.init()], 0)).toMatchObject({ tag: CLIENT_TAG, chunks: [ABORT] });
      expect(bench().path.counters()).toEqual({ DROP_NO_ENDPOINT: 1 });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });

    it('INIT that asks for no tag is not answered', () => {
      const talk = inactive();
      expect(talk.sendRequest(talk.request([talk.init(undefined, 0)], { tag: 0 })).verdict).toBe(VERDICT.drop);
    });
  });

  describe.each(FAMILIES)('DSR, IPv%d', (family) => {
    const dsr = (): Association => {
      const talk = new Association(bench(), family);
      talk.addService({ mode: 3, select: SELECT.hash });
      return talk;
    };
    const passes = (talk: Association, chunks: readonly Chunk[], tag = ENDPOINT_TAG) => {
      const packet = talk.request(chunks, { tag });
      const { frame, verdict } = talk.sendRequest(packet);
      expect(verdict).toBe(VERDICT.redirect);
      expect(parseFrame(frame)).toEqual({ ...packet, ethernet: departure(talk.endpoint) });
    };
    const state = (talk: Association) => bench().findFlow(PROTOCOL.sctp, talk.peers().client, talk.peers().vip)?.state;

    it('packets stay as they are, and the state is what the client says', () => {
      const talk = dsr();
      passes(talk, [talk.init()], 0);
      expect(state(talk)).toBe(STATE.CT_SCTP_INIT);
      passes(talk, [COOKIE_ECHO]);
      expect(state(talk)).toBe(STATE.CT_SCTP_EST);
      expect(bench().path.maps.endpointFlows.need(1)).toMatchObject({ active: 1, pending: 0 });
      passes(talk, [data('there')]);
      passes(talk, [SHUTDOWN]);
      expect(state(talk)).toBe(STATE.CT_SCTP_SHUT);
      passes(talk, [SHUTDOWN_COMPLETE]);
      expect(state(talk)).toBe(STATE.CT_SCTP_SHUT_COMPLETE);
      expect(bench().path.maps.endpointFlows.need(1)).toMatchObject({ active: 0, pending: 0 });
      passes(talk, [talk.init()], 0);
      expect(state(talk)).toBe(STATE.CT_SCTP_INIT);
    });

    it('a flow in its middle goes on', () => {
      const talk = dsr();
      passes(talk, [data('lost flow')]);
      passes(talk, [data('found')]);
      expect(state(talk)).toBe(STATE.CT_SCTP_EST);
      passes(talk, [ABORT]);
      expect(state(talk)).toBe(STATE.CT_SCTP_ABORT);
    });
  });

  it('a fragment whose ports would change has no checksum that could be put right: dropped', () => {
    const talk = established();
    const packet = talk.request([data('x'.repeat(64))]);
    const segment = sctpBytes(packet.transport as never);
    const ip = packet.ip.version === 4 ? { ...packet.ip, moreFragments: true, dontFragment: false } : packet.ip;
    const transport = { kind: 'opaque', protocol: PROTOCOL.sctp, payload: segment.slice(0, 64) } as const;
    expect(talk.sendRequest({ ...packet, ip, transport }).verdict).toBe(VERDICT.drop);
    expect(bench().path.counters()).toMatchObject({ DROP_FRAGMENT: 1 });
  });

  it('a super-packet of the kernel is as long as its parts', () => {
    const talk = established();
    const packet = talk.request([data('x'.repeat(1300)), data('y'.repeat(1300))]);
    const out = translate(packet, {
      source: talk.peers().client,
      destination: talk.peers().endpoint,
      hop: departure(talk.endpoint),
      hops: 1,
    });
    const { verdict, frame } = bench().receive(packet, CLIENT_SIDE, { gsoSize: 1200 });
    expect(verdict).toBe(VERDICT.redirect);
    expect(parseFrame(frame)).toEqual(parseFrame(buildFrame(out)));
  });

  it('source ports that are taken are translated, and the CRC with them', () => {
    const talk = open(4, 'fullnat');
    talk.establish();
    const client = host(CLIENT_SIDE, 4, 21);
    const { frame } = bench().receive(talk.request([talk.init()], { tag: 0, client }), CLIENT_SIDE);
    const out = parseFrame(frame);
    expect(out.transport).toMatchObject({ kind: 'sctp', destinationPort: ENDPOINT_PORT });
    if (out.transport.kind !== 'sctp') throw new Error('not SCTP');
    const { sourcePort } = out.transport;
    expect(sourcePort).not.toBe(CLIENT_PORT);
    const answer = talk.answer([talk.initAck()], { client });
    const moved = { ...answer, transport: { ...answer.transport, destinationPort: sourcePort } } as Packet;
    const back = parseFrame(bench().receive(moved, SERVER_SIDE).frame);
    expect(back.ip).toMatchObject({ source: talk.vip, destination: client.address });
    expect(back.transport).toMatchObject({ sourcePort: SERVICE_PORT, destinationPort: CLIENT_PORT, tag: CLIENT_TAG });
  });

  it('in a full table associations work as well', () => {
    const talk = established();
    const entries = bench()
      .tables()
      .flatMap((table) => table.entries());
    expect(entries.every(([, { flags }]) => !(flags & CtFlags.CT_PENDING))).toBe(true);
    talk.fromClient([data('x')]);
  });
});
