/** Default mode: the destination becomes the endpoint, the source stays, and the answer goes the same way back. */
import { describe, expect, it } from 'vitest';
import { CtNat } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation, expectConversation, servicePort } from './conversation.js';
import { CLIENT_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { describePath, EVERY_KIND, expectUntouched, opening, packetFrom, protocolNumber, scene } from './scenario.js';

describePath('default mode', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint } = scene(family);
    const talk = conversation(family, protocol);
    const number = protocolNumber(family, protocol);

    it('translates request and answer', () => {
      addPlainService(bench(), family, protocol);
      expectConversation(bench(), talk, client, endpoint(0));
      expect(bench().findFlow(number, talk.from, talk.to)).toMatchObject({ nat: CtNat.CT_NAT_DNAT });
    });

    it('keeps the endpoint for the packets that follow, whichever way', () => {
      addPlainService(bench(), family, protocol);
      for (let round = 0; round < 12; round++) expectConversation(bench(), talk, client, endpoint(0));
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
    });

    it('leaves other addresses and ports alone', () => {
      addPlainService(bench(), family, protocol);
      const other = packetFrom(client, family === 4 ? '20.20.20.2' : '2001:db8:20::2', talk.request.transport);
      const wrongPort = packetFrom(client, vip, opening(protocol, 4000, servicePort(protocol) + 1));
      for (const packet of protocol === 'icmp' ? [other] : [other, wrongPort]) {
        expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));
      }
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
      expect(bench().path.counters()).toEqual({});
    });

    it('counts packets and bytes of both directions for the endpoint', () => {
      const [id = 0] = addPlainService(bench(), family, protocol).endpointIds;
      expectConversation(bench(), talk, client, endpoint(0));
      expectConversation(bench(), talk, client, endpoint(0));
      const bytes = 2 * (buildFrame(talk.request).length + buildFrame(talk.reply).length - 28);
      const copies = bench().path.maps.endpointStats.getAll(id) ?? [];
      const total = copies.reduce((sum, copy) => ({
        packets: sum.packets + copy.packets,
        bytes: sum.bytes + copy.bytes,
        flows: sum.flows + copy.flows,
      }));
      expect(total).toEqual({ packets: 4n, bytes: BigInt(bytes), flows: 1n });
    });
  });
});
