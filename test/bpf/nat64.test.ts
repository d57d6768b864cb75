/** IPv6 clients of IPv4 endpoints, and the other way round: RFC 7915, judged byte by byte. */
import { describe, expect, it } from 'vitest';
import { CtWay } from '../../plugins/conntrack/layout.gen.js';
import {
  addCrossingService,
  type Crossing,
  crossing,
  EVERY_CROSSING,
  expectCrossed,
  fromClient,
  fromServer,
  openAcross,
  talkAcross,
  towardsClient,
  towardsServer,
} from './families.js';
import { VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import { CLIENT_SIDE, NARROW_MTU, NARROW_SIDE, ROUTER, ip as runIp, SERVER_SIDE, STRANGER } from './network.js';
import { buildFrame } from './reference/build.js';
import { translateFamily } from './reference/family.js';
import {
  EXTENSION,
  echo,
  type Packet,
  PROTOCOL,
  TCP,
  TCP_OPTION,
  type Transport,
  tcp,
  udp,
} from './reference/packet.js';
import { randomBytes, seeded } from './reference/random.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  expectUntouched,
  host,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
} from './scenario.js';

const NO_MAC = '00:00:00:00:00:00';
const PROTOCOLS = ['tcp', 'udp', 'icmp'] as const;
const toService = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
const toClient = { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT };

function withPayload(protocol: Protocol, payload: Uint8Array, back = false): Transport {
  const ports = back ? toClient : toService;
  switch (protocol) {
    case 'tcp':
      return tcp({ ...ports, flags: TCP.ack, payload });
    case 'udp':
      return udp({ ...ports, payload });
    case 'icmp':
      return echo({ identifier: CLIENT_PORT, reply: back, payload });
  }
}

