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
import { type TraceResult, type TraceStage, tracePacket } from './trace.js';

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
  const attached = dataplane.attached().find((one) => one.ifindex === ifindex);
  const key = flowKey(body, protocol);
  const result = await tracePacket(dataplane, {
    ...{ frame, ifindex, key, mark: body.mark ?? 0, xdp: attached?.xdp?.mode ?? 'off' },
  });
  const last = result.stages.at(-1) ?? result.stages[0];
  const after = describePacket(last.outcome.bytes);
  return {
    interface: link.name,
    before: describePacket(frame),
    steps: result.stages.flatMap(({ program, steps }) =>
      steps.map((step) => ({ program, ...describeStep(step, { labels, protocol }) })),
    ),
    ...decision(last, after, link, labels),
    after,
    notes: notesOn(result, link, attached),
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

/** What the programs answer: TC_ACT_* and XDP_*; anything else is the kernel's. */
const TC_VERDICTS: Readonly<Record<number, TraceAnswer['verdict']['name']>> = { 2: 'dropped', 7: 'sent' };
const XDP_VERDICTS: typeof TC_VERDICTS = { 0: 'dropped', 1: 'dropped', 3: 'sent', 4: 'sent' };

const HOW: Readonly<Record<number, string>> = {
  [CtWay.CT_WAY_REDIRECT]: 'known MAC addresses',
  [CtWay.CT_WAY_PEER]: "into the peer's namespace",
  [CtWay.CT_WAY_NEIGH]: 'the kernel fills in MAC addresses',
  [CtWay.CT_WAY_LOOPBACK]: 'to a local process',
};

function decision(
  { outcome, steps, isXdp }: TraceStage,
  after: TracedPacket,
  link: NetworkLink,
  labels: Pick<Labels, 'interface'>,
): Pick<TraceAnswer, 'verdict' | 'out'> {
  const name = (isXdp ? XDP_VERDICTS : TC_VERDICTS)[outcome.verdict] ?? 'kernel';
  if (name === 'dropped') return { verdict: { name, text: 'the packet is dropped' } };
  if (name === 'kernel') {
    const way = wayOf(steps);
    const changed = way ? 'translated, it goes on to the kernel' : 'goes on to the kernel as if no balancer were there';
    return { verdict: { name, text: changed } };
  }
  const way = wayOf(steps);
  const { sourceMac, destinationMac } = after;
  // Answers made here go back where the packet came from, and have no way of a flow.
  const out = way ? labels.interface(way.b) : link.name;
  const how = way ? howOf(way, isXdp) : 'answered from here';
  const text = way ? `sent out of ${out}` : `answered: the packet below goes back out of ${out}`;
  const macs = way?.a === CtWay.CT_WAY_NEIGH ? {} : { sourceMac, destinationMac };
  return { verdict: { name, text }, out: { interface: out, how, ...macs } };
}

/** XDP hands every frame to the device itself. */
function howOf(way: DpTraceStep, isXdp: boolean): string {
  return isXdp ? 'by XDP, with known MAC addresses' : (HOW[way.a] ?? `way ${way.a}`);
}

function wayOf(steps: readonly DpTraceStep[]): DpTraceStep | undefined {
  const answered = steps.some(({ step }) => step === DpStep.STEP_TTL_SPENT || step === DpStep.STEP_TOO_BIG);
  return answered ? undefined : steps.findLast(({ step }) => step === DpStep.STEP_WAY);
}

function notesOn(
  { knownFlow, xdpRefused }: TraceResult,
  link: NetworkLink,
  attached: AttachedInterface | undefined,
): string[] {
  const notes: string[] = [];
  if (xdpRefused) {
    notes.push(
      `packets of ${link.name} meet XDP first, but this kernel runs no XDP program on one packet: this is tc's part`,
    );
  }
  if (!attached) {
    notes.push(`the packet path is not attached to ${link.name}: real packets there do not meet it`);
  }
  if (knownFlow) notes.push('its sequence numbers are made up: a real packet of the flow has others');
  return notes;
}
