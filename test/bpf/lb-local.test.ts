/** The balancer's own part in it: clients on this machine, endpoints on this machine. */
import { describe, expect, it } from 'vitest';
import { CtFlags } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { ipHeader, NO_BYTES, type Packet, type Transport } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { translate, translateError } from './reference/translate.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  expectPacket,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const NO_MAC = '00:00:00:00:00:00';
const LOOPBACK = { source: NO_MAC, destination: NO_MAC };

function loopbackPacket(source: string, destination: string, transport: Transport): Packet {
  return { ethernet: LOOPBACK, ip: ipHeader({ source, destination }), transport, trailer: NO_BYTES };
}

const onLoopback = (bench: Bench, packet: Packet) =>
  bench.path.ingress(buildFrame(packet), { ifindex: bench.network.ifindex('lo') });

describePath('local ends', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const number = protocolNumber(family, protocol);
    const vipPeer = { address: vip, port: protocol === 'icmp' ? CLIENT_PORT : SERVICE_PORT };
    const serverPeer = { address: server.address, port: ENDPOINT_PORT };

    // A local socket that connects to an address of lo takes that same address as its own.
    it.each([
      ['default', undefined],
      ['onearm', self],
    ])('a process of this machine reaches the service and gets its answer, %s mode', (_mode, source) => {
      addPlainService(bench(), family, protocol, { self, ...(source === undefined ? {} : { source }) });
      const request = loopbackPacket(vip, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
      const reply = packetFrom(server, self, answer(protocol, ENDPOINT_PORT, CLIENT_PORT));
      for (let round = 0; round < 3; round++) {
        const seen = { address: self, port: CLIENT_PORT };
        const out = translate(request, { source: seen, destination: serverPeer, hop: departure(server), hops: 1 });
        expectForwarded(onLoopback(bench(), request), out);
        const result = bench().receive(reply, SERVER_SIDE);
        // lo has the address zero: with any other destination the stack would take the frame for another host's.
        const { ethernet } = parseFrame(result.frame);
        expect(ethernet.destination).toBe(NO_MAC);
        const back = { source: vipPeer, destination: { address: vip, port: CLIENT_PORT }, hop: ethernet };
        expectPacket(result, translate(reply, back));
        expect(result.verdict).toBe(VERDICT.redirect);
      }
      const from = { address: vip, port: CLIENT_PORT };
      const flags = bench().findFlow(number, from, { ...from, port: vipPeer.port })?.flags ?? 0;
      expect(flags & CtFlags.CT_FROM_LOCAL).toBe(CtFlags.CT_FROM_LOCAL);
    });

    it('an endpoint on this machine gets the packet from the kernel, no hop less', () => {
      addPlainService(bench(), family, protocol, {}, { endpoints: [{ address: self }] });
      for (const ttl of [64, 1]) {
        const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT), { ttl });
        const result = bench().receive(request, CLIENT_SIDE);
        expectPacket(result, translate(request, { destination: { address: self, port: ENDPOINT_PORT } }));
        expect(result.verdict).toBe(VERDICT.next);
      }
    });

    it('the answer of an endpoint on this machine is translated on its way out', () => {
      addPlainService(bench(), family, protocol, {}, { endpoints: [{ address: self }] });
      const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
      bench().receive(request, CLIENT_SIDE);
      const made = answer(protocol, ENDPOINT_PORT, CLIENT_PORT);
      const reply: Packet = {
        ethernet: departure(client),
        ip: ipHeader({ source: self, destination: client.address }),
        transport: made,
        trailer: NO_BYTES,
      };
      for (let round = 0; round < 3; round++) {
        const result = bench().path.egress(buildFrame(reply), { ifindex: bench().network.ifindex(CLIENT_SIDE) });
        // The kernel made and routed it: it has its hop and its MACs.
        expectPacket(
          result,
          translate(reply, { source: vipPeer, destination: { address: client.address, port: CLIENT_PORT } }),
        );
        expect([VERDICT.next, VERDICT.redirect]).toContain(result.verdict);
      }
    });

    it('an ICMP error this machine makes about a translated packet is translated on its way out', () => {
      addPlainService(bench(), family, protocol);
      const talk = conversation(family, protocol);
      bench().receive(talk.request, CLIENT_SIDE);
      const kind = family === 4 ? { type: 3, code: 0, rest: 0 } : { type: 1, code: 0, rest: 0 };
      const quote = buildIp(talk.requestOut.ip, talk.requestOut.transport);
      const error: Packet = {
        ethernet: departure(client),
        ip: ipHeader({ source: CLIENT_SIDE.addresses[family === 4 ? 0 : 1], destination: client.address }),
        transport: { kind: 'error', ...kind, quote },
        trailer: NO_BYTES,
      };
      const result = bench().path.egress(buildFrame(error), { ifindex: bench().network.ifindex(CLIENT_SIDE) });
      const quoted = { source: { address: client.address, port: CLIENT_PORT }, destination: vipPeer };
      expectPacket(result, translateError(error, { quoted }));
      expect([VERDICT.next, VERDICT.redirect]).toContain(result.verdict);
    });

    it('what is forwarded is not translated once more on its way out', () => {
      addPlainService(bench(), family, protocol);
      const request = packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT));
      const frame = buildFrame(request);
      const ifindex = bench().network.ifindex(CLIENT_SIDE);
      const passing = bench().path.egressForwarded(frame, { ifindex }, bench().network.ifindex(SERVER_SIDE));
      expect(passing).toEqual({ verdict: VERDICT.next, frame });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });
  });
});
