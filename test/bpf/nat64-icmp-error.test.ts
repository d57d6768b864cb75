/** ICMP errors across families: what they say, what they quote, and from whom they seem to come (RFC 7915 4.2, 5.2). */
import { describe, expect, it } from 'vitest';
import {
  addCrossingService,
  crossing,
  EVERY_CROSSING,
  expectCrossed,
  openAcross,
  talkAcross,
  towardsClient,
  towardsServer,
} from './families.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, ROUTER, SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { type FamilyErrorChange, translateFamilyError } from './reference/family.js';
import { EXTENSION, type Packet } from './reference/packet.js';
import { randomBytes, seeded } from './reference/random.js';
import {
  CLIENT_PORT,
  describePath,
  ENDPOINT_PORT,
  expectUntouched,
  type Host,
  host,
  type Protocol,
  packetFrom,
  SERVICE_PORT,
} from './scenario.js';

interface Kind {
  readonly type: number;
  readonly code: number;
  readonly rest: number;
}

const TOO_BIG = { 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, code: 0, rest: 1400 } } as const;
const UNREACHABLE = { 4: { type: 3, code: 3, rest: 0 }, 6: { type: 1, code: 4, rest: 0 } } as const;

function errorAbout(
  quoted: Packet,
  from: Host,
  kind: Kind,
  length = Number.POSITIVE_INFINITY,
  ip: object = {},
): Packet {
  const quote = buildIp(quoted.ip, quoted.transport).slice(0, length);
  const packet = packetFrom(from, quoted.ip.source, { kind: 'error', ...kind, quote });
  return { ...packet, ip: { ...packet.ip, ...ip } };
}

const headerSize = (packet: Packet): number => (packet.ip.version === 4 ? 20 : 40);

