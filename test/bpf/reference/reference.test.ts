/**
 * The reference judges the packet path, so it is itself judged: by captures made once with another implementation
 * (scapy), byte for byte.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ipBytes, ipText } from './address.js';
import { buildFrame, buildIp } from './build.js';
import { adjustChecksum, internetChecksum, onesSum } from './checksum.js';
import { fragment } from './fragment.js';
import { echo, ipHeader, joinBytes, NO_BYTES, type Packet, TCP, TCP_OPTION, tcp, text, udp } from './packet.js';
import { InvalidPacket, isFragment, parseFrame, parseIp, parseIpHeader } from './parse.js';
import { alignedBlocks } from './prefix.js';
import { Kind, Part, RawPacket } from './raw.js';
import { encapsulateRaw, type RawChange, RawQuote, translateErrorRaw, translateRaw } from './raw-translate.js';
import { translate, translateError } from './translate.js';
import { encapsulate } from './tunnel.js';

interface Captures {
  readonly valid: readonly { readonly name: string; readonly hex: string }[];
  readonly damaged: readonly { readonly reason: string; readonly hex: string }[];
  readonly tunnels: readonly { readonly name: string; readonly inner: string; readonly outer: string }[];
  readonly fragments: readonly { readonly name: string; readonly whole: string; readonly parts: readonly string[] }[];
}
const captures: Captures = JSON.parse(readFileSync(new URL('fixtures/captures.json', import.meta.url), 'utf8'));
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
const capture = (name: string): Uint8Array => bytesOf(captures.valid.find((one) => one.name === name)?.hex ?? '');

const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const v4 = { source: '10.1.2.3', destination: '20.20.20.1', ttl: 61, identification: 0x1234, tos: 0x28 };
const v6 = { source: '2001:db8:1::3', destination: '2001:db8:20::1', ttl: 61, trafficClass: 0x28, flowLabel: 0xabcde };

describe('captures', () => {
  it.each(captures.valid)('$name: parses, and builds again to the same bytes', ({ hex }) => {
    const frame = bytesOf(hex);
    expect(buildFrame(parseFrame(frame))).toEqual(frame);
  });

  it.each(captures.damaged)('refuses: $reason', ({ hex, reason }) => {
    expect(() => parseFrame(bytesOf(hex))).toThrow(new InvalidPacket(reason));
  });

  it.each([
    ['v4', v4],
    ['v6', v6],
  ])('SYN with options is built from fields alone, %s', (family, addresses) => {
    const { mss, windowScale, sackPermitted, timestamps } = TCP_OPTION;
    const options = joinBytes(mss(1460), windowScale(7), sackPermitted, timestamps(0x01020304, 0));
    const built = tcp({ sourcePort: 40000, destinationPort: 2020, flags: TCP.syn, sequence: 0xfedcba98, options });
    const frame = capture(`tcp syn with options, ${family}`);
    expect(buildFrame({ ethernet, ip: ipHeader(addresses), transport: built, trailer: NO_BYTES })).toEqual(frame);
  });

  it.each([
    ['v4', v4],
    ['v6', v6],
  ])('datagram and echo are built from fields alone, %s', (family, addresses) => {
    const frame = (transport: Packet['transport']): Uint8Array =>
      buildFrame({ ethernet, ip: ipHeader(addresses), transport, trailer: NO_BYTES });
    const datagram = udp({ sourcePort: 5353, destinationPort: 53, payload: text('hello') });
    expect(frame(datagram)).toEqual(capture(`udp, ${family}`));
    const request = echo({ identifier: 0x4242, sequence: 7, payload: text('abcdefg') });
    expect(frame(request)).toEqual(capture(`echo request, ${family}`));
  });

  it('knows fragments from atomic fragments', () => {
    expect(isFragment(parseFrame(capture('atomic fragment, v6')).ip)).toBe(false);
    expect(isFragment(parseFrame(capture('later fragment, v6')).ip)).toBe(true);
    expect(isFragment(parseFrame(capture('first fragment, v4')).ip)).toBe(true);
    expect(parseFrame(capture('later fragment, v4')).transport.kind).toBe('opaque');
  });
});

/** The fast reference, which judges millions, says what the slow one says. */
describe('packets as bytes', () => {
  const out = new Uint8Array(4096);
  const raw = (hex: string): RawPacket => {
    const packet = new RawPacket();
    packet.read(bytesOf(hex), hex.length / 2);
    return packet;
  };
  const ends = (six: boolean) => ({
    source: { address: six ? '2001:db8:9::1' : '10.9.9.1', port: 4711 },
    destination: { address: six ? '2001:db8:9::9' : '10.9.9.9', port: 8080 },
  });
  const changeOf = (six: boolean): RawChange => {
    const { source, destination } = ends(six);
    const macs = Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1);
    const ports = { sport: source.port, dport: destination.port };
    return { source: ipBytes(source.address), destination: ipBytes(destination.address), ...ports, macs };
  };

  it.each(captures.valid.filter(({ hex }) => raw(hex).kind === Kind.flow))('$name: translated alike', ({ hex }) => {
    const packet = raw(hex);
    if (packet.part !== Part.whole) return;
    const length = translateRaw(packet, changeOf(packet.six), 1, out);
    const { source, destination } = ends(packet.six);
    const parsed = parseFrame(bytesOf(hex));
    const port = parsed.transport.kind === 'echo' ? { ...destination, port: source.port } : destination;
    const slow = buildFrame(translate(parsed, { source, destination: port, hop: ethernet, hops: 1 }));
    expect(out.slice(0, length)).toEqual(slow);
  });

  it.each(captures.valid.filter(({ hex }) => raw(hex).kind === Kind.error))('$name: translated alike', ({ hex }) => {
    const packet = raw(hex);
    const quote = new RawQuote();
    expect(quote.read(packet)).toBe(true);
    const change = changeOf(packet.six);
    const { source, destination } = ends(packet.six);
    for (const port of quote.echo ? [source.port] : [destination.port]) {
      const length = translateErrorRaw(packet, quote, { ...change, dport: port }, 1, out);
      const parsed = parseFrame(bytesOf(hex));
      const { transport } = parsed;
      if (transport.kind !== 'error') throw new Error('no error');
      const quoted = { source: { ...destination, port }, destination: source };
      const fromEndpoint = parseIpHeader(transport.quote).ip.destination === parsed.ip.source;
      const outer = { source: fromEndpoint ? source.address : undefined, destination: destination.address };
      expect(out.slice(0, length)).toEqual(buildFrame(translateError(parsed, { ...outer, quoted, hops: 1 })));
    }
  });

  it.each(captures.tunnels)('$name', ({ name, inner, outer }) => {
    const { source, destination } = ends(name.includes('in IPv6'));
    const macs = Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1);
    const tunnel = { source: ipBytes(source.address), destination: ipBytes(destination.address), macs };
    const length = encapsulateRaw(raw(inner), tunnel, 0x7777, out);
    expect(Buffer.from(out.subarray(0, length)).toString('hex')).toBe(outer);
  });

  it('parts of a packet are known as such', () => {
    for (const { parts } of captures.fragments) {
      const kinds = parts.map((part) => raw(part).part);
      expect(kinds).toEqual([Part.first, Part.later, Part.later]);
    }
  });
});

