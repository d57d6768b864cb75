/** The client is the endpoint itself: it must see the service as its peer, or it would answer itself directly. */
import { describe, expect, it } from 'vitest';
import { CtNat } from '../../plugins/conntrack/layout.gen.js';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { describePath, EVERY_KIND, protocolNumber, scene } from './scenario.js';

describePath('hairpin', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, endpoint, self } = scene(family);
    const server = endpoint(0);
    const talk = conversation(family, protocol, { client: server, seenAs: vip });
    const number = protocolNumber(family, protocol);

    it.each([
      ['default', undefined],
      ['onearm', self],
      ['fullnat', vip],
    ])('the endpoint talks to itself through the service, %s mode', (_mode, source) => {
      addPlainService(bench(), family, protocol, source === undefined ? {} : { source });
      for (let round = 0; round < 3; round++) expectConversation(bench(), talk, server, server);
      expect(bench().findFlow(number, talk.from, talk.to)).toMatchObject({ nat: CtNat.CT_NAT_HAIRPIN });
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
    });
  });
});
