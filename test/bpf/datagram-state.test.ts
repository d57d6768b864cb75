/** UDP and ICMP have no handshake: packets of both sides, or many of one, make a flow established. */
import { describe, expect, it } from 'vitest';
import { CtIcmpState, CtUdpState } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation } from './conversation.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import { type Bench, describePath, expectForwarded, type Family, type Protocol, protocolNumber } from './scenario.js';

function stateOf(bench: Bench, family: Family, protocol: Protocol): number | undefined {
  const { from, to } = conversation(family, protocol);
  return bench.findFlow(protocolNumber(family, protocol), from, to)?.state;
}

describePath('datagram states', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const request = (protocol: Protocol) => {
      const talk = conversation(family, protocol);
      expectForwarded(bench().receive(talk.request, CLIENT_SIDE), talk.requestOut);
      return stateOf(bench(), family, protocol);
    };
    const reply = (protocol: Protocol) => {
      const talk = conversation(family, protocol);
      expectForwarded(bench().receive(talk.reply, SERVER_SIDE), talk.replyOut);
      return stateOf(bench(), family, protocol);
    };

    it('UDP one way: more than four packets, more than eight', () => {
      addPlainService(bench(), family, 'udp');
      const states = Array.from({ length: 10 }, () => request('udp'));
      const { CT_UDP_CLOSED: closed, CT_UDP_UNI: oneWay, CT_UDP_EST: established } = CtUdpState;
      expect(states).toEqual([...Array(4).fill(closed), ...Array(4).fill(oneWay), established, established]);
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
    });

    it('UDP both ways: at the first answer', () => {
      const [id = 0] = addPlainService(bench(), family, 'udp').endpointIds;
      expect(request('udp')).toBe(CtUdpState.CT_UDP_CLOSED);
      expect(reply('udp')).toBe(CtUdpState.CT_UDP_EST);
      expect(request('udp')).toBe(CtUdpState.CT_UDP_EST);
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
      expect(bench().path.maps.endpointFlows.need(id)).toMatchObject({ active: 1, pending: 0 });
    });

    it('ICMP echo: request sent, both directions', () => {
      addPlainService(bench(), family, 'icmp');
      expect(request('icmp')).toBe(CtIcmpState.CT_ICMP_REQ_SENT);
      expect(request('icmp')).toBe(CtIcmpState.CT_ICMP_REQ_SENT);
      expect(reply('icmp')).toBe(CtIcmpState.CT_ICMP_BIDIR);
      expect(request('icmp')).toBe(CtIcmpState.CT_ICMP_BIDIR);
    });

    it('counts packets and bytes per direction, lengths of the IP packets', () => {
      addPlainService(bench(), family, 'udp');
      for (let round = 0; round < 3; round++) request('udp');
      reply('udp');
      const talk = conversation(family, 'udp');
      const header = (family === 4 ? 20 : 40) + 8;
      const payload = talk.request.transport.kind === 'udp' ? talk.request.transport.payload.length : 0;
      const forward = bench().findFlow(17, talk.from, talk.to);
      expect(forward).toMatchObject({ packets: 3n, bytes: BigInt(3 * (header + payload)) });
      const server = { address: talk.requestOut.ip.destination, port: 8080 };
      expect(bench().findFlow(17, server, talk.from)).toMatchObject({ packets: 1n });
    });
  });
});

describePath(
  'a full flow table',
  (bench) => {
    it('leaves a new flow where it is, and forwards its packets', () => {
      addPlainService(bench(), 4, 'udp');
      addPlainService(bench(), 6, 'udp');
      for (const family of [4, 6] as const) {
        const talk = conversation(family, 'udp');
        for (let round = 0; round < 4; round++) {
          expectForwarded(bench().receive(talk.request, CLIENT_SIDE), talk.requestOut);
          expectForwarded(bench().receive(talk.reply, SERVER_SIDE), talk.replyOut);
        }
      }
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 2 });
      expect(bench().path.counters()).toMatchObject({
        EVENT_FLOW_CONFIRMED: 1,
        EVENT_FLOW_TABLE_FULL: expect.any(Number),
      });
      bench().path.expire();
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 2 });
    });
  },
  { maxEntries: { ct_flow: 2 } },
);
