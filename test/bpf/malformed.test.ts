/** Packets nobody should send, and packets that only look odd. The kernel gets what is not surely ours, untouched. */
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE } from './network.js';
import { be16, buildFrame, buildIp, protocolNumber } from './reference/build.js';
import { internetChecksum } from './reference/checksum.js';
import {
  ETHERTYPE,
  EXTENSION,
  type Extension,
  ipHeader,
  joinBytes,
  type Packet,
  TCP,
  TCP_OPTION,
  tcp,
  text,
} from './reference/packet.js';
import { translate } from './reference/translate.js';
import {
  type Bench,
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  expectUntouched,
  type Family,
  opening,
  type Protocol,
  packetFrom,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const L3 = 14;

function receiveBytes(bench: Bench, frame: Uint8Array) {
  return bench.path.ingress(frame, { ifindex: bench.network.ifindex(CLIENT_SIDE) });
}

/** Expects it to pass, and that nothing remembers it. */
function expectPassed(bench: Bench, frame: Uint8Array): void {
  const before = bench.flowCount();
  expectUntouched(receiveBytes(bench, frame), frame);
  expect(bench.flowCount()).toEqual(before);
}

/** Puts the right IPv4 header checksum into a frame whose header was changed. */
function fixHeader(frame: Uint8Array, headerLength = 20): Uint8Array {
  const header = frame.subarray(L3, L3 + headerLength);
  header.set([0, 0], 10);
  header.set(be16(internetChecksum(header)), 10);
  return frame;
}

/** Says that the packet ends where the frame does. */
function fixLength(frame: Uint8Array, family: Family): Uint8Array {
  if (family === 6) {
    frame.set(be16(Math.max(0, frame.length - L3 - 40)), L3 + 4);
    return frame;
  }
  frame.set(be16(frame.length - L3), L3 + 2);
  return fixHeader(frame);
}

const headerSize = (family: Family): number => (family === 4 ? 20 : 40);
const TRANSPORT_SIZE = { tcp: 20, udp: 8, icmp: 8 } as const;

describePath('malformed packets', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client } = scene(family);
    const options = joinBytes(TCP_OPTION.mss(1460), TCP_OPTION.timestamps(1, 2), TCP_OPTION.windowScale(7));
    const request = packetFrom(
      client,
      vip,
      opening(protocol, CLIENT_PORT, SERVICE_PORT, { options, payload: text('data') }),
    );
    const whole = buildFrame(request);

    it.each([
      ['a first packet', false],
      ['a packet of a flow', true],
    ])('cut short at every byte, %s', (_name, open) => {
      addPlainService(bench(), family, protocol);
      if (open) receiveBytes(bench(), whole);
      // The kernel takes no test packet without a whole IP header.
      for (let length = L3 + headerSize(family); length < whole.length; length++)
        expectPassed(bench(), whole.slice(0, length));
    });

    it('cut short in its headers, and saying so', () => {
      addPlainService(bench(), family, protocol);
      const headers = L3 + headerSize(family) + TRANSPORT_SIZE[protocol];
      for (let length = L3 + headerSize(family); length < headers; length++) {
        expectPassed(bench(), fixLength(whole.slice(0, length), family));
      }
    });

    it('of another IP version than its EtherType says', () => {
      addPlainService(bench(), family, protocol);
      for (let version = 0; version < 16; version++) {
        if (version === family) continue;
        const frame = whole.slice();
        frame.set([(version << 4) | ((frame[L3] ?? 0) & 15)], L3);
        expectPassed(bench(), family === 4 ? fixHeader(frame) : frame);
      }
    });

    it('longer than the frame', () => {
      addPlainService(bench(), family, protocol);
      for (const more of [1, 100, 0xffff - whole.length]) {
        const frame = whole.slice();
        const stated = frame.length - L3 - (family === 4 ? 0 : 40) + more;
        frame.set(be16(stated), L3 + (family === 4 ? 2 : 4));
        expectPassed(bench(), family === 4 ? fixHeader(frame) : frame);
      }
    });

    it('shorter than its own headers', () => {
      addPlainService(bench(), family, protocol);
      const shortest = family === 4 ? 20 + TRANSPORT_SIZE[protocol] : TRANSPORT_SIZE[protocol];
      for (let stated = 0; stated < shortest; stated++) {
        const frame = whole.slice();
        frame.set(be16(stated), L3 + (family === 4 ? 2 : 4));
        expectPassed(bench(), family === 4 ? fixHeader(frame) : frame);
      }
    });

    it('with bytes after its end: they stay', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      const trailer = text('Ethernet padding');
      for (let round = 0; round < 3; round++) {
        const result = bench().receive({ ...talk.request, trailer }, CLIENT_SIDE);
        expectForwarded(result, { ...talk.requestOut, trailer });
      }
    });

    it('for another host, for all, tagged, or of another kind', () => {
      addPlainService(bench(), family, protocol);
      const { ethernet } = request;
      for (const destination of ['02:00:00:00:01:77', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '33:33:00:00:00:01']) {
        expectPassed(bench(), buildFrame({ ...request, ethernet: { ...ethernet, destination } }));
      }
      const macs = whole.subarray(0, 12);
      const rest = whole.subarray(12);
      expectPassed(bench(), joinBytes(macs, be16(ETHERTYPE.vlan), be16(100), rest));
      expectPassed(bench(), joinBytes(macs, be16(0x88a8), be16(7), be16(ETHERTYPE.vlan), be16(100), rest));
      for (const type of [ETHERTYPE.arp, 0x8847, 0x88cc, 0x0000, 0x002e]) {
        expectPassed(bench(), joinBytes(macs, be16(type), whole.subarray(14)));
      }
    });

    it('parts of a packet whose first part never came pass, whether or not there is a flow', () => {
      addPlainService(bench(), family, protocol);
      for (const open of [false, true]) {
        if (open) receiveBytes(bench(), whole);
        const before = bench().path.counters().PASS_FRAGMENT ?? 0;
        for (const more of [true, false]) expectPassed(bench(), fragmentOf(request, 3, more));
        expect(bench().path.counters().PASS_FRAGMENT).toBe(before + 2);
      }
    });

    it('with IP options or extension headers are forwarded with them', () => {
      addPlainService(bench(), family, protocol);
      const { endpoint } = scene(family);
      const server = endpoint(0);
      const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
      for (const ip of family === 4 ? variantsWithOptions(request) : variantsWithExtensions(request)) {
        const packet = { ...request, ip };
        expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
      }
    });
  });

  it.each([4, 6] as const)('a first part without the whole TCP header passes (RFC 1858, RFC 7112), IPv%d', (family) => {
    addPlainService(bench(), family, 'tcp');
    const { request } = conversation(family, 'tcp');
    const part = fragmentOf(request, 0, true);
    for (const size of [0, 8, 16]) {
      const cut = part.slice(0, L3 + headerSize(family) + (family === 4 ? 0 : 8) + size);
      expectPassed(bench(), fixLength(cut, family));
    }
  });

  it.each([0, 1, 2, 3, 4])('IPv4 header length %d', (words) => {
    addPlainService(bench(), 4, 'udp');
    const frame = buildFrame(conversation(4, 'udp').request);
    frame.set([0x40 | words], L3);
    expectPassed(bench(), fixHeader(frame));
  });

  it('IPv4 header length beyond the packet', () => {
    addPlainService(bench(), 4, 'udp');
    const frame = buildFrame(conversation(4, 'udp').request);
    for (let words = 10; words < 16; words++) {
      const changed = frame.slice(0, L3 + 36);
      changed.set(be16(36), L3 + 2);
      changed.set([0x40 | words], L3);
      expectPassed(bench(), changed);
    }
  });

  it.each([4, 6] as const)('TCP data offset out of range, IPv%d', (family) => {
    addPlainService(bench(), family, 'tcp');
    const { vip, client } = scene(family);
    const at = L3 + headerSize(family) + 12;
    const payload = text('1234');
    const segment = tcp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, flags: TCP.syn, payload });
    for (const words of [0, 1, 2, 3, 4, 7, 8, 15]) {
      const frame = buildFrame(packetFrom(client, vip, segment));
      frame.set([words << 4], at);
      expectPassed(bench(), frame);
    }
  });

  it('TCP options that lie about their length are not followed', () => {
    addPlainService(bench(), 4, 'tcp');
    const { vip, client, endpoint } = scene(4);
    const server = endpoint(0);
    const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    const lies = [
      [3, 0, 7, 1],
      [3, 255, 7, 1],
      [2, 0, 0, 0],
      [2, 1, 0, 0],
      [8, 200, 0, 0],
      [1, 1, 1, 3],
      [1, 1, 3, 3],
      [255, 255, 255, 255],
    ];
    for (const [index, lie] of lies.entries()) {
      const options = joinBytes(Uint8Array.from(lie), index % 2 ? TCP_OPTION.windowScale(255) : new Uint8Array(0));
      const segment = tcp({ sourcePort: 100 + index, destinationPort: SERVICE_PORT, flags: TCP.syn, options });
      const packet = packetFrom(client, vip, segment);
      expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
    }
  });

  describe('IPv6', () => {
    const { vip, client } = scene(6);
    const extended = (extensions: readonly Extension[], protocol: Protocol = 'udp'): Packet => {
      const ip = ipHeader({ source: client.address, destination: vip, extensions });
      return { ...packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT)), ip };
    };
    const padding = (type: number, size: number): Extension => ({
      type,
      body: Uint8Array.of(1, size - 4, ...new Uint8Array(size - 4)),
    });

    it('a routing header that is not done yet is for the kernel: the address in the checksum is another one', () => {
      addPlainService(bench(), 6, 'udp');
      const segmentsLeft = 1;
      const body = joinBytes(Uint8Array.of(4, segmentsLeft, 0, 0, 0, 0), new Uint8Array(16));
      expectPassed(bench(), buildFrame(extended([{ type: EXTENSION.routing, body }])));
    });

    it('more extension headers than one walks pass', () => {
      addPlainService(bench(), 6, 'udp');
      const many = Array.from({ length: 12 }, () => padding(EXTENSION.destination, 8));
      expectPassed(bench(), buildFrame(extended(many)));
      expectPassed(bench(), buildFrame(extended([padding(EXTENSION.destination, 256)])));
      expect(bench().path.counters()).toEqual({ PASS_IP_OPTIONS: 2 });
    });

    it('an extension header longer than the packet passes', () => {
      addPlainService(bench(), 6, 'udp');
      const frame = buildFrame(extended([padding(EXTENSION.hopByHop, 8)]));
      for (const length of [3, 10, 255]) {
        const changed = frame.slice();
        changed.set([length], L3 + 41);
        expectPassed(bench(), changed);
      }
    });

    it('a jumbo payload, no next header, AH and ESP pass', () => {
      addPlainService(bench(), 6, 'udp');
      const frame = buildFrame(conversation(6, 'udp').request);
      const jumbo = frame.slice();
      jumbo.set([0, 0], L3 + 4);
      expectPassed(bench(), jumbo);
      for (const next of [59, 51, 50, 135, 139, 140, 253]) {
        const changed = frame.slice();
        changed.set([next], L3 + 6);
        expectPassed(bench(), changed);
      }
    });

    it('IPv4-mapped addresses on the wire are not IPv4', () => {
      addPlainService(bench(), 4, 'udp');
      const mapped = (address: string) =>
        `::ffff:${Buffer.from(address.split('.').map(Number))
          .toString('hex')
          .replace(/(....)/, '$1:')}`;
      const four = scene(4);
      const ip = ipHeader({ source: mapped(four.client.address), destination: mapped(four.vip) });
      expectPassed(bench(), buildFrame({ ...conversation(6, 'udp').request, ip }));
    });

    it('neighbour discovery passes', () => {
      addPlainService(bench(), 6, 'icmp');
      for (const type of [133, 134, 135, 136, 137, 130, 143, 127, 255]) {
        const payload = Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, ...new Uint8Array(16));
        expectPassed(
          bench(),
          buildFrame(packetFrom(client, vip, { kind: 'opaque', protocol: 58, payload }, { ttl: 255 })),
        );
      }
    });
  });

  it('ICMP of other kinds passes, IPv4', () => {
    addPlainService(bench(), 4, 'icmp');
    const { vip, client } = scene(4);
    for (const type of [1, 2, 4, 5, 9, 10, 13, 14, 15, 17, 30, 40, 255]) {
      const payload = Uint8Array.of(type, 0, 0, 0, ...new Uint8Array(24));
      expectPassed(bench(), buildFrame(packetFrom(client, vip, { kind: 'opaque', protocol: 1, payload })));
    }
  });

  it.each([
    [4, 58],
    [6, 1],
  ] as const)("the other family's ICMP is none, IPv%d protocol %d", (family, protocol) => {
    const { vip, client } = scene(family);
    for (const service of [1, 58]) {
      bench().addService({
        address: vip,
        protocol: service,
        endpoints: [{ address: scene(family).endpoint(0).address }],
      });
    }
    const payload = buildIp(ipHeader({ source: client.address, destination: vip }), opening('icmp', 5, 0)).slice(
      headerSize(family),
    );
    expectPassed(bench(), buildFrame(packetFrom(client, vip, { kind: 'opaque', protocol, payload })));
  });

  it.each([4, 6] as const)('an echo reply nobody asked for opens no flow, IPv%d', (family) => {
    addPlainService(bench(), family, 'icmp');
    const { vip, client } = scene(family);
    const packet = packetFrom(client, vip, { ...opening('icmp', 5, 0), reply: true } as Packet['transport']);
    expectPassed(bench(), buildFrame(packet));
  });

  it.each([
    [4, ['224.0.0.1', '239.255.1.1', '255.255.255.255', '127.0.0.1', '0.0.0.0']],
    [6, ['ff02::1', 'ff01:db8:1::10', '::', '::1']],
  ] as const)(
    'a source address nobody can have: nothing of ours, IPv%d (RFC 1122 3.2.1.3, RFC 4291 2.7)',
    (family, sources) => {
      addPlainService(bench(), family, 'udp');
      const { vip, client } = scene(family);
      for (const source of sources) {
        const frame = buildFrame(packetFrom(client, vip, opening('udp', CLIENT_PORT, SERVICE_PORT), { source }));
        const result = receiveBytes(bench(), frame);
        // Dropped, or left to the kernel, which knows what to do with it.
        if (result.verdict !== VERDICT.drop) expectUntouched(result, frame);
        expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
      }
    },
  );

  it('source port 0 is a port like any other', () => {
    addPlainService(bench(), 4, 'udp');
    const { vip, client, endpoint } = scene(4);
    const server = endpoint(0);
    const packet = packetFrom(client, vip, opening('udp', 0, SERVICE_PORT));
    const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
  });
});

