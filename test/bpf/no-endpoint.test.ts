/** A service whose endpoints are all inactive refuses at once, instead of leaving its clients to wait. */
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { joinBytes, type Packet, TCP, TCP_OPTION, text } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import {
  describePath,
  EVERY_KIND,
  expectUntouched,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const inactive = { active: false };

describePath('no active endpoint', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client, endpoint } = scene(family);
    const turnedRound = { source: CLIENT_SIDE.mac, destination: client.mac };
    const refuse = (packet: Packet): Packet => {
      const result = bench().receive(packet, CLIENT_SIDE);
      expect(result.verdict).toBe(VERDICT.redirect);
      expect(bench().path.counters()).toEqual({ DROP_NO_ENDPOINT: 1 });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
      return parseFrame(result.frame);
    };
    const add = (protocol: 'tcp' | 'udp' | 'icmp') => {
      const endpoints = [0, 1].map((index) => ({ address: endpoint(index).address, ...inactive }));
      addPlainService(bench(), family, protocol, {}, { endpoints });
    };

    it.each([
      ['a plain SYN', {}, 1],
      ['with options', { options: joinBytes(TCP_OPTION.mss(1460), TCP_OPTION.timestamps(7, 0)) }, 1],
      ['with data, as with TCP Fast Open', { payload: text('hello') }, 6],
      ['with an odd sequence number', { sequence: 0xffffffff }, 1],
      ['that offers ECN', { flags: TCP.syn | TCP.ece | TCP.cwr }, 1],
      ['that came from far', { ttl: 7 }, 1],
    ])('TCP is reset: %s', (_name, { ttl = 64, ...fields }: { ttl?: number } & Record<string, unknown>, length) => {
      add('tcp');
      const transport = opening('tcp', 40_000, SERVICE_PORT, fields);
      const answer = refuse(packetFrom(client, vip, transport, { ttl }));
      const sequence = transport.kind === 'tcp' ? transport.sequence : 0;
      expect(answer.ethernet).toEqual(turnedRound);
      expect(answer.ip).toMatchObject({ source: vip, destination: client.address });
      expect(answer.ip.ttl).toBeGreaterThanOrEqual(64);
      // RFC 9293 3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
      const acknowledgment = (sequence + length) >>> 0;
      const expected = { sourcePort: SERVICE_PORT, destinationPort: 40_000, sequence: 0, acknowledgment };
      expect(answer.transport).toMatchObject({ kind: 'tcp', flags: TCP.rst | TCP.ack, ...expected });
    });

    it.each(['udp', 'icmp'] as const)('%s gets ICMP unreachable with the packet quoted', (protocol) => {
      add(protocol);
      const packet = packetFrom(client, vip, opening(protocol, 40_000, SERVICE_PORT));
      const answer = refuse(packet);
      expect(answer.ethernet).toEqual(turnedRound);
      expect(answer.ip).toMatchObject({ source: vip, destination: client.address });
      if (answer.transport.kind !== 'error') throw new Error('not an ICMP error');
      const portUnreachable = family === 4 ? { type: 3, code: 3 } : { type: 1, code: 4 };
      expect(answer.transport).toMatchObject({ ...portUnreachable, rest: 0 });
      const { quote } = answer.transport;
      expect(quote.length).toBeGreaterThanOrEqual((family === 4 ? 20 : 40) + 8);
      expect(quote).toEqual(buildIp(packet.ip, packet.transport).subarray(0, quote.length));
    });

    it('an ACK without a flow goes to the kernel', () => {
      add('tcp');
      const packet = packetFrom(client, vip, opening('tcp', 40_000, SERVICE_PORT, { flags: TCP.ack }));
      expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));
    });
  });

  it.each(EVERY_KIND)('flows that exist go on, IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint } = scene(family);
    addPlainService(bench(), family, protocol);
    const talk = conversation(family, protocol);
    expectConversation(bench(), talk, client, endpoint(0));
    const port = protocol === 'icmp' ? 0 : SERVICE_PORT;
    const key = { addr: vip, port, proto: protocolNumber(family, protocol), mark: 0 };
    bench().path.maps.services.change(key, { slotCount: 0 });
    expectConversation(bench(), talk, client, endpoint(0));
    expect(bench().path.counters().DROP_NO_ENDPOINT).toBeUndefined();
  });
});
