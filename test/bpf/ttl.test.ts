/** The balancer is a router: it takes one hop off what it forwards, and says so when none is left. */
import { describe, expect, it } from 'vitest';
import { addPlainService, conversation, expectConversation } from './conversation.js';
import { VERDICT } from './harness.js';
import { expectErrorAbout } from './icmp-answer.js';
import { SERVER_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import type { Packet } from './reference/packet.js';
import { describePath, EVERY_KIND, expectForwarded, scene } from './scenario.js';

const withTtl = (packet: Packet, ttl: number): Packet => ({ ...packet, ip: { ...packet.ip, ttl } });

describePath('time to live', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { client, endpoint } = scene(family);
    const timeExceeded = family === 4 ? { type: 11, code: 0, rest: 0 } : { type: 3, code: 0, rest: 0 };
    const talk = conversation(family, protocol);

    it.each([255, 128, 2])('%d becomes one less, both ways', (ttl) => {
      addPlainService(bench(), family, protocol);
      const request = bench().receive(withTtl(talk.request, ttl), client.device);
      expectForwarded(request, withTtl(talk.requestOut, ttl - 1));
      const reply = bench().receive(withTtl(talk.reply, ttl), SERVER_SIDE);
      expectForwarded(reply, withTtl(talk.replyOut, ttl - 1));
    });

    it('a first packet with 1 is answered with time exceeded', () => {
      addPlainService(bench(), family, protocol);
      const packet = withTtl(talk.request, 1);
      expectErrorAbout(bench().receive(packet, client.device), packet, timeExceeded);
      expect(bench().path.counters()).toMatchObject({ DROP_TTL_EXCEEDED: 1 });
    });

    it('a later packet with 1 is too, whichever way it goes', () => {
      addPlainService(bench(), family, protocol);
      for (let round = 0; round < 2; round++) {
        expectConversation(bench(), talk, client, endpoint(0));
        const request = withTtl(talk.request, 1);
        expectErrorAbout(bench().receive(request, client.device), request, timeExceeded);
        const reply = withTtl(talk.reply, 1);
        expectErrorAbout(bench().receive(reply, SERVER_SIDE), reply, timeExceeded);
      }
      expect(bench().path.counters()).toMatchObject({ DROP_TTL_EXCEEDED: 4 });
    });

    it('nothing is forwarded that arrives with 0', () => {
      addPlainService(bench(), family, protocol);
      const packet = withTtl(talk.request, 0);
      const result = bench().receive(packet, client.device);
      if (result.verdict !== VERDICT.drop) expectErrorAbout(result, packet, timeExceeded);
    });

    it('does not matter for what is not ours', () => {
      const packet = withTtl(talk.request, 1);
      const result = bench().receive(packet, client.device);
      expect(result).toEqual({ verdict: VERDICT.next, frame: buildFrame(packet) });
    });
  });
});