describe('tunnels and fragments', () => {
  it.each(captures.tunnels)('$name', ({ name, inner, outer }) => {
    const six = name.includes('in IPv6');
    const ends = six
      ? { source: '2001:db8:9::1', destination: '2001:db8:9::9' }
      : { source: '10.9.9.1', destination: '10.9.9.9' };
    const tunnel = { ...ends, hop: ethernet, identification: 0x7777 };
    const hex = Buffer.from(buildFrame(encapsulate(parseFrame(bytesOf(inner)), tunnel))).toString('hex');
    expect(hex).toBe(outer);
  });

  it.each(captures.fragments)('$name', ({ name, whole, parts }) => {
    const identification = name.includes('4') ? 0xbeef : 0x12345678;
    const cut = fragment(parseFrame(bytesOf(whole)), 320, identification).map(buildFrame);
    expect(cut.map((part) => Buffer.from(part).toString('hex'))).toEqual(parts);
  });

  it.each([
    [1, 65_535, 16],
    [1, 65_534, 30],
    [80, 80, 1],
    [0, 65_535, 1],
    [5201, 5300, 9],
    [8080, 8081, 1],
  ])('ports %d to %d are %d blocks', (first, last, count) => {
    const blocks = alignedBlocks(first, last);
    expect(blocks.length).toBe(count);
    const ports = blocks.flatMap(({ first: at, bits }) => Array.from({ length: 2 ** (16 - bits) }, (_, i) => at + i));
    expect(ports).toEqual(Array.from({ length: last - first + 1 }, (_, i) => first + i));
    for (const { first: at, bits } of blocks) expect(at % 2 ** (16 - bits)).toBe(0);
  });
});

