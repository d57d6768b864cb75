/** PROXY protocol: the endpoint's stream is the header and then the client's bytes, and the client notices nothing. */
import { describe, expect, it } from 'vitest';
import { LbServiceFlags } from '../../plugins/lb/layout.gen.js';
import { VERDICT } from './harness.js';
import { ROUTER, SERVER_SIDE } from './network.js';
import { expectCounters, ProxyFlow } from './proxy-flow.js';
import { buildIp } from './reference/build.js';
import {
  joinBytes,
  NO_BYTES,
  type Packet,
  PROTOCOL,
  TCP,
  TCP_OPTION,
  type Transport,
  text,
} from './reference/packet.js';
import { padded, sackOption, shiftedOptions } from './reference/proxy.js';
import { randomBytes, seeded } from './reference/random.js';
import { translate } from './reference/translate.js';
import {
  CLIENT_PORT,
  describePath,
  expectForwarded,
  expectPacket,
  host,
  opening,
  packetFrom,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const RESET = TCP.rst;
const FINISH = TCP.fin | TCP.ack;
const STAMPS = TCP_OPTION.timestamps(0x01020304, 0xfefdfcfb);
const STAMPS_BACK = TCP_OPTION.timestamps(0xfefdfcfb, 0x01020304);

const KINDS = ([4, 6] as const).flatMap((family) =>
  [false, true].map((full) => ({ family, mode: full ? 'fullnat' : 'default', full })),
);

describePath('PROXY protocol', (bench) => {
  describe.each(KINDS)('IPv$family, $mode', ({ family, full }) => {
    /** The first sequence numbers wrap around in the middle of the header. */
    const start = (): ProxyFlow =>
      new ProxyFlow(bench(), family, { isn: 0xffff_fff8, ...(full ? { seenAs: scene(family).self } : {}) });

    it('the header goes with the acknowledgment that ends the handshake', () => {
      const flow = start();
      flow.open();
      expectCounters(bench(), { EVENT_PPV2_SENT: 1 });
    });

    it.each([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40])('behind %d bytes of options', (length) => {
      const flow = start();
      flow.begin();
      flow.expectHeader({ options: randomBytes(seeded(length), length) });
    });

    it("in the place of Ethernet's padding", () => {
      const flow = start();
      flow.begin();
      const packet: Packet = { ...flow.client(), trailer: randomBytes(seeded(1), 6) };
      const out = flow.clientOut(packet, { flags: TCP.ack | TCP.psh, payload: flow.header });
      expectForwarded(flow.fromClient(packet), out);
    });

    it('what follows moves behind it, and answers move back', () => {
      const flow = start();
      const { first, size, answerFirst } = flow;
      const payload = text('GET / HTTP/1.1\r\n\r\n');
      const options = STAMPS;
      flow.open();
      flow.expectClient({ payload, options }, { sequence: first + size });
      const acked = first + size + payload.length;
      flow.expectAnswer({ acknowledgment: acked, options }, { acknowledgment: acked - size });
      const more = first + payload.length;
      flow.expectClient({ sequence: more, payload }, { sequence: more + size });
      const answer = { payload: randomBytes(seeded(2), 333), acknowledgment: more + size };
      flow.expectAnswer(answer, { acknowledgment: more });
      // Acknowledgments and selective ones of the client are about the endpoint's numbers.
      const sack = padded(sackOption([answerFirst + 700, answerFirst + 900]), 2);
      const read = { sequence: more, acknowledgment: answerFirst + 333, options: sack };
      flow.expectClient(read, { sequence: more + size });
      expectCounters(bench(), { EVENT_PPV2_SENT: 1 });
    });

    it('super-packets move as a whole', () => {
      const flow = start();
      flow.open();
      const payload = randomBytes(seeded(3), 2800);
      flow.expectClient({ payload }, { sequence: flow.first + flow.size }, { gsoSize: 1400 });
      const acknowledgment = flow.first + flow.size;
      flow.expectAnswer({ payload, acknowledgment }, { acknowledgment: flow.first }, { gsoSize: 1400 });
    });

    it('an answer inside the header acknowledges nothing of the client', () => {
      const flow = start();
      flow.open();
      const payload = text('220 hello');
      for (const part of [0, 1, flow.size - 1, flow.size]) {
        const acknowledgment = flow.first + part;
        flow.expectAnswer({ acknowledgment, payload }, { acknowledgment: flow.first });
      }
      flow.expectAnswer({ acknowledgment: flow.first + flow.size + 1 }, { acknowledgment: flow.first + 1 });
    });

    it('urgent, congestion and other flags stay', () => {
      const flow = start();
      flow.open();
      const fields = { flags: 0xf8, urgent: 3, payload: text('abcdef'), window: 1 };
      flow.expectClient(fields, { sequence: flow.first + flow.size });
    });

    it('half close, close', () => {
      const flow = start();
      const { first, size, answerFirst } = flow;
      flow.openAcknowledged();
      flow.expectClient({ flags: FINISH }, { sequence: first + size });
      flow.expectAnswer({ acknowledgment: first + size + 1 }, { acknowledgment: first + 1 });
      flow.expectAnswer({ flags: FINISH, acknowledgment: first + size + 1 }, { acknowledgment: first + 1 });
      const last = { sequence: first + 1, acknowledgment: answerFirst + 1 };
      flow.expectClient(last, { sequence: first + 1 + size });
    });

    it('an empty connection: the client closes with its first segment', () => {
      const flow = start();
      flow.begin();
      const packet = flow.client({ flags: FINISH, options: STAMPS });
      expectForwarded(flow.fromClient(packet), flow.madeOf(packet, joinBytes(Uint8Array.of(1, 1), STAMPS.slice(2))));
      expectForwarded(flow.fromClient(packet), flow.clientOut(packet, { sequence: flow.first + flow.size }));
    });

    describe('selective acknowledgments', () => {
      const blocks = (flow: ProxyFlow, count: number) =>
        Array.from({ length: count }, (_, i): [number, number] => [
          flow.first + 1000 * (i + 1),
          flow.first + 1000 * i + 1500,
        ]);
      const shifted = (flow: ProxyFlow, all: readonly (readonly [number, number])[]) =>
        all.map(([left, right]): [number, number] => [left - flow.size, right - flow.size]);

      it('at every place, of every number', () => {
        const flow = start();
        flow.openAcknowledged();
        const random = seeded(5);
        for (let count = 1; count <= 4; count++) {
          for (let before = 0; before + 2 + 8 * count <= 40; before++) {
            const edges = blocks(flow, count);
            const front =
              before >= 10 && random() < 0.5
                ? joinBytes(new Uint8Array(before - 10).fill(1), STAMPS.slice(2))
                : new Uint8Array(before).fill(1);
            const fields = { acknowledgment: flow.first + flow.size, payload: randomBytes(random, before) };
            flow.expectAnswer(
              { ...fields, options: padded(joinBytes(front, sackOption(...edges))) },
              { acknowledgment: flow.first, options: padded(joinBytes(front, sackOption(...shifted(flow, edges)))) },
            );
          }
        }
      });

      it('several options', () => {
        const flow = start();
        flow.openAcknowledged();
        const [one, two] = [blocks(flow, 1), blocks(flow, 2)];
        const numbers = { acknowledgment: flow.first + flow.size };
        flow.expectAnswer(
          { ...numbers, options: padded(joinBytes(sackOption(...one), sackOption(...two)), 1) },
          {
            acknowledgment: flow.first,
            options: padded(joinBytes(sackOption(...shifted(flow, one)), sackOption(...shifted(flow, two))), 1),
          },
        );
      });

      it('while the header is missing they leave something out', () => {
        const flow = start();
        flow.open();
        flow.expectClient({ payload: text('12345678') }, { sequence: flow.first + flow.size });
        const edge = flow.first + flow.size;
        flow.expectAnswer(
          { payload: text('x'), options: padded(sackOption([edge, edge + 8])) },
          { options: padded(sackOption([flow.first + 1, flow.first + 8])) },
        );
      });

      it.each([
        ['a length of zero', Uint8Array.of(5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1)],
        ['a length of one', Uint8Array.of(5, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1)],
        ['no block', Uint8Array.of(5, 2, 1, 1)],
        ['half a block', Uint8Array.of(5, 6, 1, 2, 3, 4, 1, 1)],
        ['a block and a half', Uint8Array.of(1, 5, 14, ...new Uint8Array(12).fill(9), 1)],
        ['a length beyond the header', Uint8Array.of(5, 10, 1, 2, 3, 4, 5, 6)],
        ['one behind the end of options', joinBytes(Uint8Array.of(0, 1), sackOption([1, 2]))],
        ['an option of length zero before it', joinBytes(Uint8Array.of(99, 0), sackOption([1, 2]))],
        ['an option that reaches over it', joinBytes(Uint8Array.of(99, 12), sackOption([1, 2]))],
        ['its kind in the last byte', Uint8Array.of(1, 1, 1, 5)],
        ['only its kind and a length', Uint8Array.of(1, 1, 5, 10)],
      ])('%s is left as it is', (_name, options) => {
        const flow = start();
        flow.openAcknowledged();
        flow.expectAnswer({ acknowledgment: flow.first + flow.size, options }, { acknowledgment: flow.first });
      });

      it('random bytes for options do no harm', () => {
        const flow = start();
        flow.openAcknowledged();
        const random = seeded(7);
        for (let round = 0; round < 300; round++) {
          const options = randomBytes(random, 4 * Math.floor(random() * 11)).map((byte) =>
            byte < 90 ? byte % 11 : byte,
          );
          const packet = flow.answer({ acknowledgment: flow.first + flow.size + round, options });
          const result = flow.fromEndpoint(packet);
          const out = {
            acknowledgment: flow.first + round,
            options: shiftedOptions(options, flow.size, flow.first + round),
          };
          expectForwarded(result, flow.answerOut(packet, out));
        }
      });
    });

    describe('data before the header', () => {
      it('the acknowledgment was lost: the header goes first, the data when it comes by again', () => {
        const flow = start();
        flow.begin();
        const options = joinBytes(STAMPS, padded(sackOption([1, 2])));
        const packet = flow.client({
          payload: randomBytes(seeded(8), 1400),
          options,
          flags: TCP.ack | TCP.psh | TCP.urg,
        });
        const made = flow.madeOf(packet, STAMPS);
        expectForwarded(flow.fromClient(packet), made);
        expectForwarded(flow.fromClient(packet), flow.clientOut(packet, { sequence: flow.first + flow.size }));
        expectCounters(bench(), { EVENT_PPV2_SENT: 1 });
      });

      it('as a super-packet', () => {
        const flow = start();
        flow.begin();
        const packet = flow.client({ payload: randomBytes(seeded(9), 2800) });
        expectForwarded(flow.fromClient(packet, { gsoSize: 1400 }), flow.madeOf(packet));
      });

      it('a single byte, shorter than what it becomes', () => {
        const flow = start();
        flow.begin();
        const packet = flow.client({ payload: Uint8Array.of(7) });
        expectForwarded(flow.fromClient(packet), flow.madeOf(packet));
      });

      it('what is not the beginning just moves', () => {
        const flow = start();
        flow.begin();
        const sequence = flow.first + 1400;
        flow.expectClient({ sequence, payload: text('later') }, { sequence: sequence + flow.size });
        flow.expectHeader();
      });

      it('before the endpoint has answered nothing with data goes through', () => {
        const flow = start();
        flow.expectClient({ flags: TCP.syn, sequence: flow.isn, acknowledgment: 0 }, {});
        expect(flow.fromClient(flow.client({ payload: text('early') })).verdict).toBe(VERDICT.drop);
        expectCounters(bench(), { DROP_PPV2: 1 });
        flow.expectClient({}, {});
      });

      it('data in the SYN is left out: the client sends it again', () => {
        const flow = start();
        const options = joinBytes(
          TCP_OPTION.mss(1460),
          Uint8Array.of(34, 10, 1, 2, 3, 4, 5, 6, 7, 8),
          Uint8Array.of(1, 1),
        );
        const syn = { flags: TCP.syn, sequence: flow.isn, acknowledgment: 0, options };
        for (const length of [1, 2, 1000]) {
          flow.expectClient({ ...syn, payload: randomBytes(seeded(length), length) }, { payload: NO_BYTES });
        }
      });
    });

    describe('the header is lost', () => {
      it('the endpoint repeats its SYN, the client its acknowledgment', () => {
        const flow = start();
        flow.open();
        flow.expectAnswer({ flags: TCP.syn | TCP.ack, sequence: flow.answerIsn }, {});
        flow.expectHeader();
        expectCounters(bench(), { EVENT_PPV2_SENT: 1, EVENT_PPV2_RESENT: 1 });
      });

      it('the client repeats its first bytes', () => {
        const flow = start();
        flow.open();
        const packet = flow.client({ payload: text('hello') });
        flow.expectClient({ payload: text('hello') }, { sequence: flow.first + flow.size });
        expectForwarded(flow.fromClient(packet), flow.madeOf(packet));
        expectForwarded(flow.fromClient(packet), flow.clientOut(packet, { sequence: flow.first + flow.size }));
        expectCounters(bench(), { EVENT_PPV2_SENT: 1, EVENT_PPV2_RESENT: 1 });
      });

      it('the endpoint acknowledges the SYN and no more: its answer becomes the header', async () => {
        const flow = start();
        flow.open();
        flow.expectClient({ payload: text('hello') }, { sequence: flow.first + flow.size });
        const edge = flow.first + flow.size;
        const options = joinBytes(STAMPS, padded(sackOption([edge, edge + 5])));
        const packet = flow.answer({ options, window: 700 });
        const result = flow.fromEndpoint(packet);
        expectPacket(result, flow.returned(packet, STAMPS_BACK));
        expect(result.verdict).toBe(VERDICT.redirect);
        expectCounters(bench(), { EVENT_PPV2_SENT: 1, EVENT_PPV2_RESENT: 1 });
        // The next may have been on its way before that came; unless another moment has just begun.
        const shown = joinBytes(STAMPS, padded(sackOption([flow.first + 1, flow.first + 5])));
        const next = [flow.fromEndpoint(packet), flow.fromEndpoint(packet)];
        // Sent to the client: by its MAC address.
        const forwarded = next.find(({ frame }) => frame[5] !== result.frame[5]) ?? result;
        expect(bench().path.counters().EVENT_PPV2_RESENT).toBeLessThanOrEqual(2);
        expectForwarded(forwarded, flow.answerOut(packet, { options: shown }));
        await new Promise((resolve) => setTimeout(resolve, 80));
        expectPacket(flow.fromEndpoint(packet), flow.returned(packet, STAMPS_BACK));
        flow.expectAnswer({ acknowledgment: edge + 5 }, { acknowledgment: flow.first + 5 });
        flow.expectAnswer({ acknowledgment: edge + 5 }, { acknowledgment: flow.first + 5 });
      });

      it('a keep-alive brings it, and not the byte that may be in it', () => {
        for (const payload of [NO_BYTES, Uint8Array.of(0)]) {
          bench().reset();
          const flow = start();
          flow.open();
          const packet = flow.client({ sequence: flow.isn, payload });
          const out = payload.length
            ? flow.madeOf(packet)
            : flow.clientOut(packet, { sequence: flow.first, flags: TCP.ack | TCP.psh, payload: flow.header });
          expectForwarded(flow.fromClient(packet), out);
        }
      });

      it('with SYN cookies the endpoint refuses the data: this once the client is not told', () => {
        const flow = start();
        flow.open();
        const packet = flow.client({ payload: text('hello') });
        flow.expectClient({ payload: text('hello') }, { sequence: flow.first + flow.size });
        const refusal = flow.answer({ flags: RESET, acknowledgment: 0, window: 0 });
        for (let round = 0; round < 3; round++) expect(flow.fromEndpoint(refusal).verdict).toBe(VERDICT.drop);
        expect(bench().path.counters()).toMatchObject({ DROP_PPV2: 3, EVENT_RST_IGNORED: 3 });
        expectForwarded(flow.fromClient(packet), flow.madeOf(packet));
        flow.expectAnswer({ flags: RESET, acknowledgment: 0, window: 0 }, {});
      });
    });

    describe('no room for it', () => {
      it('goes in when the endpoint has some', () => {
        const flow = start();
        flow.begin({ window: 0 });
        flow.expectClient({}, {});
        flow.expectClient({}, {});
        flow.expectAnswer({ window: 0 }, {});
        flow.expectClient({ sequence: flow.isn }, {});
        const packet = flow.answer({ window: 60_000, options: STAMPS });
        expectPacket(flow.fromEndpoint(packet), flow.returned(packet, STAMPS_BACK));
        expectCounters(bench(), { EVENT_PPV2_SENT: 1 });
        flow.expectAnswer({ acknowledgment: flow.first + flow.size }, { acknowledgment: flow.first });
        flow.expectClient({ payload: text('a') }, { sequence: flow.first + flow.size });
      });

      it('a scaled window counts as what it means', () => {
        const flow = start();
        const options = TCP_OPTION.windowScale(7);
        flow.begin({ window: 0, options }, { options });
        flow.expectClient({}, {});
        const packet = flow.answer({ window: 1 });
        expectPacket(flow.fromEndpoint(packet), flow.returned(packet));
      });
    });

    describe('resets', () => {
      it('of a client that has not sent the header yet', () => {
        const flow = start();
        flow.begin();
        flow.expectClient({ flags: RESET, acknowledgment: 0 }, {});
      });

      it('of a client whose header the endpoint has', () => {
        const flow = start();
        flow.openAcknowledged();
        flow.expectClient({ flags: RESET, acknowledgment: 0 }, { sequence: flow.first + flow.size });
        expect(flow.entry(false).state).toBe(flow.entry(true).state);
      });

      it('when that is not known it comes with both numbers', () => {
        const flow = start();
        flow.open();
        flow.expectClient({ flags: RESET, acknowledgment: 0 }, {});
        // The copy that comes by once more.
        flow.expectClient({ flags: RESET, acknowledgment: 0 }, { sequence: flow.first + flow.size });
      });

      it('of the endpoint', () => {
        const flow = start();
        flow.openAcknowledged();
        const acknowledgment = flow.first + flow.size;
        flow.expectAnswer({ flags: RESET | TCP.ack, acknowledgment }, { acknowledgment: flow.first });
      });

      it('of the endpoint without an acknowledgment', () => {
        const flow = start();
        flow.openAcknowledged();
        flow.expectAnswer({ flags: RESET, acknowledgment: 0 }, {});
      });

      it('of the endpoint instead of its SYN', () => {
        const flow = start();
        flow.expectClient({ flags: TCP.syn, sequence: flow.isn, acknowledgment: 0 }, {});
        flow.expectAnswer({ flags: RESET | TCP.ack, sequence: 0 }, {});
      });
    });

    it('the tuple is used again', () => {
      const flow = start();
      flow.openAcknowledged();
      flow.expectClient({ flags: RESET, acknowledgment: 0 }, { sequence: flow.first + flow.size });
      flow.open();
      expectCounters(bench(), { EVENT_PPV2_SENT: 2 });
    });
  });

  it('a service between families refuses', () => {
    const { vip, client } = scene(6);
    const there = scene(4);
    const flags = LbServiceFlags.LB_SERVICE_PPV2;
    const endpoints = [{ address: there.endpoint(0).address, source: there.self }];
    bench().addService({ address: vip, port: SERVICE_PORT, protocol: PROTOCOL.tcp, flags, endpoints });
    const syn = packetFrom(client, vip, opening('tcp', CLIENT_PORT, SERVICE_PORT));
    expect(bench().receive(syn, client.device).verdict).toBe(VERDICT.drop);
    expectCounters(bench(), { DROP_PPV2: 1 });
    expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
  });

  it('fragments are refused', () => {
    const flow = new ProxyFlow(bench(), 4);
    flow.openAcknowledged();
    const packet = flow.client({ payload: randomBytes(seeded(1), 64) });
    const first: Packet = { ...packet, ip: { ...packet.ip, moreFragments: true } as Packet['ip'] };
    expect(flow.fromClient(first).verdict).toBe(VERDICT.drop);
    expectCounters(bench(), { EVENT_PPV2_SENT: 1, DROP_PPV2: 1 });
  });

  describe.each([4, 6] as const)('ICMP errors, IPv%d', (family) => {
    const { client, vip } = scene(family);
    const router = host(SERVER_SIDE, family, ROUTER);
    const size = family === 4 ? 20 : 40;
    const kind = family === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, code: 0, rest: 1400 };

    it.each([8, 20, 60])('the client finds its own numbers in the %d bytes that are quoted', (length) => {
      const flow = new ProxyFlow(bench(), family);
      flow.openAcknowledged();
      const packet = flow.client({ sequence: flow.first + 100, payload: randomBytes(seeded(4), 1000) });
      const sent = flow.clientOut(packet, { sequence: flow.first + 100 + flow.size });
      const quote = buildIp(sent.ip, sent.transport).slice(0, size + length);
      const error = packetFrom(router, client.address, { kind: 'error', ...kind, quote });
      // What the client sent, but for the hop, and with the checksum of a segment that is not shifted.
      const original = { ...packet, ip: { ...packet.ip, ttl: sent.ip.ttl } };
      const expected = translate(error, { hops: 1 });
      const back = buildIp(original.ip, original.transport).slice(0, size + length);
      const transport: Transport = { kind: 'error', ...kind, quote: back };
      const result = bench().receive(error, SERVER_SIDE);
      expectPacket(result, { ...expected, transport });
      expect(vip).toBe(original.ip.destination);
    });

    it('before the endpoint has the header', () => {
      const flow = new ProxyFlow(bench(), family);
      flow.open();
      for (const [sent, shown] of [
        [0, 0],
        [5, 0],
        [flow.size, 0],
        [flow.size + 7, 7],
      ] as const) {
        const packet = flow.client({ sequence: flow.first + shown });
        const out = flow.clientOut(packet, { sequence: flow.first + sent });
        const quote = buildIp(out.ip, out.transport);
        const error = packetFrom(router, client.address, { kind: 'error', ...kind, quote });
        const original = { ...packet, ip: { ...packet.ip, ttl: out.ip.ttl } };
        const transport: Transport = { kind: 'error', ...kind, quote: buildIp(original.ip, original.transport) };
        expectPacket(bench().receive(error, SERVER_SIDE), { ...translate(error, { hops: 1 }), transport });
      }
    });

    /** Nothing was moved yet, whatever the endpoint counts from. */
    it.each<[string, (flow: ProxyFlow) => void]>([
      ['the endpoint has answered', () => {}],
      ['the client has given up', (flow) => flow.expectClient({ flags: RESET, acknowledgment: 0 }, {})],
      ['the endpoint refuses after all', (flow) => flow.expectAnswer({ flags: RESET, acknowledgment: 0 }, {})],
    ])('about the SYN, when %s', (_name, end) => {
      const flow = new ProxyFlow(bench(), family);
      flow.begin();
      end(flow);
      expectSynQuoted(flow);
    });

    it.each<[string, (flow: ProxyFlow) => void]>([
      ['the client gives up', (flow) => flow.expectClient({ flags: RESET, acknowledgment: 0 }, {})],
      ['the endpoint refuses', (flow) => flow.expectAnswer({ flags: RESET | TCP.ack, sequence: 0 }, {})],
    ])('about the SYN, when %s before any answer', (_name, end) => {
      const flow = new ProxyFlow(bench(), family);
      flow.expectClient({ flags: TCP.syn, sequence: flow.isn, acknowledgment: 0 }, {});
      end(flow);
      expectSynQuoted(flow);
    });

    function expectSynQuoted(flow: ProxyFlow): void {
      const packet = flow.client({ flags: TCP.syn, sequence: flow.isn, acknowledgment: 0 });
      const out = flow.clientOut(packet);
      const quote = buildIp(out.ip, out.transport);
      const error = packetFrom(router, client.address, { kind: 'error', ...kind, quote });
      const original = { ...packet, ip: { ...packet.ip, ttl: out.ip.ttl } };
      const transport: Transport = { kind: 'error', ...kind, quote: buildIp(original.ip, original.transport) };
      expectPacket(bench().receive(error, SERVER_SIDE), { ...translate(error, { hops: 1 }), transport });
    }
  });
});
