/**
 * SCTP with several addresses: what INIT and INIT ACK say of them, and packets on paths other than the first
 * (RFC 9260 5.1.2, 6.4).
 */
import { describe, expect, it } from 'vitest';
import { type CtSctpOpening, CtSctpState as STATE } from '../../plugins/conntrack/layout.gen.js';
import { LbServiceFlags } from '../../plugins/lb/layout.gen.js';
import {
  ABORT,
  Association,
  CLIENT_TAG,
  COOKIE,
  COOKIE_ACK,
  COOKIE_ECHO,
  ENDPOINT_TAG,
  HEARTBEAT,
  type ModeName,
  SACK,
  SHUTDOWN,
  SHUTDOWN_ACK,
  SHUTDOWN_COMPLETE,
  SUPPORTED,
} from './association.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { type Packet, PROTOCOL, text } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import {
  address,
  addresses,
  CHUNK,
  chunk,
  data,
  init,
  PARAMETER,
  type Parameter,
  parseInit,
} from './reference/sctp.js';
import {
  CLIENT_PORT,
  describePath,
  expectUntouched,
  type Family,
  host,
  SERVICE_PORT,
  TICKS_PER_SECOND,
} from './scenario.js';

const FAMILIES: readonly Family[] = [4, 6];

/** Secondary addresses of the service, and what endpoint and client have besides. */
const SECONDARY = { 4: ['20.20.20.2', '20.20.20.3'], 6: ['2001:db8:20::2', '2001:db8:20::3'] } as const;
const PRIVATE = {
  4: ['192.168.7.1', '192.168.7.2', '192.168.7.3', '192.168.7.4'],
  6: ['fd00::1', 'fd00::2', 'fd00::3', 'fd00::4'],
} as const;

const pad = (family: Family): Parameter => ({
  type: PARAMETER.pad,
  value: new Uint8Array(family === 4 ? 4 : 16),
});