describePath('between families', (bench) => {
  describe.each(EVERY_CROSSING)('$name', ({ family }) => {
    const cross = crossing(family);
    const { client, server, vip } = cross;
    const send = (packet: Packet, options = {}) => bench().receive(packet, CLIENT_SIDE, options);
    const answerWith = (packet: Packet, options = {}) => bench().receive(packet, SERVER_SIDE, options);

    describe.each(PROTOCOLS)('%s', (protocol) => {
      it('there and back, for as long as it lasts', () => {
        const talk = openAcross(bench(), cross, protocol);
        for (let round = 0; round < 12; round++) {
          expectCrossed(send(talk.request), towardsServer(cross, talk.request));
          expectCrossed(answerWith(talk.reply), towardsClient(cross, talk.reply));
        }
        expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_FAMILY: 26 });
        const number = protocolNumber(family, protocol);
        expect(bench().findFlow(number, talk.from, talk.to)).toMatchObject({ way: CtWay.CT_WAY_REDIRECT });
      });

      it('every length from 0 to 80, random bytes, both ways', () => {
        openAcross(bench(), cross, protocol);
        const random = seeded(family);
        for (let length = 0; length <= 80; length++) {
          const request = fromClient(cross, withPayload(protocol, randomBytes(random, length)));
          expectCrossed(send(request, { summed: true }), towardsServer(cross, request));
          const reply = fromServer(cross, withPayload(protocol, randomBytes(random, length), true));
          expectCrossed(answerWith(reply, { summed: true }), towardsClient(cross, reply));
        }
      });

      it.each([
        ['all zero', 0],
        ['all ones', 255],
      ])('payload of %s', (_name, byte) => {
        openAcross(bench(), cross, protocol);
        const request = fromClient(cross, withPayload(protocol, new Uint8Array(333).fill(byte)));
        expectCrossed(send(request), towardsServer(cross, request));
        const reply = fromServer(cross, withPayload(protocol, new Uint8Array(333).fill(byte), true));
        expectCrossed(answerWith(reply), towardsClient(cross, reply));
      });

      it('sums that come out as zero or arrive as zero', () => {
        openAcross(bench(), cross, protocol);
        const at = (version: 4 | 6) => 14 + (version === 4 ? 20 : 40) + { tcp: 16, udp: 6, icmp: 2 }[protocol];
        const word = (packet: Packet) => buildFrame(packet).slice(at(packet.ip.version)).slice(0, 2);
        const empty = fromClient(cross, withPayload(protocol, new Uint8Array(2)));
        for (const payload of [word(empty), word(towardsServer(cross, empty))]) {
          const packet = fromClient(cross, withPayload(protocol, payload));
          expectCrossed(send(packet), towardsServer(cross, packet));
        }
      });

      it('a wrong sum is not made right', () => {
        openAcross(bench(), cross, protocol);
        const at = 14 + (family === 4 ? 20 : 40) + { tcp: 16, udp: 6, icmp: 2 }[protocol];
        const packet = fromClient(cross, withPayload(protocol, new Uint8Array(20).fill(7)));
        const frame = buildFrame(packet);
        frame[at] = (frame[at] ?? 0) ^ 0x55;
        const result = bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) });
        expect(() => expectCrossed(result, towardsServer(cross, packet))).toThrow('checksum');
      });

      it('traffic class and TTL of every value', () => {
        openAcross(bench(), cross, protocol);
        for (let value = 0; value < 256; value++) {
          const there = { ttl: Math.max(2, 255 - value), ...trafficClass(family, value) };
          const request = fromClient(cross, withPayload(protocol, new Uint8Array(3)), there);
          expectCrossed(send(request, { summed: true }), towardsServer(cross, request));
          const back = { ttl: Math.max(2, value), ...trafficClass(family === 4 ? 6 : 4, value) };
          const reply = fromServer(cross, withPayload(protocol, new Uint8Array(3), true), back);
          expectCrossed(answerWith(reply, { summed: true }), towardsClient(cross, reply));
        }
      });

      it('a spent TTL is answered in the family it came in', () => {
        const talk = openAcross(bench(), cross, protocol);
        const kind = (version: 4 | 6) => ({ type: version === 4 ? 11 : 3, code: 0, rest: 0 });
        const request = { ...talk.request, ip: { ...talk.request.ip, ttl: 1 } };
        expectErrorAbout(send(request), request, kind(request.ip.version));
        const reply = { ...talk.reply, ip: { ...talk.reply.ip, ttl: 1 } };
        expectErrorAbout(answerWith(reply), reply, kind(reply.ip.version));
      });

      it('headers the other family does not know are left out', () => {
        openAcross(bench(), cross, protocol);
        for (const options of headers(family)) {
          const request = fromClient(cross, withPayload(protocol, new Uint8Array(9)), options);
          expectCrossed(send(request, { summed: true }), towardsServer(cross, request));
        }
        for (const options of headers(family === 4 ? 6 : 4)) {
          const reply = fromServer(cross, withPayload(protocol, new Uint8Array(9), true), options);
          expectCrossed(answerWith(reply, { summed: true }), towardsClient(cross, reply));
        }
      });

      it('Ethernet padding does not disturb', () => {
        const talk = openAcross(bench(), cross, protocol);
        const padded = { ...talk.reply, trailer: new Uint8Array(7).fill(9) };
        expectCrossed(answerWith(padded, { summed: true }), towardsClient(cross, padded));
      });

      it('IPv4 packets may be fragmented up to 1260 bytes and not from 1261 on', () => {
        openAcross(bench(), cross, protocol);
        for (const length of [1259, 1260, 1261, 1262]) {
          const payload = randomBytes(seeded(length), length - 20 - (protocol === 'tcp' ? 20 : 8));
          const [packet, result] =
            family === 6
              ? sent(fromClient(cross, withPayload(protocol, payload)), send, (one) => towardsServer(cross, one))
              : sent(fromServer(cross, withPayload(protocol, payload, true)), answerWith, (one) =>
                  towardsClient(cross, one),
                );
          expect(packet.ip).toMatchObject({ version: 4, dontFragment: length > 1260 });
          expectCrossed(result, packet);
        }
      });

      it('fragments are fragments there too, but for ICMP, which is refused and counted', () => {
        openAcross(bench(), cross, protocol);
        const payload = randomBytes(seeded(8), 1000);
        const request = fromClient(cross, withPayload(protocol, payload));
        const reply = fromServer(cross, withPayload(protocol, payload, true));
        for (const [whole, out, take] of [
          [request, towardsServer(cross, request), send],
          [reply, towardsClient(cross, reply), answerWith],
        ] as const) {
          for (const sizes of [
            [400, 400, 500],
            [8, 1500],
            [64, 8, 8, 2000],
          ]) {
            const identification = 0x1200 + sizes.length;
            const expected = fragmentsOf(out, sizes, identification);
            fragmentsOf(whole, sizes, identification).forEach((fragment, index) => {
              // Eight bytes are no TCP header, so the rest is nobody of ours.
              if (protocol === 'tcp' && sizes[0] === 8) return;
              const result = take(fragment, { summed: true });
              if (protocol === 'icmp') expect(result.verdict).toBe(VERDICT.drop);
              else expectCrossed(result, expected[index] ?? fragment);
            });
          }
        }
        const refused = protocol === 'icmp' ? 18 : undefined;
        expect(bench().path.counters().DROP_FAMILY_FRAGMENT).toBe(refused);
      });

      it('another source port where the client has taken one', () => {
        addCrossingService(bench(), cross, protocol);
        const { request } = talkAcross(cross, protocol);
        const neighbor = host(CLIENT_SIDE, family, 12);
        const other = packetFrom(neighbor, vip, request.transport);
        expectCrossed(send(request), towardsServer(cross, request));
        const result = send(other);
        const ports = seenPort(result.frame, family === 4 ? 6 : 4, protocol);
        expect(ports).not.toBe(CLIENT_PORT);
        const peers = { source: { address: cross.source, port: ports }, destination: peerOf(cross) };
        const { ethernet } = towardsServer(cross, other);
        expectCrossed(result, translateFamily(other, { ...peers, hop: ethernet, hops: 1 }));
        const reply = packetFrom(server, cross.source, answer(protocol, ENDPOINT_PORT, ports));
        const back = {
          source: { address: vip, port: SERVICE_PORT },
          destination: { address: neighbor.address, port: CLIENT_PORT },
        };
        expectCrossed(answerWith(reply), translateFamily(reply, { ...back, hop: departure(neighbor), hops: 1 }));
      });

      it('the kernel finds a neighbour that is not known yet', () => {
        const stranger = host(SERVER_SIDE, family === 4 ? 6 : 4, STRANGER);
        const away: Crossing = { ...cross, server: stranger };
        addCrossingService(bench(), away, protocol);
        const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
        const out = { ...towardsServer(away, request), ethernet: request.ethernet };
        expectCrossed(send(request), out);
        runIp(
          'neigh',
          'replace',
          stranger.address,
          'dev',
          SERVER_SIDE.name,
          'nud',
          'permanent',
          'lladdr',
          stranger.mac,
        );
        try {
          expectCrossed(send(request), towardsServer(away, request));
        } finally {
          runIp('neigh', 'del', stranger.address, 'dev', SERVER_SIDE.name);
        }
      });

      it('an endpoint on this machine gets the packet from the kernel, no hop less', () => {
        const local: Crossing = { ...cross, server: { ...server, address: cross.source } };
        addCrossingService(bench(), local, protocol);
        for (const ttl of [64, 1]) {
          const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT), { ttl });
          // Its own address as the source is something IPv4 takes on lo only.
          const hop = family === 6 ? { source: NO_MAC, destination: NO_MAC } : undefined;
          const out = translateFamily(request, {
            hop,
            source: { address: cross.source, port: CLIENT_PORT },
            destination: { address: cross.source, port: ENDPOINT_PORT },
          });
          expectCrossed(send(request, { summed: true }), out, family === 6 ? VERDICT.redirect : VERDICT.next);
        }
      });

      it('a process of this machine reaches the service', () => {
        addCrossingService(bench(), cross, protocol);
        const loopback = { source: NO_MAC, destination: NO_MAC };
        const asked = packetFrom({ ...client, address: vip }, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
        const request = { ...asked, ethernet: loopback };
        const result = bench().path.ingress(buildFrame(request), { ifindex: bench().network.ifindex('lo') });
        expectCrossed(result, towardsServer(cross, request));
        const reply = talkAcross(cross, protocol).reply;
        const back = translateFamily(reply, {
          source: { address: vip, port: SERVICE_PORT },
          destination: { address: vip, port: CLIENT_PORT },
          hop: loopback,
        });
        expectCrossed(answerWith(reply), back);
      });
    });

    it('handshake options and bare acknowledgments', () => {
      openAcross(bench(), cross, 'tcp');
      const options = Uint8Array.of(
        ...TCP_OPTION.mss(1440),
        ...TCP_OPTION.windowScale(7),
        ...TCP_OPTION.timestamps(1, 2),
      );
      for (const packet of [
        fromClient(cross, tcp({ ...toService, flags: TCP.syn, options })),
        fromClient(cross, tcp({ ...toService, flags: TCP.ack })),
        fromClient(
          cross,
          tcp({ ...toService, flags: TCP.ack | TCP.psh | TCP.ece, options, payload: Uint8Array.of(1) }),
        ),
        fromClient(cross, tcp({ ...toService, flags: TCP.fin | TCP.ack, urgent: 7 })),
      ]) {
        expectCrossed(send(packet), towardsServer(cross, packet));
      }
    });

    it.each(['tcp', 'udp'] as const)(
      'super-packets count by their segments, or are refused and counted, %s',
      (protocol) => {
        openAcross(bench(), cross, protocol);
        for (const gsoSize of [1000, 1300]) {
          const payload = randomBytes(seeded(gsoSize), 3500);
          for (const [packet, out, take] of [
            [fromClient(cross, withPayload(protocol, payload)), towardsServer, send],
            [fromServer(cross, withPayload(protocol, payload, true)), towardsClient, answerWith],
          ] as const) {
            const result = take(packet, { gsoSize });
            const { ip, ...rest } = out(cross, packet);
            const expected = ip.version === 4 ? { ...ip, dontFragment: gsoSize === 1300 } : ip;
            if (result.verdict !== VERDICT.drop) expectCrossed(result, { ...rest, ip: expected });
            else
              expect(bench().path.counters().DROP_FAMILY_GSO ?? bench().path.counters().DROP_FAMILY).toBeGreaterThan(0);
          }
        }
      },
    );
  });

  describe.each(EVERY_CROSSING)('path MTU, $name', ({ family }) => {
    const other = family === 4 ? 6 : 4;
    const narrow: Crossing = { ...crossing(family), server: host(NARROW_SIDE, other, 11) };
    const overhead = (version: 4 | 6) => (version === 4 ? 20 : 40);
    const kind = (version: 4 | 6, rest: number) => ({ type: version === 4 ? 3 : 2, code: version === 4 ? 4 : 0, rest });
    /** As long as it may be, so that it is 1400 bytes behind the balancer. */
    const limit = NARROW_MTU - overhead(other) + overhead(family);
    const datagram = (length: number, fields = {}) =>
      fromClient(narrow, udp({ ...toService, payload: new Uint8Array(length - overhead(family) - 8) }), fields);

    it('what just fits goes through, one byte more is answered', () => {
      addCrossingService(bench(), narrow, 'udp');
      for (let round = 0; round < 2; round++) {
        const fits = datagram(limit);
        expectCrossed(bench().receive(fits, CLIENT_SIDE), towardsServer(narrow, fits));
        const big = datagram(limit + 1);
        expectErrorAbout(bench().receive(big, CLIENT_SIDE), big, kind(family, limit));
      }
    });

    it('with or without leave to fragment', () => {
      addCrossingService(bench(), narrow, 'udp');
      if (family === 6) return;
      const big = datagram(limit + 1, { dontFragment: false });
      expectErrorAbout(bench().receive(big, CLIENT_SIDE), big, kind(family, limit));
    });

    it('answers too', () => {
      addCrossingService(bench(), narrow, 'udp');
      bench().receive(datagram(100), CLIENT_SIDE);
      const most = 1500 - overhead(family) + overhead(other);
      const answerOf = (length: number) =>
        fromServer(narrow, udp({ ...toClient, payload: new Uint8Array(length - overhead(other) - 8) }));
      const fits = answerOf(most);
      expectCrossed(bench().receive(fits, NARROW_SIDE), towardsClient(narrow, fits));
      const big = answerOf(most + 1);
      expectErrorAbout(bench().receive(big, NARROW_SIDE), big, kind(other, most));
    });

    it('super-packets count by their segments', () => {
      addCrossingService(bench(), narrow, 'tcp');
      bench().receive(fromClient(narrow, tcp({ ...toService, flags: TCP.syn })), CLIENT_SIDE);
      const big = fromClient(narrow, tcp({ ...toService, flags: TCP.ack, payload: new Uint8Array(2800) }));
      const gsoSize = limit - overhead(family) - 20;
      const fits = bench().receive(big, CLIENT_SIDE, { gsoSize });
      if (fits.verdict !== VERDICT.drop) expect(fits.frame.length).toBe(14 + overhead(other) + 20 + 2800);
      const exceeds = bench().receive(big, CLIENT_SIDE, { gsoSize: gsoSize + 1 });
      expectErrorAbout(exceeds, big, kind(family, limit));
    });

    it('fragments have their header besides', () => {
      addCrossingService(bench(), narrow, 'udp');
      const whole = fromClient(narrow, udp({ ...toService, payload: new Uint8Array(3000) }));
      const step = family === 6 ? 1360 : 1352;
      const parts = fragmentsOf(whole, [step, 1000, 700], 7);
      const out = fragmentsOf(towardsServer(narrow, whole), [step, 1000, 700], 7);
      parts.forEach((part, index) => {
        expectCrossed(bench().receive(part, CLIENT_SIDE), out[index] ?? part);
      });
      if (family === 6) return;
      const [first] = fragmentsOf(whole, [step + 8, 1000], 8);
      if (first) expectErrorAbout(bench().receive(first, CLIENT_SIDE), first, kind(4, NARROW_MTU - 28));
    });
  });

  it('a way out below 1280 bytes makes the segments of IPv6 hosts smaller, which are not told of it', () => {
    const cross = crossing(6);
    const far: Crossing = { ...cross, server: { ...host(SERVER_SIDE, 4, ROUTER), address: '10.7.0.1' } };
    runIp('route', 'add', '10.7.0.0/16', 'via', host(SERVER_SIDE, 4, ROUTER).address, 'mtu', 'lock', '1000');
    try {
      addCrossingService(bench(), far, 'tcp');
      const syn = fromClient(far, tcp({ ...toService, flags: TCP.syn, options: TCP_OPTION.mss(1440) }));
      expectCrossed(bench().receive(syn, CLIENT_SIDE), towardsServer(far, syn));
      for (const [before, after] of [
        [1460, 960],
        [961, 960],
        [960, 960],
        [536, 536],
      ] as const) {
        for (const lead of [[], [1], [1, 1, 1], [4, 2]]) {
          const make = (mss: number) =>
            fromServer(
              far,
              answer('tcp', ENDPOINT_PORT, CLIENT_PORT, { options: padded([...lead, ...TCP_OPTION.mss(mss)]) }),
            );
          const result = bench().receive(make(before), SERVER_SIDE, { summed: true });
          expectCrossed(result, towardsClient(far, make(after)));
        }
      }
      const payload = new Uint8Array(1400);
      const big = fromClient(far, tcp({ ...toService, flags: TCP.ack, payload }));
      expectErrorAbout(bench().receive(big, CLIENT_SIDE), big, { type: 2, code: 0, rest: 1280 });
    } finally {
      runIp('route', 'del', '10.7.0.0/16');
    }
  });

  describe('IPv4 to IPv6', () => {
    const cross = crossing(4);
    const send = (packet: Packet, options = {}) => bench().receive(packet, CLIENT_SIDE, options);

    it('a datagram without a checksum gets one, whatever its length', () => {
      openAcross(bench(), cross, 'udp');
      const random = seeded(17);
      for (const length of [0, 1, 2, 3, 4, 5, 503, 504, 505, 506, 507, 508, 1015, 1016, 1017, 1400, 1431]) {
        const payload = randomBytes(random, length);
        const packet = fromClient(cross, udp({ ...toService, payload, unsummed: true }));
        expectCrossed(send(packet, { summed: true }), towardsServer(cross, packet));
      }
    });

    it('one whose sum is zero is written as all ones', () => {
      openAcross(bench(), cross, 'udp');
      const make = (payload: Uint8Array) => fromClient(cross, udp({ ...toService, payload, unsummed: true }));
      const sum = buildFrame(towardsServer(cross, make(new Uint8Array(2)))).slice(14 + 40 + 6, 14 + 40 + 8);
      const packet = make(sum);
      expect([...buildFrame(towardsServer(cross, packet)).slice(14 + 40 + 6, 14 + 40 + 8)]).toEqual([255, 255]);
      expectCrossed(send(packet), towardsServer(cross, packet));
    });

    it('a length of its own that does not fit is refused and counted', () => {
      openAcross(bench(), cross, 'udp');
      for (const length of [0, 7, 17]) {
        const frame = buildFrame(fromClient(cross, udp({ ...toService, payload: new Uint8Array(8), unsummed: true })));
        frame.set([0, length], 14 + 20 + 4);
        const result = bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) });
        expect(result.verdict).toBe(VERDICT.drop);
      }
      expect(bench().path.counters()).toMatchObject({ DROP_FAMILY: 3 });
    });

    it.each([
      ['loose', 131],
      ['strict', 137],
    ])('%s source routes that are not spent are refused and counted', (_name, kind) => {
      openAcross(bench(), cross, 'udp');
      const route = (pointer: number) => ({ options: Uint8Array.of(1, kind, 7, pointer, 10, 0, 1, 9) });
      expect(send(fromClient(cross, withPayload('udp', new Uint8Array(4)), route(4))).verdict).toBe(VERDICT.drop);
      expect(bench().path.counters()).toMatchObject({ DROP_FAMILY: 1 });
      const spent = fromClient(cross, withPayload('udp', new Uint8Array(4)), route(8));
      expectCrossed(send(spent), towardsServer(cross, spent));
    });
  });

  it('a datagram without a checksum over IPv6 is refused and counted', () => {
    const cross = crossing(6);
    openAcross(bench(), cross, 'udp');
    const frame = buildFrame(fromClient(cross, udp({ ...toService, unsummed: true })));
    const { verdict } = bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) });
    expect(verdict).toBe(VERDICT.drop);
    expect(bench().path.counters()).toMatchObject({ DROP_FAMILY: 1 });
  });

  it('routing headers with hosts left to visit are nobody of ours', () => {
    const cross = crossing(6);
    openAcross(bench(), cross, 'udp');
    const extensions = [{ type: EXTENSION.routing, body: Uint8Array.of(4, 1, 0, 0, 0, 0) }];
    const packet = fromClient(cross, udp(toService), { extensions });
    expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));
  });

  it('cut short at every length, never out of bounds', () => {
    for (const { family } of EVERY_CROSSING) {
      bench().reset();
      const cross = crossing(family);
      openAcross(bench(), cross, 'tcp');
      const frame = buildFrame(fromClient(cross, withPayload('tcp', new Uint8Array(9))));
      for (let length = family === 4 ? 34 : 54; length < frame.length; length++)
        cutShort(bench(), frame.slice(0, length));
    }
  });
});