describePath('ICMP errors between families', (bench) => {
  describe.each(EVERY_CROSSING)('$name', ({ family }) => {
    const cross = crossing(family);
    const other = family === 4 ? 6 : 4;
    const router = host(SERVER_SIDE, other, ROUTER);
    const clientRouter = host(CLIENT_SIDE, family, 44);

    /** What the client is to get about its request: whoever complains, the service does. */
    const toClient = (protocol: Protocol): FamilyErrorChange => {
      const port = protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT;
      const quoted = {
        source: { address: cross.client.address, port: CLIENT_PORT },
        destination: { address: cross.vip, port },
      };
      return { source: cross.vip, destination: cross.client.address, quoted, hops: 1 };
    };
    /** What the endpoint is to get about its answer. */
    const toServer = (protocol: Protocol): FamilyErrorChange => {
      const port = protocol === 'icmp' ? CLIENT_PORT : ENDPOINT_PORT;
      const quoted = {
        source: { address: cross.server.address, port },
        destination: { address: cross.source, port: CLIENT_PORT },
      };
      return { source: cross.source, destination: cross.server.address, quoted, hops: 1 };
    };

    /** Relayed as the reference says, or dropped and counted where it says nothing. */
    const expectRelayed = (error: Packet, from: Host, change: FamilyErrorChange, summed = true) => {
      const before = bench().path.counters();
      const result = bench().receive(error, from.device, { summed });
      const expected = translateFamilyError(error, change);
      const after = bench().path.counters();
      const rose = (name: 'EVENT_ICMP_RELAYED' | 'DROP_FAMILY') => (after[name] ?? 0) - (before[name] ?? 0);
      if (expected) expectCrossed(result, expected);
      else expect(result.verdict).toBe(VERDICT.drop);
      expect([rose('EVENT_ICMP_RELAYED'), rose('DROP_FAMILY')]).toEqual(expected ? [1, 0] : [0, 1]);
    };

    describe.each(['tcp', 'udp', 'icmp'] as const)('%s', (protocol) => {
      it.each([
        ['all of it', 1000],
        ['eight bytes of its transport header', 8],
        ['nine bytes', 9],
        ['seventeen bytes', 17],
        ['eighteen bytes', 18],
        ['twenty bytes', 20],
        ['twenty-three bytes', 23],
      ])('about a request, quoting %s', (_name, length) => {
        const { request } = openAcross(bench(), cross, protocol);
        const out = towardsServer(cross, request);
        for (const kind of [TOO_BIG[other], UNREACHABLE[other]]) {
          for (const from of [router, cross.server]) {
            expectRelayed(errorAbout(out, from, kind, headerSize(out) + length), from, toClient(protocol));
          }
        }
      });

      it.each([1000, 8, 23])('about an answer, quoting %d bytes', (length) => {
        const { reply } = openAcross(bench(), cross, protocol);
        const out = towardsClient(cross, reply);
        for (const kind of [TOO_BIG[family], UNREACHABLE[family]]) {
          for (const from of [clientRouter, cross.client]) {
            expectRelayed(errorAbout(out, from, kind, headerSize(out) + length), from, toServer(protocol));
          }
        }
      });

      it('with traffic class and headers that are left out', () => {
        const { request } = openAcross(bench(), cross, protocol);
        const out = towardsServer(cross, request);
        for (const fields of headers(other)) {
          const quoted = { ...out, ip: { ...out.ip, ...fields } };
          expectRelayed(errorAbout(quoted, router, TOO_BIG[other], 1000), router, toClient(protocol));
          expectRelayed(errorAbout(quoted, router, TOO_BIG[other], 1000, fields), router, toClient(protocol));
          expectRelayed(errorAbout(out, router, TOO_BIG[other], 1000, fields), router, toClient(protocol));
        }
      });

      it('the flow does not change by it', () => {
        const { request } = openAcross(bench(), cross, protocol);
        const error = errorAbout(towardsServer(cross, request), router, TOO_BIG[other]);
        for (let round = 0; round < 3; round++) bench().receive(error, SERVER_SIDE);
        expectCrossed(bench().receive(request, CLIENT_SIDE), towardsServer(cross, request));
        expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_ICMP_RELAYED: 3 });
      });

      it('one with a spent TTL goes no further', () => {
        const { request } = openAcross(bench(), cross, protocol);
        const error = errorAbout(towardsServer(cross, request), router, TOO_BIG[other], 1000, { ttl: 1 });
        expect(bench().receive(error, SERVER_SIDE).verdict).toBe(VERDICT.drop);
      });

      it('one that is cut short goes to the kernel or is dropped, never on', () => {
        const { request } = openAcross(bench(), cross, protocol);
        const out = towardsServer(cross, request);
        for (let length = 0; length < headerSize(out) + 8; length++) {
          const error = errorAbout(out, router, TOO_BIG[other], length);
          expectUntouched(bench().receive(error, SERVER_SIDE), buildFrame(error));
        }
      });

      it('one about nobody of ours goes to the kernel', () => {
        addCrossingService(bench(), cross, protocol);
        const error = errorAbout(towardsServer(cross, talkAcross(cross, protocol).request), router, UNREACHABLE[other]);
        expectUntouched(bench().receive(error, SERVER_SIDE), buildFrame(error));
      });

      it('a wrong sum is not made right', () => {
        const { request } = openAcross(bench(), cross, protocol);
        const error = errorAbout(towardsServer(cross, request), router, TOO_BIG[other]);
        const frame = buildFrame(error);
        const at = 14 + (other === 4 ? 20 : 40) + 2;
        frame[at] = (frame[at] ?? 0) ^ 0x55;
        const result = bench().path.ingress(frame, { ifindex: bench().network.ifindex(SERVER_SIDE) });
        const expected = translateFamilyError(error, toClient(protocol));
        if (expected) expect(() => expectCrossed(result, expected)).toThrow('checksum');
      });
    });

    it('every type and code', () => {
      const { request } = openAcross(bench(), cross, 'udp');
      const out = towardsServer(cross, request);
      const types = other === 4 ? [3, 11, 12] : [1, 2, 3, 4];
      for (const type of types) {
        for (let code = 0; code <= 20; code++) {
          const rest = type === 2 ? 1400 : 0;
          expectRelayed(errorAbout(out, router, { type, code, rest }), router, toClient('udp'));
        }
      }
    });

    it('every pointer', () => {
      const { request } = openAcross(bench(), cross, 'udp');
      const out = towardsServer(cross, request);
      for (let pointer = 0; pointer < 64; pointer++) {
        const kind =
          other === 4 ? { type: 12, code: 0, rest: pointer * 0x1000000 } : { type: 4, code: 0, rest: pointer };
        expectRelayed(errorAbout(out, router, kind), router, toClient('udp'));
      }
    });

    it('every kind of MTU', () => {
      const { request } = openAcross(bench(), cross, 'udp');
      const out = towardsServer(cross, request);
      const kind = (mtu: number) =>
        other === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: Math.max(mtu, 1280) };
      for (const mtu of [68, 576, 1259, 1260, 1261, 1280, 1300, 1480]) {
        expectRelayed(errorAbout(out, router, kind(mtu)), router, toClient('udp'));
      }
    });

    it('what comes behind the quote is cut off (RFC 4884)', () => {
      const { request } = openAcross(bench(), cross, 'udp');
      const out = towardsServer(cross, request);
      const kind = other === 4 ? { type: 11, code: 0, rest: 32 << 16 } : { type: 3, code: 0, rest: 0x10000000 };
      const plain = errorAbout(out, router, kind);
      if (plain.transport.kind !== 'error') return;
      const quote = new Uint8Array(128 + 13).fill(0x5a);
      quote.fill(0, 0, 128);
      quote.set(plain.transport.quote);
      // Where a packet is cut the kernel gives the sum over it up.
      expectRelayed({ ...plain, transport: { ...plain.transport, quote } }, router, toClient('udp'), false);
    });

    it('long quotes are cut to what IPv6 takes everywhere', () => {
      const { request } = openAcross(bench(), cross, 'tcp');
      const payload = randomBytes(seeded(5), 1350);
      const out = towardsServer(cross, {
        ...request,
        transport: { ...request.transport, payload } as Packet['transport'],
      });
      const longest = (other === 4 ? 1500 : 1280) - headerSize(out) - 8;
      for (const length of [500, 1191, 1192, 1193, 1211, 1212, 1213, 1231, 1232, longest]) {
        if (length > longest) continue;
        expectRelayed(errorAbout(out, router, TOO_BIG[other], length), router, toClient('tcp'), length < 1190);
      }
    });

    it('Ethernet padding does not disturb', () => {
      const { request } = openAcross(bench(), cross, 'tcp');
      const out = towardsServer(cross, request);
      for (const length of [8, 17, 18]) {
        const error = {
          ...errorAbout(out, router, TOO_BIG[other], headerSize(out) + length),
          trailer: new Uint8Array(13).fill(3),
        };
        expectRelayed(error, router, toClient('tcp'));
      }
    });
  });

  it.each([68, 1492, 1493, 2002, 2003, 4000, 9000, 40_000])(
    'a router that does not tell its MTU has what is usual below %d',
    (length) => {
      const cross = crossing(6);
      const { request } = openAcross(bench(), cross, 'udp');
      const out = towardsServer(cross, request);
      const error = errorAbout(out, host(SERVER_SIDE, 4, ROUTER), { type: 3, code: 4, rest: 0 });
      const quote = longer(error, length);
      const change = {
        source: cross.vip,
        destination: cross.client.address,
        quoted: {
          source: { address: cross.client.address, port: CLIENT_PORT },
          destination: { address: cross.vip, port: SERVICE_PORT },
        },
        hops: 1,
      };
      const expected = translateFamilyError(quote, change);
      if (expected?.transport.kind !== 'error') throw new Error('nothing expected');
      // The way to the client has no more than 1500.
      const transport = { ...expected.transport, rest: Math.min(expected.transport.rest, 1500) };
      expectCrossed(bench().receive(quote, SERVER_SIDE), { ...expected, transport });
    },
  );
});

/** The quoted packet was this long. */
function longer(error: Packet, length: number): Packet {
  if (error.transport.kind !== 'error') return error;
  const quote = error.transport.quote.slice();
  quote.set([length >> 8, length & 255], 2);
  quote.set([0, 0], 10);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += (quote[at] ?? 0) * 256 + (quote[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  quote.set([(sum ^ 0xffff) >> 8, (sum ^ 0xffff) & 255], 10);
  return { ...error, transport: { ...error.transport, quote } };
}

function headers(version: 4 | 6): readonly object[] {
  if (version === 4)
    return [{ tos: 0xb9 }, { options: Uint8Array.of(0x94, 4, 0, 0) }, { options: new Uint8Array(40).fill(1) }];
  const options = { type: EXTENSION.destination, body: Uint8Array.of(1, 4, 0, 0, 0, 0) };
  const long = { type: EXTENSION.hopByHop, body: Uint8Array.of(1, 12, ...new Uint8Array(12)) };
  return [{ trafficClass: 0xb9, flowLabel: 7 }, { extensions: [options] }, { extensions: [long, options] }];
}
