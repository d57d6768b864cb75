/** `struct dp_trace_step`, in plain words. */
import { type Labels, protocolName, tcpFlagNames } from './labels.js';
import {
  CtIcmpState,
  CtNat,
  CtSctpState,
  CtSpecial,
  CtTcpState,
  CtUdpState,
  CtWay,
  DpStep,
  type DpTraceStep,
  DpXdpStep,
  LbMode,
  LbSelect,
} from './layout.gen.js';
import type { TraceStep } from './model.js';
import { reasonOf } from './reasons.js';

const TCP = 6;
const ICMP = new Set([1, 58]);
const STATES: Readonly<Record<number, Readonly<Record<string, number>>>> = {
  1: CtIcmpState,
  6: CtTcpState,
  17: CtUdpState,
  58: CtIcmpState,
  132: CtSctpState,
};

/** `enum parse_result` of bpf/include/parse.h. */
const PARSED = [
  'complete',
  'a fragment',
  'an ICMP error',
  'nothing the balancer handles: left to the kernel',
  'too short for its headers: left to the kernel',
];

/** What the packet path has as the MTU of a way while the kernel does not say, and of ways without a limit. */
const NO_MTU = 0xffff;

const WAYS: Readonly<Record<number, string>> = {
  [CtWay.CT_WAY_UNKNOWN]: 'no way out is known yet',
  [CtWay.CT_WAY_REDIRECT]: 'straight to the device, with MAC addresses that are known',
  [CtWay.CT_WAY_PEER]: "into the namespace of the device's peer",
  [CtWay.CT_WAY_NEIGH]: 'by the device, the kernel resolves the neighbour',
  [CtWay.CT_WAY_STACK]: "through the kernel's own routing",
  // The kernel's route lookup says the same of both.
  [CtWay.CT_WAY_LOCAL]: 'to the kernel: for a process of this machine, or refused for want of a route',
  [CtWay.CT_WAY_LOOPBACK]: 'to a process of this machine that talks from a service address',
};

const TRANSLATIONS: Readonly<Record<number, string>> = {
  [CtNat.CT_NAT_DNAT]: 'only the destination changes',
  [CtNat.CT_NAT_FULL]: 'source and destination change',
  [CtNat.CT_NAT_HAIRPIN]: 'client and endpoint are one machine: it sees the service as its peer',
  [CtNat.CT_NAT_DSR]: 'addresses and ports stay, answers do not come back through here',
};

export interface StepContext {
  readonly labels: Pick<Labels, 'serviceText' | 'interface'>;
  /** IP protocol of the packet. */
  readonly protocol: number;
}

export function describeStep(step: DpTraceStep, context: StepContext): Omit<TraceStep, 'program'> {
  const text = SENTENCES[step.step]?.(step, context) ?? `step ${step.step}, unknown to this daemon`;
  return { step: nameOf(step.step), text };
}

function nameOf(number: number): string {
  const name = Object.entries(DpStep).find(([, value]) => value === number)?.[0];
  return name ? name.slice('STEP_'.length).toLowerCase() : `step_${number}`;
}

const XDP_DECISIONS: Readonly<Record<number, string>> = {
  [DpXdpStep.XDP_STEP_SENT]: 'the driver sends it on: tc and the kernel do not see it',
  [DpXdpStep.XDP_STEP_DEVICE]: 'left to tc: its MAC address is not that of the device, or XDP does not know the device',
  [DpXdpStep.XDP_STEP_PARSE]: 'left to tc: XDP takes only plain packets of protocols that have flows',
  [DpXdpStep.XDP_STEP_NO_FLOW]: 'left to tc: no confirmed flow has it',
  [DpXdpStep.XDP_STEP_STATE]: 'left to tc: the flow is not open, or this packet changes that',
  [DpXdpStep.XDP_STEP_WAY]:
    'left to tc: the way out has to be looked up again or needs the kernel, or the packet does not fit it',
  [DpXdpStep.XDP_STEP_SPECIAL]: 'left to tc: the flow needs a treatment only tc has',
  [DpXdpStep.XDP_STEP_OUT]: 'left to tc: the device it leaves by takes no frames of XDP',
  [DpXdpStep.XDP_STEP_REWRITE]: 'dropped: the frame could not be rewritten',
};

type Sentence = (step: DpTraceStep, context: StepContext) => string;

