/** What `trace` is told: every decision about one packet, in order. Programs that carry packets have none of it. */
import { describe, expect, it } from 'vitest';
import { DpCounter, DpStep, type DpTraceStep, DpXdpFlags, DpXdpStep } from '../../core/dataplane/layout.gen.js';
import {
  CtFlags,
  CtIcmpState,
  CtNat,
  CtSpecial,
  CtTcpState,
  CtUdpState,
  CtWay,
} from '../../plugins/conntrack/layout.gen.js';
import { LbEndpointFlags, LbMode, LbSelect } from '../../plugins/lb/layout.gen.js';
import { addPlainService, conversation } from './conversation.js';
import { addDsrService } from './dsr.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, type Device, NARROW_MTU, NARROW_SIDE, SERVER_SIDE } from './network.js';
import { usesOfMap } from './program-code.js';
import { buildFrame, buildIp } from './reference/build.js';
import { fragment } from './reference/fragment.js';
import { type Packet, TCP, udp } from './reference/packet.js';
import {
  CLIENT_PORT,
  describePath,
  ENDPOINT_PORT,
  host,
  opening,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';
import { knowDevices, runXdp } from './xdp-run.js';

type StepName = keyof typeof DpStep;
type Fact = readonly [step: StepName, a?: number | undefined, b?: number, c?: number, address?: string];

/** enum parse_result. */
const PARSED = { flow: 0, fragment: 1, icmpError: 2, notOurs: 3 };

const NAMES = new Map(Object.entries(DpStep).map(([name, number]) => [number as number, name as StepName]));

/** An address is told where the step has one. */
function fact({ step, a, b, c, addr }: DpTraceStep): Fact {
  const name = NAMES.get(step) ?? 'STEP_NONE';
  return addr === '::' ? [name, a, b, c] : [name, a, b, c, addr];
}

const full = ([step, a = 0, b = 0, c = 0, address]: Fact): Fact =>
  address === undefined ? [step, a, b, c] : [step, a, b, c, address];

describePath(
  'traces',
  (bench) => {
    const run = (packet: Packet, device: Device = CLIENT_SIDE) =>
      bench().path.trace(buildFrame(packet), { ifindex: bench().network.ifindex(device) });
    /** The steps but for the verdict, which every trace ends with. */
    const decisions = (packet: Packet, device?: Device): Fact[] =>
      run(packet, device)
        .steps.map(fact)
        .filter(([step]) => step !== 'STEP_VERDICT');
    const expectSteps = (packet: Packet, expected: readonly Fact[], device?: Device) =>
      expect(decisions(packet, device)).toEqual(expected.map(full));
    const oif = (device: Device) => bench().network.ifindex(device);
    const counted = (reason: keyof typeof DpCounter): Fact => ['STEP_COUNTED', DpCounter[reason]];

    describe.each([4, 6] as const)('IPv%d', (family) => {
      const { vip, client, endpoint, self } = scene(family);
      const server = endpoint(0);
      const plain = (port = SERVICE_PORT, ttl = 64): Packet =>
        packetFrom(client, vip, opening('udp', CLIENT_PORT, port), { ttl });

      it('a first packet: service, endpoint, flow, way', () => {
        const { id, endpointIds } = addPlainService(bench(), family, 'tcp', {}, { select: LbSelect.LB_SELECT_RR });
        expectSteps(conversation(family, 'tcp').request, [
          ['STEP_PARSED', PARSED.flow, 6, TCP.syn, client.address],
          ['STEP_NO_FLOW'],
          ['STEP_SERVICE_FOUND', id, LbMode.LB_MODE_DEFAULT, LbSelect.LB_SELECT_RR],
          ['STEP_ENDPOINT', endpointIds[0], ENDPOINT_PORT, 1, server.address],
          counted('EVENT_FLOW_CREATED'),
          ['STEP_FLOW_OPENED', CtNat.CT_NAT_DNAT, 0, CLIENT_PORT, client.address],
          counted('EVENT_RESOLVED'),
          ['STEP_WAY', CtWay.CT_WAY_REDIRECT, oif(SERVER_SIDE), 1500],
        ]);
      });

      it('a packet of a flow, and its answer', () => {
        const { id } = addPlainService(bench(), family, 'udp', { source: self });
        const { request, reply } = conversation(family, 'udp', { seenAs: self });
        bench().receive(request, CLIENT_SIDE);
        expectSteps(request, [
          ['STEP_PARSED', PARSED.flow, 17, 0, client.address],
          ['STEP_FLOW_FOUND', CtUdpState.CT_UDP_CLOSED, CtFlags.CT_PENDING, id, server.address],
          ['STEP_FLOW_STATE', CtUdpState.CT_UDP_CLOSED, CtUdpState.CT_UDP_CLOSED],
          ['STEP_WAY', CtWay.CT_WAY_REDIRECT, oif(SERVER_SIDE), 1500],
        ]);
        expectSteps(
          reply,
          [
            ['STEP_PARSED', PARSED.flow, 17, 0, server.address],
            ['STEP_FLOW_FOUND', CtUdpState.CT_UDP_CLOSED, CtFlags.CT_PENDING | CtFlags.CT_REPLY, id, client.address],
            counted('EVENT_FLOW_CONFIRMED'),
            ['STEP_FLOW_STATE', CtUdpState.CT_UDP_CLOSED, CtUdpState.CT_UDP_EST],
            counted('EVENT_RESOLVED'),
            ['STEP_WAY', CtWay.CT_WAY_REDIRECT, oif(CLIENT_SIDE), 1500],
          ],
          SERVER_SIDE,
        );
      });

      it('TCP states, before and after', () => {
        addPlainService(bench(), family, 'tcp');
        const { request, reply } = conversation(family, 'tcp');
        const states = (packet: Packet, device: Device) =>
          decisions(packet, device).find(([step]) => step === 'STEP_FLOW_STATE');
        bench().receive(request, CLIENT_SIDE);
        const { CT_TCP_SYN_SENT, CT_TCP_SYN_ACK, CT_TCP_EST, CT_TCP_CLOSED_WAIT } = CtTcpState;
        expect(states(reply, SERVER_SIDE)).toEqual(['STEP_FLOW_STATE', CT_TCP_SYN_SENT, CT_TCP_SYN_ACK, 0]);
        const ask = (flags: number) =>
          packetFrom(
            client,
            vip,
            opening('tcp', CLIENT_PORT, SERVICE_PORT, { flags, sequence: 1001, acknowledgment: 500_001 }),
          );
        expect(states(ask(TCP.ack), CLIENT_SIDE)).toEqual(['STEP_FLOW_STATE', CT_TCP_SYN_ACK, CT_TCP_EST, 0]);
        expect(states(ask(TCP.rst), CLIENT_SIDE)).toEqual(['STEP_FLOW_STATE', CT_TCP_EST, CT_TCP_CLOSED_WAIT, 0]);
      });

      it('no service: the port asked for, and the mark', () => {
        addPlainService(bench(), family, 'udp');
        const packet = plain(SERVICE_PORT + 1);
        const { steps, result } = bench().path.trace(buildFrame(packet), { ifindex: oif(CLIENT_SIDE), mark: 77 });
        expect(steps.map(fact).filter(([step]) => step !== 'STEP_VERDICT')).toEqual(
          (
            [
              ['STEP_PARSED', PARSED.flow, 17, 0, client.address],
              ['STEP_NO_FLOW'],
              ['STEP_NO_SERVICE', SERVICE_PORT + 1, 77],
            ] as const
          ).map(full),
        );
        expect(result.verdict).toBe(VERDICT.next);
      });

      it('a client that is not allowed', () => {
        const { id } = addPlainService(bench(), family, 'udp', {}, { sources: [] });
        expect(decisions(plain()).slice(2)).toEqual(
          (
            [
              ['STEP_SERVICE_FOUND', id, LbMode.LB_MODE_DEFAULT, LbSelect.LB_SELECT_RR],
              ['STEP_SOURCE_REFUSED', id, 0, 0, client.address],
              counted('DROP_SOURCE'),
            ] as const
          ).map(full),
        );
      });

      it('no endpoint, and a packet that cannot begin a flow', () => {
        const empty = addPlainService(bench(), family, 'udp', {}, { slots: [] });
        expect(decisions(plain())).toContainEqual(['STEP_NO_ENDPOINT', empty.id, 0, 0]);
        addPlainService(bench(), family, 'tcp');
        const middle = packetFrom(client, vip, opening('tcp', 1, SERVICE_PORT, { flags: TCP.ack }));
        expect(decisions(middle).map(([step]) => step)).toEqual([
          'STEP_PARSED',
          'STEP_NO_FLOW',
          'STEP_SERVICE_FOUND',
          'STEP_NOT_OPENING',
          'STEP_COUNTED',
        ]);
      });

      it('a spent TTL, a packet too big', () => {
        addPlainService(bench(), family, 'udp', {}, {});
        expect(decisions(plain(SERVICE_PORT, 1))).toContainEqual(['STEP_TTL_SPENT', 1, 0, 0]);
        const narrow = host(NARROW_SIDE, family, 11);
        const address = family === 4 ? '20.20.20.3' : '2001:db8:20::3';
        const endpoints = [{ address: narrow.address }];
        bench().addService({ address, port: SERVICE_PORT, protocol: 17, endpoints });
        const payload = new Uint8Array(1420);
        const big = packetFrom(client, address, udp({ sourcePort: 1, destinationPort: SERVICE_PORT, payload }));
        const length = buildFrame(big).length - 14;
        expect(decisions(big)).toContainEqual(['STEP_TOO_BIG', length, NARROW_MTU, 0]);
      });

      it.each([
        ['to a neighbour', 0, CtSpecial.CT_SPECIAL_DSR],
        [
          'through a tunnel',
          LbEndpointFlags.LB_EP_TUNNEL,
          CtSpecial.CT_SPECIAL_DSR | CtSpecial.CT_SPECIAL_TUNNEL | CtSpecial.CT_SPECIAL_FORCED,
        ],
      ] as const)('DSR %s', (_name, flags, special) => {
        const { id } = addDsrService(bench(), family, 'udp', [{ address: server.address, self, flags }]);
        const seen = decisions(plain());
        expect(seen).toContainEqual(['STEP_SERVICE_FOUND', id, LbMode.LB_MODE_DSR, LbSelect.LB_SELECT_HASH]);
        expect(seen).toContainEqual(['STEP_FLOW_OPENED', CtNat.CT_NAT_DSR, special, CLIENT_PORT, self]);
        expect(seen).toContainEqual(['STEP_SPECIAL', special, 0, 0]);
      });

      it('an ICMP error, and whether its quote is known', () => {
        addPlainService(bench(), family, 'udp');
        const { request, requestOut } = conversation(family, 'udp');
        bench().receive(request, CLIENT_SIDE);
        const kind = family === 4 ? { type: 3, code: 1, rest: 0 } : { type: 1, code: 0, rest: 0 };
        const error = (port: number): Packet => {
          const { ip } = requestOut;
          const quote = buildIp(ip, udp({ sourcePort: port, destinationPort: ENDPOINT_PORT }));
          return packetFrom(server, client.address, { kind: 'error', ...kind, quote });
        };
        const number = protocolNumber(family, 'icmp');
        for (const [port, known] of [
          [CLIENT_PORT, 1],
          [CLIENT_PORT + 1, 0],
        ] as const) {
          const seen = decisions(error(port), SERVER_SIDE);
          expect(seen[0]).toEqual(['STEP_PARSED', PARSED.icmpError, number, kind.type, server.address]);
          expect(seen).toContainEqual(['STEP_ICMP_QUOTE', 17, known, 0, server.address]);
        }
      });

      it('fragments: first, later, held', () => {
        addPlainService(bench(), family, 'udp');
        const payload = new Uint8Array(900);
        const whole = packetFrom(client, vip, udp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, payload }));
        const [first, later] = fragment(whole, 400, 0x1234) as [Packet, Packet];
        const kinds = (packet: Packet) =>
          decisions(packet)
            .filter(([step]) => step === 'STEP_FRAGMENT')
            .map(([, a]) => a);
        bench().path.maps.addresses.set(vip, { uses: 1 });
        expect(kinds(later).at(-1)).toBe(2);
        expect(bench().path.counters().EVENT_FRAGMENT_HELD).toBe(1);
        bench().path.maps.fragments.clear();
        expect(kinds(first)).toEqual([0]);
        expect(kinds(later)).toEqual([1]);
        expect(decisions(first)[0]).toEqual(full(['STEP_PARSED', PARSED.fragment, 17, 0, client.address]));
      });

      it('ends with the verdict', () => {
        addPlainService(bench(), family, 'udp');
        addPlainService(bench(), family, 'tcp', {}, { sources: [] });
        const refused = packetFrom(client, vip, opening('tcp', 1, SERVICE_PORT));
        for (const packet of [plain(), plain(), plain(SERVICE_PORT + 1), refused]) {
          const { steps, result } = run(packet);
          expect(steps.at(-1)).toMatchObject({ step: DpStep.STEP_VERDICT, a: result.verdict >>> 0 });
        }
      });
    });

    describe('XDP', () => {
      const { client, vip, endpoint } = scene(4);
      const told = (packet: Packet, device = CLIENT_SIDE): Fact[] =>
        bench()
          .path.traced(() => runXdp(bench(), buildFrame(packet), device))
          .steps.map(fact);
      const left = (why: keyof typeof DpXdpStep): Fact[] => [full(['STEP_XDP', DpXdpStep[why]])];

      it('says what it leaves to tc, and why', () => {
        addPlainService(bench(), 4, 'udp');
        const { request, reply } = conversation(4, 'udp');
        expect(told(request)).toEqual(left('XDP_STEP_DEVICE'));
        knowDevices(bench(), DpXdpFlags.DP_XDP_IN);
        const payload = new Uint8Array(900);
        const large = packetFrom(client, vip, udp({ sourcePort: 1, destinationPort: SERVICE_PORT, payload }));
        expect(told(fragment(large, 400, 7)[0] as Packet)).toEqual(left('XDP_STEP_PARSE'));
        expect(told(request)).toEqual(left('XDP_STEP_NO_FLOW'));
        bench().receive(request, CLIENT_SIDE);
        expect(told(request).slice(1)).toEqual(left('XDP_STEP_STATE'));
        bench().receive(reply, SERVER_SIDE);
        for (const packet of [request, request]) bench().receive(packet, CLIENT_SIDE);
        expect(told({ ...request, ip: { ...request.ip, ttl: 1 } } as Packet).slice(1)).toEqual(left('XDP_STEP_WAY'));
        expect(told(request).slice(1)).toEqual(left('XDP_STEP_OUT'));
      });

      it('says where it sends a frame', () => {
        const { id } = addPlainService(bench(), 4, 'udp');
        const { request, reply } = conversation(4, 'udp');
        knowDevices(bench());
        bench().receive(request, CLIENT_SIDE);
        bench().receive(reply, SERVER_SIDE);
        bench().receive(request, CLIENT_SIDE);
        expect(told(request)).toEqual(
          (
            [
              ['STEP_FLOW_FOUND', CtUdpState.CT_UDP_EST, 0, id, endpoint(0).address],
              ['STEP_WAY', CtWay.CT_WAY_REDIRECT, oif(SERVER_SIDE), 1500],
              ['STEP_XDP', DpXdpStep.XDP_STEP_SENT],
            ] as const
          ).map(full),
        );
      });
    });

    it('a packet that is not parsed has one step', () => {
      const arp = buildFrame(conversation(4, 'udp').request);
      arp.set([0x08, 0x06], 12);
      const { steps } = bench().path.trace(arp, { ifindex: oif(CLIENT_SIDE) });
      expect(steps.map(fact).filter(([step]) => step !== 'STEP_VERDICT')).toEqual([
        ['STEP_PARSED', PARSED.notOurs, 0, 0],
      ]);
    });

    it('an ICMP request has its type where TCP has flags', () => {
      addPlainService(bench(), 4, 'icmp');
      const { client } = scene(4);
      const { request, reply } = conversation(4, 'icmp');
      expect(decisions(request)[0]).toEqual(['STEP_PARSED', PARSED.flow, 1, 8, client.address]);
      const states = decisions(reply, SERVER_SIDE).find(([step]) => step === 'STEP_FLOW_STATE');
      expect(states).toEqual(['STEP_FLOW_STATE', CtIcmpState.CT_ICMP_REQ_SENT, CtIcmpState.CT_ICMP_BIDIR, 0]);
    });
  },
  { features: { cfg_trace: true } },
);

/** Instructions of the two packet programs, with and without. */
const lengths = new Map<boolean, number[]>();
const PROGRAMS = ['tc_ingress', 'tc_egress'];

describe.each([true, false])('programs with cfg_trace %s', (traced) => {
  describePath(
    'their instructions',
    (bench) => {
      it(`name the map of the steps ${traced ? 'often' : 'nowhere'}`, () => {
        const { path } = bench();
        const counts = PROGRAMS.map((name) => path.facts(name).instructions);
        lengths.set(traced, counts);
        const uses = PROGRAMS.map((name, index) =>
          usesOfMap(path.programFd(name), counts[index] ?? 0, path.maps.trace.fd),
        );
        for (const count of uses) {
          if (traced) expect(count).toBeGreaterThan(20);
          else expect(count).toBe(0);
        }
      });

      it('are fewer without', () => {
        if (traced) return;
        for (const [index, count] of (lengths.get(false) ?? []).entries())
          expect(count).toBeLessThan(lengths.get(true)?.[index] ?? 0);
      });
    },
    { features: { cfg_trace: traced } },
  );
});
