import { describe, expect, it } from 'vitest';
import { crc32c, internetChecksum } from './checksums.js';
import type { TraceBody } from './model.js';
import { buildPacket } from './packet.js';
import { describePacket } from './packet-summary.js';

const MACS = { source: Uint8Array.of(2, 0, 0, 0, 0, 1), destination: Uint8Array.of(2, 0, 0, 0, 0, 2) };
const V4: TraceBody = {
  source: '10.0.0.1',
  destination: '20.20.20.1',
  protocol: 'tcp',
  sourcePort: 1000,
  destinationPort: 80,
  interface: 'eth0',
};
const V6 = { ...V4, source: '2001:db8::1', destination: '2001:db8::2' };

function build(body: TraceBody): Uint8Array {
  return buildPacket(body, MACS);
}

/** A receiver adds everything up, checksum included, and gets all ones. */
function holds(body: TraceBody, protocol: number): boolean {
  const frame = build(body);
  const v4 = !body.source.includes(':');
  const addresses = v4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const segment = frame.subarray(v4 ? 34 : 54);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(segment.length, 0);
  pseudo.writeUInt32BE(protocol, 4);
  const header = v4 ? internetChecksum(frame.subarray(14, 34)) : 0;
  const parts = protocol === 1 ? [segment] : [addresses, pseudo, segment];
  return header === 0 && internetChecksum(...parts) === 0;
}

describe('buildPacket', () => {
  it('makes what tcpdump has seen before', () => {
    // Captured: an Ethernet frame with a SYN of 44 bytes from 10.10.10.1:40000 to 20.20.20.1:2020.
    const body = { ...V4, source: '10.10.10.1', sourcePort: 40_000, destinationPort: 2020 };
    expect(Buffer.from(build(body).subarray(12)).toString('hex')).toBe(
      '08004500002c000040004006feac0a0a0a01141414019c4007e4000003e8000000006002faf0b9090000020405b4',
    );
  });

  it.each([
    ['tcp', 6],
    ['udp', 17],
    ['icmp', 1],
  ] as const)('gives IPv4 %s checksums that hold', (protocol, number) => {
    expect(holds({ ...V4, protocol }, number)).toBe(true);
    expect(holds({ ...V4, protocol, size: 501 }, number)).toBe(true);
  });

  it.each([
    ['tcp', 6],
    ['udp', 17],
    ['icmp', 58],
  ] as const)('gives IPv6 %s checksums that hold', (protocol, number) => {
    expect(holds({ ...V6, protocol }, number)).toBe(true);
    expect(holds({ ...V6, protocol, size: 502 }, number)).toBe(true);
  });

  it('gives SCTP its CRC', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    const segment = Uint8Array.from(build({ ...V4, protocol: 'sctp' }).subarray(34));
    const view = new DataView(segment.buffer);
    const crc = view.getUint32(8, true);
    view.setUint32(8, 0);
    expect(crc32c(segment)).toBe(crc);
  });

  it('has the size, flags and time to live that were asked for', () => {
    const packet = describePacket(build({ ...V4, size: 100, ttl: 7, flags: ['fin', 'ack'] }));
    expect(packet.summary).toBe('10.0.0.1:1000 > 20.20.20.1:80 TCP FIN,ACK, 100 bytes, TTL 7');
    expect(packet).toMatchObject({ sourceMac: '02:00:00:00:00:01', destinationMac: '02:00:00:00:00:02' });
  });

  it.each([
    [{ destination: '2001:db8::1' }, 'destination'],
    [{ size: 10 }, 'size'],
    [{ size: 9000 }, 'size'],
  ])('refuses %j', (change, field) => {
    expect(() => build({ ...V4, ...change })).toThrow(expect.objectContaining({ code: 'OBSERVE_PARAMETER', field }));
  });
});

describe('describePacket', () => {
  it.each([
    [{ ...V6, protocol: 'udp' } as const, '[2001:db8::1]:1000 > [2001:db8::2]:80 UDP, 48 bytes, hop limit 64'],
    [
      { ...V4, protocol: 'icmp', sourcePort: 9 } as const,
      '10.0.0.1 > 20.20.20.1 ICMP type 8 code 0 id 9, 28 bytes, TTL 64',
    ],
    [{ ...V4, protocol: 'sctp' } as const, '10.0.0.1:1000 > 20.20.20.1:80 SCTP, 52 bytes, TTL 64'],
  ])('%j', (body, summary) => {
    expect(describePacket(build(body)).summary).toBe(summary);
  });

  it('looks into tunnels', () => {
    const inner = build(V4).subarray(14);
    const outer = Buffer.from(build({ ...V6, protocol: 'udp' }).subarray(0, 54));
    outer.writeUInt8(4, 20);
    outer.writeUInt16BE(inner.length, 18);
    expect(describePacket(Buffer.concat([outer, inner])).summary).toBe(
      '2001:db8::1 > 2001:db8::2 ipip, 84 bytes, hop limit 64 [10.0.0.1:1000 > 20.20.20.1:80 TCP SYN, 44 bytes, TTL 64]',
    );
  });

  it('survives what is cut off anywhere', () => {
    for (const body of [V4, V6, { ...V4, protocol: 'icmp' } as const]) {
      const frame = build(body);
      for (let length = 0; length < frame.length; length++) describePacket(frame.subarray(0, length));
    }
  });
});