/** Meaning of a, b, c and addr: comments of `enum dp_step` in bpf/maps/dataplane.h. */
const SENTENCES: Readonly<Record<number, Sentence>> = {
  [DpStep.STEP_NONE]: () => 'nothing',
  [DpStep.STEP_PARSED]: ({ a, b, c, addr }) => {
    const what = b === TCP ? `tcp ${tcpFlagNames(c) || 'without flags'}` : protocolName(b);
    return a === 0 ? `read: ${what} from ${addr}` : `read: ${PARSED[a] ?? `result ${a}`}`;
  },
  [DpStep.STEP_FLOW_FOUND]: ({ a, c, addr }, { labels, protocol }) =>
    `belongs to a flow of ${labels.serviceText(c)}, which is ${stateName(a, protocol)}; goes to ${addr}`,
  [DpStep.STEP_NO_FLOW]: () => 'belongs to no flow',
  [DpStep.STEP_FLOW_STATE]: ({ a, b }, { protocol }) =>
    a === b
      ? `the flow stays ${stateName(b, protocol)}`
      : `the flow goes from ${stateName(a, protocol)} to ${stateName(b, protocol)}`,
  [DpStep.STEP_SERVICE_FOUND]: ({ a, b, c }, { labels }) =>
    `is for ${labels.serviceText(a)}: mode ${shortName(LbMode, b)}, selection ${shortName(LbSelect, c)}`,
  [DpStep.STEP_NO_SERVICE]: ({ a, b }, { protocol }) =>
    `no service has this address and ${protocolName(protocol)}${ICMP.has(protocol) ? '' : ` port ${a}`}${b === 0 ? '' : ` with mark ${b} or any`}: not for the balancer`,
  [DpStep.STEP_NOT_OPENING]: () => 'cannot begin a flow, and belongs to none: left to the kernel',
  [DpStep.STEP_SOURCE_REFUSED]: ({ a, addr }, { labels }) =>
    `${addr} is not among the allowed sources of ${labels.serviceText(a)}`,
  [DpStep.STEP_NO_ENDPOINT]: ({ a }, { labels }) => `${labels.serviceText(a)} has no active endpoint`,
  [DpStep.STEP_ENDPOINT]: ({ b, c, addr }) =>
    `chosen: endpoint ${addr.includes(':') ? `[${addr}]` : addr}:${b}, from a table of ${c} ${c === 1 ? 'place' : 'places'}`,
  [DpStep.STEP_FLOW_OPENED]: ({ a, b, c, addr }) =>
    `a flow begins: ${TRANSLATIONS[a] ?? `translation ${a}`}${newSource(a, addr, c)}${b === 0 ? '' : `; ${specialText(b)}`}`,
  [DpStep.STEP_WAY]: ({ a, b, c }, { labels }) =>
    `way out: ${WAYS[a] ?? `way ${a}`}${b === 0 ? '' : `, ${labels.interface(b)}`}${c === 0 || c === NO_MTU ? '' : `, MTU ${c}`}`,
  [DpStep.STEP_SPECIAL]: ({ a }) => `special treatment: ${specialText(a)}`,
  [DpStep.STEP_TTL_SPENT]: ({ a }) => `its time to live is spent: ${a}`,
  [DpStep.STEP_TOO_BIG]: ({ a, b }) => `${a} bytes do not fit the MTU of ${b}`,
  [DpStep.STEP_COUNTED]: ({ a }) => {
    const { kind, name, meaning } = reasonOf(a);
    return `counted as ${kind} ${name}: ${meaning}`;
  },
  [DpStep.STEP_ICMP_QUOTE]: ({ a, b, addr }) =>
    `quotes a ${protocolName(a)} packet to ${addr}, ${b ? 'of a flow that is known' : 'of no known flow'}`,
  [DpStep.STEP_FRAGMENT]: ({ a, b }) =>
    `fragment of packet ${b}: ${['the first part', 'a later part', 'held until the first part comes'][a] ?? a}`,
  [DpStep.STEP_VERDICT]: ({ a }) => `verdict ${a | 0}`,
  [DpStep.STEP_XDP]: ({ a }) => XDP_DECISIONS[a] ?? `XDP: ${a}`,
};

function newSource(nat: number, address: string, port: number): string {
  const from = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return nat === CtNat.CT_NAT_DSR ? '' : `; the endpoint sees ${from}`;
}

function stateName(state: number, protocol: number): string {
  return shortName(STATES[protocol] ?? {}, state);
}

/** The last words of an enumerator: `CT_TCP_SYN_SENT` is `syn sent`. */
function shortName(names: Readonly<Record<string, number>>, value: number): string {
  const name = Object.entries(names).find(([, number]) => number === value)?.[0];
  return name ? name.split('_').slice(2).join(' ').toLowerCase() : String(value);
}

const SPECIALS: readonly (readonly [bit: number, text: string])[] = [
  [CtSpecial.CT_SPECIAL_DSR, 'direct server return'],
  [CtSpecial.CT_SPECIAL_TUNNEL, 'inside a tunnel'],
  [CtSpecial.CT_SPECIAL_FAMILY, 'to the other IP family'],
  [CtSpecial.CT_SPECIAL_PPV2, 'PROXY protocol header'],
  [CtSpecial.CT_SPECIAL_SCTP, 'SCTP checksum and address parameters'],
];

function specialText(bits: number): string {
  const texts = SPECIALS.filter(([bit]) => bits & bit).map(([, text]) => text);
  return texts.length > 0 ? texts.join(', ') : `0x${bits.toString(16)}`;
}