function cutShort(bench: Bench, frame: Uint8Array): void {
  expectUntouched(bench.path.ingress(frame, { ifindex: bench.network.ifindex(CLIENT_SIDE) }), frame);
}

function trafficClass(version: 4 | 6, value: number): object {
  return version === 4 ? { tos: value } : { trafficClass: value };
}

/** Header fields that have no equal in the other family. */
function headers(version: 4 | 6): readonly object[] {
  if (version === 4) {
    return [
      { options: Uint8Array.of(0x94, 4, 0, 0) },
      { options: Uint8Array.of(1, 1, 1, 0) },
      { options: new Uint8Array(40).fill(1) },
      { options: Uint8Array.of(7, 15, 4, ...new Uint8Array(12), 0) },
    ];
  }
  const options = { type: EXTENSION.destination, body: Uint8Array.of(1, 4, 0, 0, 0, 0) };
  const long = { type: EXTENSION.hopByHop, body: Uint8Array.of(1, 12, ...new Uint8Array(12)) };
  const visited = { type: EXTENSION.routing, body: Uint8Array.of(4, 0, 0, 0, 0, 0) };
  const atomic = { type: EXTENSION.fragment, body: Uint8Array.of(0, 0, 1, 2, 3, 4) };
  return [
    { extensions: [options], flowLabel: 0xfffff },
    { extensions: [long, options, visited] },
    { extensions: [atomic] },
    { extensions: [options, atomic] },
  ];
}