describePath('SCTP with several addresses', (bench) => {
  /** A service with `count` secondary addresses. */
  const open = (family: Family, mode: ModeName = 'default', count = 2, extra: readonly string[] = []): Association => {
    const talk = new Association(bench(), family, mode);
    const vips = [talk.vip, ...SECONDARY[family].slice(0, count), ...extra];
    const { id } = talk.addService({ flags: LbServiceFlags.LB_SERVICE_MULTIHOME });
    const addr = [...vips, ...Array<string>(8 - vips.length).fill('::')];
    bench().path.maps.sctpVips.set(id, { count: vips.length, addr });
    const { services } = bench().path.maps;
    const key = { port: SERVICE_PORT, proto: PROTOCOL.sctp, mark: 0 };
    const value = services.need({ addr: talk.vip, ...key });
    for (const vip of vips.slice(1)) services.set({ addr: vip, ...key }, value);
    return talk;
  };
  const established = (family: Family = 4, mode: ModeName = 'default'): Association => {
    const talk = open(family, mode);
    talk.fromClient([talk.init()], {
      tag: 0,
      becomes: mode === 'fullnat' ? [listing(talk, SECONDARY[family])] : [talk.init()],
    });
    talk.fromEndpoint([talk.initAck()], { becomes: [talk.initAck([COOKIE, ...SECONDARY[family].map(address)])] });
    talk.fromClient([COOKIE_ECHO]);
    talk.fromEndpoint([COOKIE_ACK]);
    return talk;
  };
  const listing = (talk: Association, list: readonly string[]) => talk.init([SUPPORTED, ...list.map(address)]);
  const counters = () => bench().path.counters();

  describe.each(FAMILIES)('addresses in chunks, IPv%d', (family) => {
    const [first = '', second = ''] = SECONDARY[family];
    const own = PRIVATE[family].map(address);
    const client = [address(PRIVATE[family][0]), address(PRIVATE[family][1])];

    it('INIT ACK: those of the endpoint become those of the service, whatever their number', () => {
      const cases: readonly (readonly [readonly Parameter[], readonly Parameter[]])[] = [
        [[], [address(first), address(second)]],
        [own.slice(0, 1), [address(first), address(second)]],
        [own.slice(0, 2), [address(first), address(second)]],
        [own.slice(0, 3), [address(first), address(second), pad(family)]],
        [own.slice(0, 4), [address(first), address(second), pad(family), pad(family)]],
      ];
      for (const [before, after] of cases) {
        bench().reset();
        const talk = open(family);
        talk.fromClient([talk.init()], { tag: 0 });
        talk.fromEndpoint([talk.initAck([...before, COOKIE])], {
          becomes: [talk.initAck([...after.slice(0, before.length), COOKIE, ...after.slice(before.length)])],
        });
        talk.expectState(STATE.CT_SCTP_INIT_ACK);
      }
    });

    it('of a service with one address: none', () => {
      const talk = new Association(bench(), family);
      talk.addService();
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([talk.initAck([...own.slice(0, 2), COOKIE])], {
        becomes: [talk.initAck([pad(family), pad(family), COOKIE])],
      });
      talk.fromClient([COOKIE_ECHO]);
      talk.fromEndpoint([COOKIE_ACK]);
      talk.expectState(STATE.CT_SCTP_EST);
    });

    it('a client that came to a secondary address hears of the others', () => {
      const talk = open(family);
      talk.fromClient([talk.init()], { tag: 0, vip: first });
      talk.fromEndpoint([talk.initAck([own[0] ?? COOKIE, COOKIE])], {
        vip: first,
        becomes: [talk.initAck([address(talk.vip), COOKIE, address(second)])],
      });
    });

    it('INIT: the client keeps its own where the endpoint sees them', () => {
      const talk = open(family);
      talk.fromClient([listing(talk, PRIVATE[family])], { tag: 0 });
    });

    it('INIT, fullnat: those of the service', () => {
      const talk = open(family, 'fullnat');
      talk.fromClient([talk.init([...client, address(PRIVATE[family][2]), SUPPORTED])], {
        tag: 0,
        becomes: [talk.init([address(first), address(second), pad(family), SUPPORTED])],
      });
      bench().reset();
      const other = open(family, 'fullnat');
      other.fromClient([other.init([SUPPORTED])], { tag: 0, becomes: [listing(other, [first, second])] });
    });

    it('INIT, onearm: none', () => {
      const talk = open(family, 'onearm');
      talk.fromClient([talk.init([...client, SUPPORTED])], {
        tag: 0,
        becomes: [talk.init([pad(family), pad(family), SUPPORTED])],
      });
      talk.fromEndpoint([talk.initAck([COOKIE])], {
        becomes: [talk.initAck([COOKIE, address(first), address(second)])],
      });
    });

    it('padding of the last parameter becomes part of the chunk when more follow', () => {
      for (const length of [5, 6, 7]) {
        bench().reset();
        const talk = open(family);
        const cookie = { type: PARAMETER.stateCookie, value: text('abcdefgh').slice(0, length) };
        talk.fromClient([talk.init()], { tag: 0 });
        talk.fromEndpoint([talk.initAck([cookie])], {
          becomes: [talk.initAck([cookie, address(first), address(second)])],
        });
      }
    });

    it('addresses of the other family are hidden, and those of the service take their place', () => {
      const others = PRIVATE[family === 4 ? 6 : 4];
      const otherVip = SECONDARY[family === 4 ? 6 : 4][0];
      const talk = open(family, 'default', 1, [otherVip]);
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([talk.initAck([address(others[0]), address(PRIVATE[family][0]), address(others[1]), COOKIE])], {
        becomes: [talk.initAck([address(otherVip), address(first), pad(family === 4 ? 6 : 4), COOKIE])],
      });
    });

    it('and are not added where nobody has spoken of that family', () => {
      const talk = open(family, 'default', 1, [SECONDARY[family === 4 ? 6 : 4][0]]);
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([talk.initAck([COOKIE])], { becomes: [talk.initAck([COOKIE, address(first)])] });
    });

    it('a cookie that holds addresses is not looked into', () => {
      const talk = open(family);
      const cookie = { type: PARAMETER.stateCookie, value: text(`\0\u0005\0\b${'x'.repeat(600)}`) };
      talk.fromClient([talk.init()], { tag: 0 });
      talk.fromEndpoint([talk.initAck([cookie])], {
        becomes: [talk.initAck([cookie, address(first), address(second)])],
      });
    });
  });

  describe('that cannot be rewritten', () => {
    const refused = (talk: Association, packet: Packet) => {
      const { verdict, frame } = talk.sendAnswer(packet);
      expect(verdict).toBe(VERDICT.drop);
      expect(counters()).toMatchObject({ DROP_SCTP: 1 });
      return frame;
    };

    it.each([
      ['a parameter length of 0', Uint8Array.of(0, 7, 0, 0)],
      ['of 3', Uint8Array.of(0, 7, 0, 3)],
      ['beyond the chunk', Uint8Array.of(0, 7, 0, 200)],
      ['an IPv4 address of 3 bytes', Uint8Array.of(0, 5, 0, 7, 1, 2, 3, 0)],
      ['an IPv6 address of 4', Uint8Array.of(0, 6, 0, 8, 1, 2, 3, 4)],
    ])('is dropped: %s', (_name, parameters) => {
      const talk = open(4);
      talk.fromClient([talk.init()], { tag: 0 });
      const good = talk.initAck([]);
      const value = new Uint8Array(16 + parameters.length);
      value.set(good.value);
      value.set(parameters, 16);
      refused(talk, talk.answer([{ ...good, value }]));
    });

    it('is dropped: more parameters than anybody has', () => {
      const talk = open(4);
      talk.fromClient([talk.init()], { tag: 0 });
      refused(
        talk,
        talk.answer([talk.initAck(Array.from({ length: 49 }, () => ({ type: 0xc000, value: new Uint8Array(0) })))]),
      );
    });

    it('is dropped: a packet that would not fit its path any more', () => {
      const talk = open(4);
      talk.fromClient([talk.init()], { tag: 0 });
      const cookie = { type: PARAMETER.stateCookie, value: new Uint8Array(1500 - 20 - 12 - 20 - 4 - 8) };
      refused(talk, talk.answer([talk.initAck([cookie])]));
    });
  });

  describe.each(FAMILIES)('paths, IPv%d', (family) => {
    const [second = ''] = SECONDARY[family];
    const other = host(CLIENT_SIDE, family, 17);
    const elsewhere = host(SERVER_SIDE, family, 27);

    it('a client moves to an address never seen before', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      for (let round = 0; round < 3; round++) {
        talk.fromClient([HEARTBEAT], path);
        talk.fromEndpoint([SACK], path);
        talk.fromClient([data('over there')], path);
      }
      expect(counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_SCTP_PATH: 1 });
      expect(talk.paths()).toEqual({ entries: 2, oneWay: 0 });
      talk.fromClient([data('and here')]);
      talk.fromEndpoint([data('answered here')]);
    });

    it('an address of the client with two of the service: answers leave by the first', () => {
      const talk = established(family);
      talk.fromClient([HEARTBEAT], { vip: second });
      talk.fromEndpoint([SACK]);
      expect(talk.paths()).toEqual({ entries: 1, oneWay: 1 });
    });

    it('an endpoint finds an address of the client', () => {
      const talk = established(family);
      talk.fromEndpoint([HEARTBEAT], { client: other });
      talk.fromClient([SACK], { client: other });
      expect(talk.paths()).toEqual({ entries: 2, oneWay: 0 });
    });

    it('and the client answers from there to another address of the service: its answers go the same way back', () => {
      const talk = established(family);
      talk.fromEndpoint([HEARTBEAT], { client: other });
      talk.fromClient([SACK], { client: other, vip: second });
      talk.fromClient([SACK], { client: other, vip: second });
      talk.fromEndpoint([HEARTBEAT], { client: other, vip: second });
    });

    it('another address of the endpoint is hidden too', () => {
      const talk = established(family);
      const { frame, verdict } = talk.sendAnswer(talk.answer([HEARTBEAT], { endpoint: elsewhere }));
      expect(verdict).toBe(VERDICT.redirect);
      const out = parseFrame(frame);
      expect(out.ip).toMatchObject({ source: talk.vip, destination: talk.client.address });
      expect(out.transport).toMatchObject({ sourcePort: SERVICE_PORT, destinationPort: CLIENT_PORT, tag: CLIENT_TAG });
      expect(talk.paths()).toEqual({ entries: 1, oneWay: 1 });
    });

    it('fullnat: the endpoint sees the address of the service the client came to', () => {
      const talk = established(family, 'fullnat');
      const path = { client: other, vip: second, seenAs: second };
      talk.fromClient([HEARTBEAT], path);
      talk.fromEndpoint([SACK], path);
      expect(talk.paths()).toEqual({ entries: 2, oneWay: 0 });
    });

    it('fullnat: the endpoint finds another address of the service', () => {
      const talk = established(family, 'fullnat');
      talk.fromEndpoint([HEARTBEAT], { seenAs: second, vip: second });
      talk.fromClient([SACK], { seenAs: second, vip: second });
    });

    it.each(['onearm', 'fullnat'] as const)('%s: answers follow the client when it is silent elsewhere', (mode) => {
      const talk = established(family, mode);
      const path = { client: other };
      talk.fromClient([data('here too')], path);
      talk.fromEndpoint([SACK]);
      expect(talk.paths()).toEqual({ entries: 1, oneWay: 1 });
      silence(talk);
      talk.fromClient([data('only here')], path);
      talk.fromEndpoint([SACK], path);
      talk.fromEndpoint([HEARTBEAT], path);
      // And back.
      for (const [key, entry] of bench().path.maps.flows.entries()) {
        if (key.saddr === other.address)
          bench().path.maps.flows.change(key, { seen: (entry.seen - 3 * TICKS_PER_SECOND) >>> 0 });
      }
      talk.fromClient([HEARTBEAT]);
      talk.fromEndpoint([SACK]);
      talk.fromClient([SHUTDOWN]);
      talk.fromEndpoint([SHUTDOWN_ACK]);
      talk.fromClient([SHUTDOWN_COMPLETE], path);
      const [id = 0] = [1];
      expect(bench().path.maps.endpointFlows.need(id)).toMatchObject({ active: 0, pending: 0 });
    });

    /** The client's first address has not been heard of for a while. */
    const silence = (talk: Association) => {
      for (const [key, entry] of bench().path.maps.flows.entries()) {
        if (key.saddr === talk.client.address)
          bench().path.maps.flows.change(key, { seen: (entry.seen - 3 * TICKS_PER_SECOND) >>> 0 });
      }
    };

    it('a tag of nobody opens none', () => {
      const talk = established(family);
      for (const tag of [0, 1, CLIENT_TAG]) {
        const packet = talk.request([data('guess')], { client: other, tag });
        expectUntouched(talk.sendRequest(packet), buildFrame(packet));
      }
      for (const tag of [0, 1, ENDPOINT_TAG]) {
        const packet = talk.answer([data('guess')], { endpoint: elsewhere, tag });
        expectUntouched(talk.sendAnswer(packet), buildFrame(packet));
      }
      expect(talk.paths().entries).toBe(0);
    });

    it('the tag with other ports opens none', () => {
      const talk = established(family);
      const packet = talk.request([data('guess')], { client: other });
      const moved = { ...packet, transport: { ...packet.transport, sourcePort: 1 } } as Packet;
      expectUntouched(talk.sendRequest(moved), buildFrame(moved));
    });

    it('nor does it at another service', () => {
      const talk = established(family);
      const address = family === 4 ? '20.20.20.9' : '2001:db8:20::9';
      talk.addService({ address });
      const packet = talk.request([data('guess')], { client: other, vip: address });
      expectUntouched(talk.sendRequest(packet), buildFrame(packet));
    });

    it("what has been translated already is nobody else's packet", () => {
      const talk = new Association(bench(), family);
      const { maps } = bench().path;
      talk.addService();
      talk.establish();
      // Ports that stay make the answer look alike on both sides.
      const [key] = maps.associations.entries().filter(([, { reply }]) => reply === 1);
      if (!key) throw new Error('no association');
      maps.associations.set({ ...key[0], sport: SERVICE_PORT }, key[1]);
      const packet = talk.answer([SACK]);
      const seen = { ...packet, ip: { ...packet.ip, source: talk.vip } };
      const again = { ...seen, transport: { ...seen.transport, sourcePort: SERVICE_PORT } } as Packet;
      expectUntouched(talk.sendAnswer(again), buildFrame(again));
    });

    it('an association ends by any of its paths, and all of them with it', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([HEARTBEAT], path);
      talk.fromEndpoint([SACK], path);
      talk.fromEndpoint([ABORT], path);
      talk.expectState(STATE.CT_SCTP_ABORT);
      expect(bench().path.maps.associations.keys()).toEqual([]);
      expect(bench().path.maps.endpointFlows.need(1)).toMatchObject({ active: 0, pending: 0 });
    });

    it('paths of one that has ended are gone with their next packet', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([HEARTBEAT], path);
      talk.fromClient([ABORT]);
      expect(talk.paths().entries).toBe(4);
      const packet = talk.request([data('late')], path);
      expectUntouched(talk.sendRequest(packet), buildFrame(packet));
      // The two of the first flow linger, and count as paths.
      expect(talk.paths().entries).toBe(2);
    });

    it('SHUTDOWN on one path, its answers on another', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([SHUTDOWN], path);
      talk.expectState(STATE.CT_SCTP_SHUT);
      talk.fromEndpoint([SHUTDOWN_ACK]);
      talk.fromClient([SHUTDOWN_COMPLETE], path);
      talk.expectState(STATE.CT_SCTP_SHUT_COMPLETE);
    });

    it('an association lives as long as one of its paths is used', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([HEARTBEAT], path);
      for (let round = 0; round < 3; round++) {
        for (const [key, entry] of bench().path.maps.flows.entries())
          bench().path.maps.flows.change(key, { seen: (entry.seen - 200 * TICKS_PER_SECOND) >>> 0 });
        talk.fromClient([HEARTBEAT], path);
        bench().path.expire();
      }
      talk.expectState(STATE.CT_SCTP_EST);
      talk.fromEndpoint([SACK], path);
    });

    it('one restarted on its first path goes on with its new tags on the others', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([HEARTBEAT], path);
      talk.clientTag = 0x5555;
      talk.fromClient([talk.init()], { tag: 0 });
      talk.endpointTag = 0x6666;
      talk.fromEndpoint([talk.initAck()], { becomes: [talk.initAck([COOKIE, ...SECONDARY[family].map(address)])] });
      talk.fromClient([COOKIE_ECHO]);
      talk.fromEndpoint([COOKIE_ACK]);
      talk.fromClient([HEARTBEAT], path);
      talk.fromEndpoint([SACK], path);
      expect(counters().DROP_SCTP_TAG).toBeUndefined();
    });

    it('one restarted on another path goes to the same endpoint, and has its new tags everywhere', () => {
      const talk = established(family);
      const path = { client: other, vip: second };
      talk.fromClient([HEARTBEAT], path);
      talk.clientTag = 0x5555;
      talk.fromClient([talk.init()], { tag: 0, ...path });
      talk.endpointTag = 0x6666;
      const others = [talk.vip, SECONDARY[family][1]].map(address);
      talk.fromEndpoint([talk.initAck()], { ...path, becomes: [talk.initAck([COOKIE, ...others])] });
      talk.fromClient([COOKIE_ECHO], path);
      talk.fromEndpoint([COOKIE_ACK], path);
      talk.fromClient([data('there')], path);
      talk.fromEndpoint([data('there')], path);
      talk.fromClient([data('here')]);
      talk.fromEndpoint([data('here')]);
      expect(counters().DROP_SCTP_TAG).toBeUndefined();
    });

    it('an endpoint and a client that answer from other addresses in the handshake', () => {
      const talk = open(family);
      talk.fromClient([talk.init()], { tag: 0 });
      const first = talk.endpoint;
      const seen = (packet: Packet) => parseFrame(talk.sendAnswer(packet).frame);
      const initAck = seen(talk.answer([talk.initAck()], { endpoint: elsewhere }));
      expect(initAck.ip).toMatchObject({ source: talk.vip, destination: talk.client.address });
      talk.expectState(STATE.CT_SCTP_INIT_ACK);
      const echo = parseFrame(talk.sendRequest(talk.request([COOKIE_ECHO], { client: other })).frame);
      expect(echo.ip).toMatchObject({ source: talk.client.address, destination: first.address });
      talk.expectState(STATE.CT_SCTP_COOKIE_ECHO);
      const cookieAck = seen(talk.answer([COOKIE_ACK], { endpoint: elsewhere }));
      expect(cookieAck.ip).toMatchObject({ source: talk.vip, destination: talk.client.address });
      talk.expectState(STATE.CT_SCTP_EST);
      expect(talk.paths().entries).toBe(0);
      talk.fromClient([data('question')]);
    });

    /** What is remembered of handshakes becomes something else, as when another is put in its place. */
    const disturb = (change: (opening: CtSctpOpening) => Partial<CtSctpOpening>) => {
      const { openings } = bench().path.maps;
      for (const [place, opening] of openings.entries()) {
        if (opening.key.tag) openings.change(place, change(opening));
      }
    };
    const forget = () => disturb(({ key }) => ({ key: { ...key, tag: ~key.tag >>> 0 } }));

    it('a handshake that another has taken the place of begins again', () => {
      const talk = open(family);
      const answer = talk.answer([talk.initAck()], { endpoint: elsewhere });
      talk.fromClient([talk.init()], { tag: 0 });
      forget();
      expectUntouched(talk.sendAnswer(answer), buildFrame(answer));
      talk.expectState(STATE.CT_SCTP_INIT);
      talk.fromClient([talk.init()], { tag: 0 });
      expect(parseFrame(talk.sendAnswer(answer).frame).ip).toMatchObject({ source: talk.vip });
      talk.expectState(STATE.CT_SCTP_INIT_ACK);
    });

    it('a handshake that is mixed up with another lets nothing into that', () => {
      const talk = open(family);
      talk.fromClient([talk.init()], { tag: 0 });
      const tag = CLIENT_TAG + 1;
      talk.fromClient([talk.init([SUPPORTED], tag)], { tag: 0, client: other });
      disturb(({ first, key }) => (key.tag === tag ? { first: { ...first, saddr: talk.client.address } } : {}));
      expect(talk.sendAnswer(talk.answer([talk.initAck()], { endpoint: elsewhere, tag })).verdict).toBe(VERDICT.drop);
      expect(counters()).toMatchObject({ DROP_SCTP_TAG: 1 });
      talk.expectState(STATE.CT_SCTP_INIT);
    });

    it('an association is not disturbed by what becomes of its handshake', () => {
      const talk = established(family);
      forget();
      talk.fromClient([data('question')]);
      talk.fromEndpoint([data('answer')]);
      talk.fromClient([HEARTBEAT], { client: other, vip: second });
    });

    it('nobody else has a word in a handshake', () => {
      const talk = open(family);
      talk.fromClient([talk.init()], { tag: 0 });
      for (const tag of [0, 1, ENDPOINT_TAG]) {
        const packet = talk.answer([talk.initAck()], { endpoint: elsewhere, tag });
        expectUntouched(talk.sendAnswer(packet), buildFrame(packet));
      }
      talk.expectState(STATE.CT_SCTP_INIT);
    });

    it('heartbeats bring back an association that was lost', () => {
      const talk = established(family);
      bench().path.maps.associations.clear();
      talk.fromClient([HEARTBEAT]);
      expect(bench().path.maps.associations.keys()).toHaveLength(2);
      talk.fromClient([HEARTBEAT], { client: other, vip: second });
    });

    it('all pairs of addresses reach the endpoint', () => {
      const talk = established(family);
      const clients = [talk.client, other, host(CLIENT_SIDE, family, 18)];
      for (const client of clients) {
        for (const vip of [talk.vip, ...SECONDARY[family]]) talk.fromClient([data('hello')], { client, vip });
      }
      expect(counters()).toMatchObject({ EVENT_SCTP_PATH: 8, EVENT_FLOW_CREATED: 1 });
      expect(bench().path.maps.endpointFlows.need(1)).toMatchObject({ active: 1, pending: 0 });
      expect(
        bench()
          .path.maps.endpointStats.getAll(1)
          ?.reduce((sum, { flows }) => sum + Number(flows), 0),
      ).toBe(1);
    });
  });

  it('the reference reads what it wrote', () => {
    const list = ['10.0.0.1', 'fd00::1'];
    const written = init({ tag: 1, tsn: 2, parameters: [SUPPORTED, ...list.map(address)] });
    expect(addresses(parseInit(written))).toEqual(list);
    expect(chunk(CHUNK.init).value).toHaveLength(0);
  });
});