describe('addresses', () => {
  it.each([
    '10.1.2.3',
    '::',
    '::1',
    '2001:db8::1',
    '2001:db8:0:1:1:1:1:1',
    'fe80::1:0:0:1',
    '1::',
    '1:0:2::3',
    '10:0:100::',
  ])('%s survives bytes and back', (address) => {
    expect(ipText(ipBytes(address))).toBe(address);
  });
});

describe('checksums', () => {
  it('sums the example of RFC 1071, section 3', () => {
    expect(onesSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0xddf2);
    expect(onesSum(Uint8Array.of(0x12))).toBe(0x1200);
  });

  it('adjusts to what a sum from scratch gives, also at the example of RFC 1624', () => {
    expect(adjustChecksum(0xdd2f, Uint8Array.of(0x55, 0x55), Uint8Array.of(0x32, 0x85))).toBe(0x0000);
    const before = Uint8Array.from({ length: 64 }, (_, i) => (i * 37) % 256);
    const after = before.slice();
    after.set([0xff, 0xff, 0, 0], 8);
    const adjusted = adjustChecksum(internetChecksum(before), before.subarray(8, 12), after.subarray(8, 12));
    expect(adjusted).toBe(internetChecksum(after));
  });
});

describe('expectations', () => {
  const change = {
    source: { address: '10.9.9.1', port: 7 },
    destination: { address: '10.9.9.9', port: 8080 },
    hop: { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' },
    hops: 1,
  };

  it('a translated packet differs in addresses, ports, TTL, MACs and checksums only', () => {
    const frame = capture('tcp data, odd length, v4');
    const out = buildFrame(translate(parseFrame(frame), change));
    const changed = Array.from(frame.keys()).filter((i) => frame[i] !== out[i]);
    const ranges = { macs: [0, 12], ttl: [22, 1], ipSum: [24, 2], addresses: [26, 8], ports: [34, 4], tcpSum: [50, 2] };
    const allowed = Object.values(ranges).flatMap(([at = 0, size]) =>
      Array.from({ length: size ?? 0 }, (_, i) => at + i),
    );
    expect(changed.filter((at) => !allowed.includes(at))).toEqual([]);
    expect(parseFrame(out)).toMatchObject({
      ethernet: change.hop,
      ip: { source: '10.9.9.1', destination: '10.9.9.9', ttl: 60 },
      transport: { sourcePort: 7, destinationPort: 8080 },
    });
  });

  it.each(['fragmentation needed, v4', 'packet too big, v6'])('a translated quotation is valid itself: %s', (name) => {
    const packet = parseFrame(capture(name));
    const six = packet.ip.version === 6;
    const peer = { address: six ? '2001:db8:9::9' : '10.9.9.9', port: 8080 };
    const out = translateError(packet, { source: peer.address, quoted: { source: peer }, hops: 1 });
    const transport = parseFrame(buildFrame(out)).transport;
    if (transport.kind !== 'error') throw new Error('no longer an error');
    if (six) {
      const quoted = parseIp(transport.quote);
      expect(quoted.ip.source).toBe(peer.address);
      expect(quoted.transport).toMatchObject({ kind: 'udp', sourcePort: 8080, destinationPort: 5353 });
    } else {
      expect(internetChecksum(transport.quote.subarray(0, 20))).toBe(0);
    }
  });

  it('a quotation of a whole datagram keeps a right checksum, one without checksum none', () => {
    const quoted = ipHeader({ source: '20.20.20.1', destination: '10.1.2.3' });
    for (const unsummed of [true, false]) {
      const quote = buildIp(quoted, udp({ sourcePort: 53, destinationPort: 5353, unsummed }));
      const error = { kind: 'error', type: 3, code: 4, rest: 1400, quote } as const;
      const packet: Packet = { ethernet, ip: ipHeader(v4), transport: error, trailer: NO_BYTES };
      const out = translateError(packet, { quoted: { source: { address: '10.9.9.9', port: 8080 } } });
      const inner = out.transport.kind === 'error' ? parseIp(out.transport.quote) : undefined;
      expect(inner?.transport).toMatchObject({ kind: 'udp', sourcePort: 8080, unsummed });
    }
  });
});