/** The packet in pieces whose payloads have these sizes, the last as long as it gets. */
function fragmentsOf(packet: Packet, sizes: readonly number[], identification: number): Packet[] {
  const { ip } = packet;
  const header = ip.version === 4 ? 20 : 40;
  const bytes = buildFrame(packet).slice(14 + header);
  const protocol = protocolOf(packet);
  let at = 0;
  return sizes.map((size, index) => {
    const payload = bytes.slice(at, at + size);
    const more = index < sizes.length - 1;
    const offset = at;
    at += size;
    const transport: Transport = { kind: 'opaque', protocol, payload };
    if (ip.version === 4) {
      const fields = { dontFragment: false, moreFragments: more, fragmentOffset: offset / 8, identification };
      return { ...packet, ip: { ...ip, ...fields }, transport };
    }
    const body = Uint8Array.of(
      offset >> 8,
      (offset & 0xf8) | Number(more),
      0,
      0,
      identification >> 8,
      identification & 255,
    );
    return { ...packet, ip: { ...ip, extensions: [{ type: EXTENSION.fragment, body }] }, transport };
  });
}

function protocolOf({ ip, transport }: Packet): number {
  if (transport.kind === 'tcp' || transport.kind === 'udp') return PROTOCOL[transport.kind];
  return ip.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
}

function padded(options: readonly number[]): Uint8Array {
  return Uint8Array.from([...options, ...new Uint8Array((4 - (options.length % 4)) % 4)]);
}

function sent(
  packet: Packet,
  send: (packet: Packet) => ReturnType<Bench['receive']>,
  expected: (packet: Packet) => Packet,
) {
  if (packet.ip.version === 6) return [expected(packet), send(packet)] as const;
  throw new Error('an IPv6 packet is wanted');
}

function seenPort(frame: Uint8Array, version: 4 | 6, protocol: Protocol): number {
  const at = 14 + (version === 4 ? 20 : 40) + (protocol === 'icmp' ? 4 : 0);
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}

function peerOf({ server }: Crossing) {
  return { address: server.address, port: ENDPOINT_PORT };
}
