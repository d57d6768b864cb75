/** Fullnat mode */
import { describe, expect, it } from 'vitest';
import { CtNat } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { CLIENT_SIDE } from './network.js';
import { describePath, EVERY_KIND, host, MODE, protocolNumber, scene } from './scenario.js';

describePath('fullnat mode', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { client, endpoint, vip: source } = scene(family);
    const talk = conversation(family, protocol, { seenAs: source });
    const number = protocolNumber(family, protocol);
    const add = () => addPlainService(bench(), family, protocol, { source }, { mode: MODE.fullnat });

    it('translates both addresses, there and back', () => {
      add();
      expectConversation(bench(), talk, client, endpoint(0));
      expect(bench().findFlow(number, talk.from, talk.to)).toMatchObject({ nat: CtNat.CT_NAT_FULL });
    });

    it('keeps the translation for the packets that follow', () => {
      add();
      for (let round = 0; round < 12; round++) expectConversation(bench(), talk, client, endpoint(0));
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
      expect(bench().path.counters().EVENT_PORT_TRANSLATED).toBeUndefined();
    });

    it('keeps the clients of one endpoint apart', () => {
      add();
      const others = [11, 12, 13].map((number) => host(CLIENT_SIDE, family, number));
      const talks = others.map((other, index) =>
        conversation(family, protocol, { client: other, clientPort: 50_000 + index, seenAs: source }),
      );
      for (let round = 0; round < 3; round++) {
        others.forEach((other, index) => {
          const one = talks[index];
          if (one) expectConversation(bench(), one, other, endpoint(0));
        });
      }
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(3);
    });
  });
});
