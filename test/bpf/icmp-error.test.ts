/**
 * ICMP errors about translated packets: their receiver knows the packet by the addresses it used, so the quotation is
 * translated back, and the error goes to who sent the packet.
 */
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation, expectConversation, servicePort } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, ROUTER, SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { EXTENSION, type Ip, type Packet, type Transport } from './reference/packet.js';
import { type ErrorChange, type Peer, translateError } from './reference/translate.js';
import {
  type Bench,
  CLIENT_PORT,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectPacket,
  expectUntouched,
  type Family,
  type Host,
  host,
  type Protocol,
  packetFrom,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const TOO_BIG = { 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, code: 0, rest: 1400 } } as const;
const UNREACHABLE = { 4: { type: 3, code: 3, rest: 0 }, 6: { type: 1, code: 4, rest: 0 } } as const;
const TIME_EXCEEDED = { 4: { type: 11, code: 0, rest: 0 }, 6: { type: 3, code: 0, rest: 0 } } as const;

/** An error that `from` sends to `to` about a packet; `length` bytes of it are quoted. */
function errorAbout(
  quoted: { readonly ip: Ip; readonly transport: Transport },
  from: Host,
  to: string,
  kind: { type: number; code: number; rest: number },
  length = Number.POSITIVE_INFINITY,
): Packet {
  const quote = buildIp(quoted.ip, quoted.transport).subarray(0, length);
  return packetFrom(from, to, { kind: 'error', ...kind, quote: quote.slice() });
}

/** MACs are the kernel's to write when it sends the packet. */
function expectRelayed(bench: Bench, packet: Packet, from: Host, change: ErrorChange): void {
  const result = bench.receive(packet, from.device);
  expectPacket(result, translateError(packet, { hops: 1, ...change }));
  expect(result.verdict).toBe(VERDICT.redirect);
  expect(bench.path.counters()).toMatchObject({ EVENT_ICMP_RELAYED: 1 });
}

const headerSize = (family: Family): number => (family === 4 ? 20 : 40);

