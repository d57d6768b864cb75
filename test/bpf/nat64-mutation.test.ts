/** Random damage to packets between families: what was wrong does not come out right, what is right comes out right. */
import { describe, expect, it } from 'vitest';
import {
  type Crossing,
  crossing,
  EVERY_CROSSING,
  expectCrossed,
  fromClient,
  fromServer,
  openAcross,
  towardsClient,
  towardsServer,
} from './families.js';
import { type RunResult, VERDICT } from './harness.js';
import { CLIENT_SIDE, type Device, ROUTER, SERVER_SIDE } from './network.js';
import { buildFrame, buildIp } from './reference/build.js';
import { echo, type Packet, TCP, tcp, udp } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import { CLIENT_PORT, describePath, ENDPOINT_PORT, host, type Protocol, packetFrom, SERVICE_PORT } from './scenario.js';

const ROUNDS = 1500;

function parsed(frame: Uint8Array): Packet | undefined {
  try {
    return parseFrame(frame);
  } catch {
    return undefined;
  }
}

function segment(protocol: Protocol, back: boolean, payload: Uint8Array) {
  const ports = back
    ? { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT }
    : { sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT };
  if (protocol === 'tcp') return tcp({ ...ports, flags: TCP.ack, payload });
  return protocol === 'udp' ? udp({ ...ports, payload }) : echo({ identifier: CLIENT_PORT, reply: back, payload });
}

function damage(frame: Uint8Array, random: () => number): Uint8Array {
  const out = frame.slice();
  const times = 1 + Math.floor(random() * 3);
  for (let time = 0; time < times; time++) {
    const at = 14 + Math.floor(random() * (out.length - 14));
    out[at] = (out[at] ?? 0) ^ (1 << Math.floor(random() * 8));
  }
  return random() < 0.1 ? out.slice(0, 54 + Math.floor(random() * (out.length - 54))) : out;
}

const KNOWN = [CLIENT_PORT, ENDPOINT_PORT, SERVICE_PORT];

/** Of the flow that was opened: two wrongs may make the packet of another, or an ICMP message nobody knows. */
function isOfTheFlow({ ip, transport }: Packet, { client, vip, server, source }: Crossing): boolean {
  const hosts = [client.address, vip, server.address, source];
  if (!hosts.includes(ip.source) || !hosts.includes(ip.destination)) return false;
  if (transport.kind === 'echo') {
    return KNOWN.includes(transport.identifier) && transport.reply === (ip.source === server.address);
  }
  if (transport.kind !== 'tcp' && transport.kind !== 'udp') return false;
  return KNOWN.includes(transport.sourcePort) && KNOWN.includes(transport.destinationPort);
}

/** Whether the balancer itself answered. */
function isAnswer(packet: Packet, frame: Uint8Array): boolean {
  return packet.transport.kind === 'error' && (packet.ip.version === 4) === (frame[12] === 8);
}

describePath('damage between families', (bench) => {
  describe.each(EVERY_CROSSING)('$name', ({ family }) => {
    const cross = crossing(family);
    const judge = (
      frame: Uint8Array,
      result: RunResult,
      expected: (cross: Crossing, packet: Packet) => Packet,
      version: 4 | 6,
    ) => {
      const out = parsed(result.frame);
      if (result.verdict !== VERDICT.redirect || !out || isAnswer(out, frame)) return;
      const packet = parsed(frame);
      expect(packet?.ip.version, Buffer.from(frame).toString('hex')).toBe(version);
      if (packet && isOfTheFlow(packet, cross)) expectCrossed(result, expected(cross, packet));
    };

    it.each(['tcp', 'udp', 'icmp'] as const)('%s', (protocol) => {
      openAcross(bench(), cross, protocol);
      const random = seeded(family * 7);
      const send = (frame: Uint8Array, device: Device) =>
        bench().path.ingress(frame, { ifindex: bench().network.ifindex(device) });
      for (let round = 0; round < ROUNDS; round++) {
        const payload = randomBytes(random, round % 30);
        const there = damage(buildFrame(fromClient(cross, segment(protocol, false, payload))), random);
        judge(there, send(there, CLIENT_SIDE), towardsServer, family);
        const back = damage(buildFrame(fromServer(cross, segment(protocol, true, payload))), random);
        judge(back, send(back, SERVER_SIDE), towardsClient, family === 4 ? 6 : 4);
      }
    });

    it('ICMP errors', () => {
      const { request } = openAcross(bench(), cross, 'tcp');
      const other = family === 4 ? 6 : 4;
      const random = seeded(family * 11);
      const router = host(SERVER_SIDE, other, ROUTER);
      const out = towardsServer(cross, request);
      const kind = other === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, code: 0, rest: 1400 };
      const error = packetFrom(router, cross.source, { kind: 'error', ...kind, quote: buildIp(out.ip, out.transport) });
      const frame = buildFrame(error);
      for (let round = 0; round < ROUNDS; round++) {
        const damaged = damage(frame, random);
        const result = bench().path.ingress(damaged, { ifindex: bench().network.ifindex(SERVER_SIDE) });
        // With a sum that was wrong, or the header of another packet, it must not be a good one now.
        const sent = result.verdict === VERDICT.redirect ? parsed(result.frame) : undefined;
        if (sent) expect(parsed(damaged), Buffer.from(damaged).toString('hex')).toBeDefined();
      }
    });
  });
});