/** A fragment of the packet's transport part. */
function fragmentOf(packet: Packet, offset: number, more: boolean): Uint8Array {
  const { ip } = packet;
  const bytes = buildIp(ip, packet.transport).slice(headerSize(ip.version));
  const payload = bytes.subarray(offset * 8, more ? bytes.length - (bytes.length % 8) : bytes.length);
  const protocol = protocolNumber(ip.version, packet.transport);
  if (ip.version === 4) {
    const changed = { ...ip, dontFragment: false, moreFragments: more, fragmentOffset: offset };
    return buildFrame({ ...packet, ip: changed, transport: { kind: 'opaque', protocol, payload } });
  }
  const body = joinBytes(be16((offset << 3) | (more ? 1 : 0)), Uint8Array.of(0, 0, 0, 77));
  const extensions = [{ type: EXTENSION.fragment, body }];
  return buildFrame({ ...packet, ip: { ...ip, extensions }, transport: { kind: 'opaque', protocol, payload } });
}

function variantsWithOptions(packet: Packet): Packet['ip'][] {
  if (packet.ip.version !== 4) return [];
  const { ip } = packet;
  const routerAlert = Uint8Array.of(0x94, 4, 0, 0);
  const recordRoute = Uint8Array.of(7, 39, 4, ...new Uint8Array(36), 0);
  return [routerAlert, recordRoute, new Uint8Array(8).fill(1)].map((options) => ({ ...ip, options }));
}

function variantsWithExtensions(packet: Packet): Packet['ip'][] {
  if (packet.ip.version !== 6) return [];
  const { ip } = packet;
  const padding = (type: number, size: number): Extension => ({
    type,
    body: Uint8Array.of(1, size - 4, ...new Uint8Array(size - 4)),
  });
  const done: Extension = { type: EXTENSION.routing, body: Uint8Array.of(4, 0, 0, 0, 0, 0) };
  const chains = [
    [padding(EXTENSION.hopByHop, 8)],
    [padding(EXTENSION.destination, 24)],
    [padding(EXTENSION.hopByHop, 8), padding(EXTENSION.destination, 8), done, padding(EXTENSION.destination, 16)],
  ];
  return chains.map((extensions) => ({ ...ip, extensions }));
}