describePath('ICMP errors', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const router = host(SERVER_SIDE, family, ROUTER);
    const clientRouter = host(CLIENT_SIDE, family, 44);
    const clientPeer: Peer = { address: client.address, port: CLIENT_PORT };
    const vipPeer: Peer = { address: vip, port: protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT };
    const serverPeer: Peer = { address: server.address, port: protocol === 'icmp' ? CLIENT_PORT : ENDPOINT_PORT };
    const modes = [
      { mode: 'default', source: undefined },
      { mode: 'onearm', source: self },
      { mode: 'fullnat', source: vip },
    ];

    describe.each(modes)('$mode mode', ({ source }) => {
      const talk = conversation(family, protocol, source === undefined ? {} : { seenAs: source });
      const seen: Peer = { address: source ?? client.address, port: CLIENT_PORT };
      const open = () => {
        addPlainService(bench(), family, protocol, source === undefined ? {} : { source });
        expectConversation(bench(), talk, client, server);
      };
      const toClient = { destination: client.address, quoted: { source: clientPeer, destination: vipPeer } };

      it.each([
        ['all of it', Number.POSITIVE_INFINITY],
        ['eight bytes of its transport header', headerSize(family) + 8],
        ['twenty bytes of its transport header', headerSize(family) + 20],
      ])('a router on the way to the endpoint, quoting %s', (_name, length) => {
        open();
        const error = errorAbout(talk.requestOut, router, seen.address, TOO_BIG[family], length);
        expectRelayed(bench(), error, router, toClient);
      });

      it('the endpoint itself, which is the service to its client', () => {
        open();
        const error = errorAbout(talk.requestOut, server, seen.address, UNREACHABLE[family]);
        expectRelayed(bench(), error, server, { ...toClient, source: vip });
      });

      it('time exceeded behind the balancer', () => {
        open();
        const spent = { ...talk.requestOut, ip: { ...talk.requestOut.ip, ttl: 0 } };
        const error = errorAbout(spent, router, seen.address, TIME_EXCEEDED[family], headerSize(family) + 8);
        expectRelayed(bench(), error, router, toClient);
      });

      it('a router on the way to the client goes to the endpoint', () => {
        open();
        const error = errorAbout(talk.replyOut, clientRouter, vip, TOO_BIG[family], headerSize(family) + 8);
        const quoted = { source: serverPeer, destination: seen };
        expectRelayed(bench(), error, clientRouter, { destination: server.address, quoted });
      });

      it('the client itself is to the endpoint who it takes for its client', () => {
        open();
        const error = errorAbout(talk.replyOut, client, vip, UNREACHABLE[family]);
        const quoted = { source: serverPeer, destination: seen };
        const change = { source: source === undefined ? undefined : seen.address, destination: server.address, quoted };
        expectRelayed(bench(), error, client, change);
      });
    });

    it('the flow does not change by it', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      expectConversation(bench(), talk, client, server);
      const error = errorAbout(talk.requestOut, router, client.address, TOO_BIG[family]);
      for (let round = 0; round < 3; round++) bench().receive(error, SERVER_SIDE);
      expectConversation(bench(), talk, client, server);
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_ICMP_RELAYED: 3 });
    });

    it('one about a packet that is not ours goes to the kernel', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      for (const quoted of [talk.requestOut, talk.replyOut]) {
        const error = errorAbout(quoted, router, client.address, UNREACHABLE[family]);
        expectUntouched(bench().receive(error, SERVER_SIDE), buildFrame(error));
      }
      expect(bench().path.counters()).toEqual({});
    });

    it('one whose quotation is cut short goes to the kernel, at every length', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      expectConversation(bench(), talk, client, server);
      for (let length = 0; length < headerSize(family) + 8; length++) {
        const error = errorAbout(talk.requestOut, router, client.address, TOO_BIG[family], length);
        expectUntouched(bench().receive(error, SERVER_SIDE), buildFrame(error));
      }
    });

    it('a quote that ends in the middle of its headers goes to the kernel, whatever pads the frame', () => {
      addPlainService(bench(), family, protocol);
      const { request, requestOut } = conversation(family, protocol);
      bench().receive(request, client.device);
      const { ip, transport } = requestOut;
      const whole = buildIp(ip, transport);
      for (let length = 0; length < headerSize(family) + 8; length++) {
        const trailer = whole.slice(length);
        const packet = { ...errorAbout(requestOut, router, client.address, TOO_BIG[family], length), trailer };
        expectUntouched(bench().receive(packet, SERVER_SIDE), buildFrame(packet));
      }
    });

    it('padding behind the quote stays as it is', () => {
      addPlainService(bench(), family, protocol);
      const { request, requestOut } = conversation(family, protocol);
      bench().receive(request, client.device);
      const { ip, transport } = requestOut;
      const whole = buildIp(ip, transport);
      for (let length = headerSize(family) + 8; length < whole.length; length += 2) {
        const trailer = whole.slice(length);
        const packet = { ...errorAbout(requestOut, router, client.address, TOO_BIG[family], length), trailer };
        const change = { destination: client.address, quoted: { source: clientPeer, destination: vipPeer }, hops: 1 };
        expectPacket(bench().receive(packet, SERVER_SIDE), translateError(packet, change));
      }
    });

    it('one with a spent TTL goes no further, and nobody is told', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      expectConversation(bench(), talk, client, server);
      const error = errorAbout(talk.requestOut, router, client.address, TOO_BIG[family]);
      const spent: Packet = { ...error, ip: { ...error.ip, ttl: 1 } };
      const { verdict } = bench().receive(spent, SERVER_SIDE);
      expect([VERDICT.drop, VERDICT.next]).toContain(verdict);
    });
  });

  it('a quoted datagram without a checksum stays without, IPv4', () => {
    const { vip, client } = scene(4);
    addPlainService(bench(), 4, 'udp');
    const talk = conversation(4, 'udp');
    const unsummed = (packet: Packet): Packet => ({
      ...packet,
      transport: { ...packet.transport, unsummed: true } as Transport,
    });
    bench().receive(unsummed(talk.request), CLIENT_SIDE);
    const router = host(SERVER_SIDE, 4, ROUTER);
    const error = errorAbout(unsummed(talk.requestOut), router, client.address, TOO_BIG[4]);
    const quoted = {
      source: { address: client.address, port: CLIENT_PORT },
      destination: { address: vip, port: SERVICE_PORT },
    };
    expectRelayed(bench(), error, router, { destination: client.address, quoted });
  });

  it.each([
    [4, 'tcp'],
    [4, 'udp'],
    [6, 'tcp'],
    [6, 'udp'],
  ] as const)(
    'a quoted packet with IP options or extension headers is translated like any other, IPv%d %s',
    (family, protocol) => {
      const { vip, client } = scene(family);
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      const withOptions = (packet: Packet): Packet => ({ ...packet, ip: addOptions(packet.ip) });
      const opened = bench().receive(withOptions(talk.request), CLIENT_SIDE);
      expectPacket(opened, withOptions(talk.requestOut));
      const router = host(SERVER_SIDE, family, ROUTER);
      const error = errorAbout(withOptions(talk.requestOut), router, client.address, TOO_BIG[family]);
      const quoted = {
        source: { address: client.address, port: CLIENT_PORT },
        destination: { address: vip, port: servicePort(protocol) },
      };
      expectRelayed(bench(), error, router, { destination: client.address, quoted });
    },
  );

  it.each([4, 6] as const)('an error about an error is nobody of ours, IPv%d', (family) => {
    const { client } = scene(family);
    const protocol: Protocol = 'udp';
    addPlainService(bench(), family, protocol);
    const talk = conversation(family, protocol);
    bench().receive(talk.request, CLIENT_SIDE);
    const router = host(SERVER_SIDE, family, ROUTER);
    const inner = errorAbout(talk.requestOut, router, client.address, TOO_BIG[family]);
    const outer = errorAbout(inner, router, client.address, UNREACHABLE[family]);
    expectUntouched(bench().receive(outer, SERVER_SIDE), buildFrame(outer));
  });
});

function addOptions(ip: Ip): Ip {
  // Router alert (RFC 2113), and destination options with padding.
  if (ip.version === 4) return { ...ip, options: Uint8Array.of(0x94, 4, 0, 0) };
  return { ...ip, extensions: [{ type: EXTENSION.destination, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }] };
}
