/** Packets that came out, judged by verdict and byte by byte. */
import { type RunResult, VERDICT } from '../bpf/harness.js';
import { buildFrame } from '../bpf/reference/build.js';
import type { Packet } from '../bpf/reference/packet.js';
import { parseFrame } from '../bpf/reference/parse.js';
import { agree, Disagreement } from './disagreement.js';
import type { Prediction } from './model/balancer.js';

/** Throws unless the packet came out as the model says; a flow that opens is told to the model. */
export function judge({ packet, outcome }: Prediction, { verdict, frame }: RunResult): void {
  switch (outcome.is) {
    case 'untouched':
      agree('verdict', verdict, VERDICT.next);
      expectBytes(frame, packet);
      break;
    case 'dropped':
      agree('verdict', verdict, VERDICT.drop);
      break;
    case 'refused':
      agree('verdict', verdict, VERDICT.redirect);
      expectRefusal(packet, frame);
      break;
    case 'forwarded':
      agree('verdict', verdict, VERDICT.redirect);
      expectBytes(frame, outcome.packet);
      break;
    case 'opens':
      agree('verdict', verdict, VERDICT.redirect);
      expectBytes(frame, outcome.accept(parseFrame(frame)));
  }
}

function expectBytes(frame: Uint8Array, packet: Packet): void {
  const expected = buildFrame(withIdentification(frame, packet));
  if (Buffer.compare(frame, expected) === 0) return;
  // Fields tell more than bytes.
  agree('bytes', parseFrame(frame), parseFrame(expected));
  throw new Disagreement(
    'bytes',
    `${Buffer.from(frame).toString('hex')}, not ${Buffer.from(expected).toString('hex')}`,
  );
}

/** What IPv6 became IPv4 of is numbered as the balancer likes. */
function withIdentification(frame: Uint8Array, packet: Packet): Packet {
  if (packet.ip.version !== 4 || packet.ip.identification !== 0) return packet;
  return { ...packet, ip: { ...packet.ip, identification: (frame[18] ?? 0) * 256 + (frame[19] ?? 0) } };
}

/** A reset, or ICMP unreachable, back to where the packet came from. */
function expectRefusal(packet: Packet, frame: Uint8Array): void {
  const { ip, transport } = parseFrame(frame);
  agree('refused', [ip.source, ip.destination], [packet.ip.destination, packet.ip.source]);
  agree('refused', transport.kind, packet.transport.kind === 'tcp' ? 'tcp' : 'error');
}
