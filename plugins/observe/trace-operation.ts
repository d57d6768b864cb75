import {
  type AttachedInterface,
  type DataPlane,
  ipFamily,
  isIpAddress,
  type Network,
  type NetworkLink,
  type OperationSpec,
  z,
} from '@loxilb/sdk';
import { interfaceUnknown } from './errors.js';
import type { Labels } from './labels.js';
import { CtWay, DpStep, type DpTraceStep } from './layout.gen.js';
import { PROTOCOLS, TCP_FLAGS, TRACE_PATH, type TraceAnswer, type TraceBody, type TracedPacket } from './model.js';
import { buildPacket, ipProtocol } from './packet.js';
import { describePacket } from './packet-summary.js';
import { describeStep } from './steps.js';
import { type TraceResult, tracePacket } from './trace.js';

const port = z.int().min(0).max(65_535);
const address = z.string().refine(isIpAddress, 'an IP address');

const traceBody = z.strictObject({
  source: address,
  destination: address,
  protocol: z.enum(PROTOCOLS),
  sourcePort: port.optional(),
  destinationPort: port.optional(),
  interface: z.string().min(1),
  flags: z.array(z.enum(TCP_FLAGS)).optional(),
  mark: z.uint32().optional(),
  size: z.int().optional(),
  ttl: z.int().min(0).max(255).optional(),
});

export interface TraceParts {
  readonly dataplane: Pick<DataPlane, 'openTrace' | 'rawBatches' | 'rawEntries' | 'attached'>;
  readonly network: Pick<Network, 'links'>;
  readonly labels: Pick<Labels, 'serviceText' | 'interface'>;
}

export function traceOperation(parts: TraceParts): OperationSpec {
  return {
    method: 'POST',
    path: TRACE_PATH,
    summary:
      'Send one made-up packet through a copy of the packet path, and tell what becomes of it; nothing is left behind',
    access: 'read',
    body: traceBody,
    handle: ({ body }) => trace(parts, body as TraceBody),
  };
}

/** Sender of a made-up packet: locally administered, and nobody's. */
const SENDER = Uint8Array.of(2, 0, 0, 0, 0, 1);

/** Throws `TRACE_INTERFACE_UNKNOWN`, `OBSERVE_PARAMETER` and what `tracePacket` does. */
export async function trace({ dataplane, network, labels }: TraceParts, body: TraceBody): Promise<TraceAnswer> {
  const link = network.links().find(({ name }) => name === body.interface);
  if (!link) throw interfaceUnknown(body.interface);
  const frame = buildPacket(body, macsOf(link));
  const protocol = ipProtocol(body.protocol, ipFamily(body.source));
  const { ifindex } = link;
  const result = await tracePacket(dataplane, { frame, ifindex, mark: body.mark ?? 0, key: flowKey(body, protocol) });
  const after = describePacket(result.outcome.bytes);
  return {
    interface: link.name,
    before: describePacket(frame),
    steps: result.steps.map((step) => describeStep(step, { labels, protocol })),
    ...decision(result, after, link, labels),
    after,
    notes: notesOn(result, link, dataplane.attached()),
  };
}

function macsOf({ mac, loopback }: NetworkLink) {
  const destination = Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
  return { destination, source: loopback ? destination : SENDER };
}

/** The identifier of ICMP is both ports. */
function flowKey({ source, destination, sourcePort, destinationPort, protocol }: TraceBody, proto: number) {
  const icmp = protocol === 'icmp';
  const sport = sourcePort ?? (icmp ? 1 : 0);
  return { saddr: source, daddr: destination, sport, dport: icmp ? sport : (destinationPort ?? 0), proto, zone: 0 };
}

/** TC_ACT_*. */
const SHOT = 2;
const REDIRECT = 7;

const HOW: Readonly<Record<number, string>> = {
  [CtWay.CT_WAY_REDIRECT]: 'known MAC addresses',
  [CtWay.CT_WAY_PEER]: "into the peer's namespace",
  [CtWay.CT_WAY_NEIGH]: 'the kernel fills in MAC addresses',
  [CtWay.CT_WAY_LOOPBACK]: 'to a local process',
};

function decision(
  { outcome, steps }: TraceResult,
  after: TracedPacket,
  link: NetworkLink,
  labels: Pick<Labels, 'interface'>,
): Pick<TraceAnswer, 'verdict' | 'out'> {
  if (outcome.verdict === SHOT) return { verdict: { name: 'dropped', text: 'the packet is dropped' } };
  if (outcome.verdict !== REDIRECT) {
    const way = wayOf(steps);
    const changed = way ? 'translated, it goes on to the kernel' : 'goes on to the kernel as if no balancer were there';
    return { verdict: { name: 'kernel', text: changed } };
  }
  const way = wayOf(steps);
  const { sourceMac, destinationMac } = after;
  // Answers made here go back where the packet came from, and have no way of a flow.
  const out = way ? labels.interface(way.b) : link.name;
  const how = way ? (HOW[way.a] ?? `way ${way.a}`) : 'answered from here';
  const text = way ? `sent out of ${out}` : `answered: the packet below goes back out of ${out}`;
  const macs = way?.a === CtWay.CT_WAY_NEIGH ? {} : { sourceMac, destinationMac };
  return { verdict: { name: 'sent', text }, out: { interface: out, how, ...macs } };
}

function wayOf(steps: readonly DpTraceStep[]): DpTraceStep | undefined {
  const answered = steps.some(({ step }) => step === DpStep.STEP_TTL_SPENT || step === DpStep.STEP_TOO_BIG);
  return answered ? undefined : steps.findLast(({ step }) => step === DpStep.STEP_WAY);
}

function notesOn({ knownFlow }: TraceResult, link: NetworkLink, attached: readonly AttachedInterface[]): string[] {
  const notes: string[] = [];
  if (!attached.some(({ ifindex }) => ifindex === link.ifindex)) {
    notes.push(`the packet path is not attached to ${link.name}: real packets there do not meet it`);
  }
  if (knownFlow) notes.push('its sequence numbers are made up: a real packet of the flow has others');
  return notes;
}
