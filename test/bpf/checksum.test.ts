/** Checksums are carried over, not made anew: whatever was right stays right, whatever was wrong stays wrong. */
import { describe, expect, it } from 'vitest';
import { addPlainService } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE } from './network.js';
import { ipBytes } from './reference/address.js';
import { buildFrame } from './reference/build.js';
import { onesSum, pseudoHeader } from './reference/checksum.js';
import { echo, joinBytes, type Packet, TCP, type Transport, tcp, udp } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import { translate } from './reference/translate.js';
import {
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  type Protocol,
  packetFrom,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };

function withPayload(protocol: Protocol, payload: Uint8Array): Transport {
  switch (protocol) {
    case 'tcp':
      return tcp({ ...ports, flags: TCP.syn, payload });
    case 'udp':
      return udp({ ...ports, payload });
    case 'icmp':
      return echo({ identifier: CLIENT_PORT, payload });
  }
}

/** Where the checksum is in the frame. */
function checksumAt(family: 4 | 6, protocol: Protocol): number {
  return 14 + (family === 4 ? 20 : 40) + { tcp: 16, udp: 6, icmp: 2 }[protocol];
}

describePath('checksums', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const at = checksumAt(family, protocol);
    const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    const word = (frame: Uint8Array): number => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);

    it.each([
      ['default', undefined],
      ['onearm', self],
    ])('every length from 0 to 80, random bytes, %s', (_mode, source) => {
      addPlainService(bench(), family, protocol, source === undefined ? {} : { source });
      const random = seeded(family * 100 + at);
      const seen = source === undefined ? {} : { source: { address: source, port: CLIENT_PORT } };
      for (let length = 0; length <= 80; length++) {
        const packet = packetFrom(client, vip, withPayload(protocol, randomBytes(random, length)));
        expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, { ...change, ...seen }));
      }
    });

    it.each([
      ['all zero', 0],
      ['all ones', 255],
    ])('payload of %s', (_name, byte) => {
      addPlainService(bench(), family, protocol);
      const packet = packetFrom(client, vip, withPayload(protocol, new Uint8Array(333).fill(byte)));
      expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
    });

    it('a sum that comes out as zero is written as its protocol wants', () => {
      addPlainService(bench(), family, protocol);
      const zeroed = packetFrom(client, vip, withPayload(protocol, new Uint8Array(2)));
      const missing = word(buildFrame(translate(zeroed, change)));
      const payload = Uint8Array.of(missing >> 8, missing & 255);
      const packet = packetFrom(client, vip, withPayload(protocol, payload));
      const result = bench().receive(packet, CLIENT_SIDE);
      expectForwarded(result, translate(packet, change));
      expect(word(result.frame)).toBe(protocol === 'udp' ? 0xffff : 0);
    });

    it('a sum that arrives as zero does too', () => {
      addPlainService(bench(), family, protocol);
      const missing = word(buildFrame(packetFrom(client, vip, withPayload(protocol, new Uint8Array(2)))));
      const packet = packetFrom(client, vip, withPayload(protocol, Uint8Array.of(missing >> 8, missing & 255)));
      expect(word(buildFrame(packet))).toBe(protocol === 'udp' ? 0xffff : 0);
      expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
    });

    it('a wrong sum is not made right', () => {
      addPlainService(bench(), family, protocol);
      const frame = buildFrame(packetFrom(client, vip, withPayload(protocol, new Uint8Array(20).fill(7))));
      frame.set([(frame[at + 1] ?? 0) ^ 0x55], at + 1);
      const result = bench().path.ingress(frame, { ifindex: bench().network.ifindex(CLIENT_SIDE) });
      if (result.verdict === VERDICT.redirect) expect(() => parseFrame(result.frame)).toThrow('checksum');
      const error = residue(frame, family, protocol);
      expect(residue(result.frame, family, protocol)).toBe(error);
    });
  });

  it('UDP without a checksum stays without, IPv4', () => {
    const { vip, client, endpoint } = scene(4);
    addPlainService(bench(), 4, 'udp');
    const server = endpoint(0);
    const packet = packetFrom(client, vip, udp({ ...ports, unsummed: true }));
    const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    for (let round = 0; round < 3; round++) {
      expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
    }
    const reply = packetFrom(
      server,
      client.address,
      udp({ sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT, unsummed: true }),
    );
    const back = { source: { address: vip, port: SERVICE_PORT }, hop: departure(client), hops: 1 };
    expectForwarded(bench().receive(reply, server.device), translate(reply, back));
  });

  it('the header sum is right for every TTL and many identifications, IPv4', () => {
    const { vip, client, endpoint } = scene(4);
    addPlainService(bench(), 4, 'udp');
    const server = endpoint(0);
    const change = { destination: { address: server.address, port: ENDPOINT_PORT }, hop: departure(server), hops: 1 };
    for (let ttl = 2; ttl < 256; ttl++) {
      const plain = packetFrom(client, vip, udp(ports), { ttl });
      const packet: Packet = { ...plain, ip: { ...plain.ip, identification: (ttl * 257) & 0xffff } as Packet['ip'] };
      expectForwarded(bench().receive(packet, CLIENT_SIDE), translate(packet, change));
    }
  });
});

/** What sums up besides 0xffff: equal before and after when nothing but the sum's own error is carried over. */
function residue(frame: Uint8Array, family: 4 | 6, protocol: Protocol): number {
  const headerLength = family === 4 ? 20 : 40;
  const segment = frame.subarray(14 + headerLength);
  if (protocol === 'icmp' && family === 4) return onesSum(segment);
  const addressAt = family === 4 ? 26 : 22;
  const size = ipBytes(scene(family).vip).length;
  const source = frame.subarray(addressAt, addressAt + size);
  const destination = frame.subarray(addressAt + size, addressAt + 2 * size);
  const number = { tcp: 6, udp: 17, icmp: 58 }[protocol];
  return onesSum(joinBytes(pseudoHeader(source, destination, number, segment.length), segment));
}
