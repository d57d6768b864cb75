/**
 * Echo requests and their answers share tuples: the identifier is all they have. One that goes the other way than the
 * flow of its tuple is of another conversation, which is not for the balancer to translate.
 */
import { describe, expect, it } from 'vitest';
import { CtIcmpState } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { echo, type Packet } from './reference/packet.js';
import {
  CLIENT_PORT,
  describePath,
  expectUntouched,
  type Host,
  host,
  packetFrom,
  protocolNumber,
  scene,
} from './scenario.js';

const ROUTER_NUMBER = 30;
const UNREACHABLE = { 4: { type: 3, code: 1 }, 6: { type: 1, code: 3 } } as const;

describePath('echo', (bench) => {
  describe.each([4, 6] as const)('IPv%i', (family) => {
    const { vip, client, endpoint, self } = scene(family);
    const server = endpoint(0);
    const number = protocolNumber(family, 'icmp');
    const leavesAlone = (packet: Packet, from: Host) =>
      expectUntouched(bench().receive(packet, from.device), buildFrame(packet));
    const request = echo({ identifier: CLIENT_PORT });
    const answer = echo({ identifier: CLIENT_PORT, reply: true });

    describe.each([
      ['default', undefined],
      ['onearm', self],
      ['fullnat', vip],
    ])('%s mode', (_mode, source) => {
      const talk = conversation(family, 'icmp', source === undefined ? {} : { seenAs: source });
      const seenAs = source ?? client.address;
      const open = () => addPlainService(bench(), family, 'icmp', source === undefined ? {} : { source });

      it("a request of the endpoint with the identifier of a client's is nobody's answer", () => {
        open();
        expectConversation(bench(), talk, client, server);
        leavesAlone(packetFrom(server, seenAs, request), server);
        expectConversation(bench(), talk, client, server);
        expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
      });

      it("an answer of the client to somebody at the service's address is nobody's request", () => {
        open();
        expectConversation(bench(), talk, client, server);
        leavesAlone(packetFrom(client, vip, answer), client);
        expectConversation(bench(), talk, client, server);
        expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
      });

      it('an error about such a request or answer is not about the flow', () => {
        open();
        expectConversation(bench(), talk, client, server);
        const router = host(SERVER_SIDE, family, ROUTER_NUMBER);
        const errorAbout = (quoted: Packet, to: string): Packet => {
          const quote = buildIp(quoted.ip, quoted.transport).slice();
          return packetFrom(router, to, { kind: 'error', ...UNREACHABLE[family], rest: 0, quote });
        };
        const from = (address: string): Host => ({ ...client, address });
        leavesAlone(errorAbout(packetFrom(from(vip), client.address, request), vip), router);
        leavesAlone(errorAbout(packetFrom(from(seenAs), server.address, answer), seenAs), router);
      });
    });

    it('an endpoint that pings itself through the service has an answered flow', () => {
      addPlainService(bench(), family, 'icmp');
      const talk = conversation(family, 'icmp', { client: server, seenAs: vip });
      expectConversation(bench(), talk, server, server);
      expect(bench().findFlow(number, talk.from, talk.to)).toMatchObject({ state: CtIcmpState.CT_ICMP_BIDIR });
    });
  });
});
