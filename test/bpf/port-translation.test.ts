/** Two flows that would look alike to the endpoint: the later one gets another source port, none is dropped. */
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation, expectConversation, servicePort } from './conversation.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import type { Packet, Transport } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { translate } from './reference/translate.js';
import {
  answer,
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  expectForwarded,
  host,
  MODE,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

function sourcePort(transport: Transport): number {
  if (transport.kind === 'echo') return transport.identifier;
  if (transport.kind === 'tcp' || transport.kind === 'udp') return transport.sourcePort;
  throw new Error(`a ${transport.kind} has no source port`);
}

describePath('source ports', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);

    it.each([
      ['onearm', self],
      ['fullnat', vip],
    ] as const)('twenty clients with one source port all get through, %s', (mode, source) => {
      addPlainService(bench(), family, protocol, { source }, { mode: MODE[mode] });
      const clients = Array.from({ length: 20 }, (_, index) => host(CLIENT_SIDE, family, 10 + index));
      const ports = clients.map((from) => {
        const { request } = conversation(family, protocol, { client: from, seenAs: source });
        const result = bench().receive(request, CLIENT_SIDE);
        expect(result.verdict).toBe(VERDICT.redirect);
        return sourcePort(parseFrame(result.frame).transport);
      });
      expect(ports[0]).toBe(CLIENT_PORT);
      expect(new Set(ports).size).toBe(clients.length);
      expect(Math.min(...ports)).toBeGreaterThanOrEqual(1024);
      expect(bench().path.counters()).toMatchObject({ EVENT_PORT_TRANSLATED: 19, EVENT_FLOW_CREATED: 20 });
      clients.forEach((from, index) => {
        const talk = conversation(family, protocol, { client: from, seenAs: source, seenPort: ports[index] ?? 0 });
        for (let round = 0; round < 2; round++) expectConversation(bench(), talk, from, server);
      });
    });

    it('one client port through two services to one endpoint, source kept', () => {
      const other = family === 4 ? '20.20.20.9' : '2001:db8:20::9';
      const number = protocolNumber(family, protocol);
      const endpoints = [{ address: server.address }];
      for (const address of [vip, other]) {
        bench().addService({ address, port: servicePort(protocol), protocol: number, endpoints });
      }
      const first = conversation(family, protocol);
      expectConversation(bench(), first, client, server);
      const request: Packet = packetFrom(client, other, first.request.transport);
      const result = bench().receive(request, CLIENT_SIDE);
      const port = sourcePort(parseFrame(result.frame).transport);
      expect(port).not.toBe(CLIENT_PORT);
      const source = { address: client.address, port };
      const destination = { address: server.address, port: ENDPOINT_PORT };
      expectForwarded(result, translate(request, { source, destination, hop: departure(server), hops: 1 }));
      const reply = packetFrom(server, client.address, answer(protocol, ENDPOINT_PORT, port));
      const back = {
        source: { address: other, port: SERVICE_PORT },
        destination: { address: client.address, port: CLIENT_PORT },
      };
      expectForwarded(
        bench().receive(reply, SERVER_SIDE),
        translate(reply, { ...back, hop: departure(client), hops: 1 }),
      );
      expectConversation(bench(), first, client, server);
    });

    it('a port is free again when its flow is gone', () => {
      addPlainService(bench(), family, protocol, { source: self }, { mode: MODE.onearm });
      const { request } = conversation(family, protocol, { seenAs: self });
      bench().receive(request, CLIENT_SIDE);
      bench().forgetFlows();
      const other = conversation(family, protocol, { client: host(CLIENT_SIDE, family, 20), seenAs: self });
      expectForwarded(bench().receive(other.request, CLIENT_SIDE), other.requestOut);
    });
  });
});
