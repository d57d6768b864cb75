/** What the packet path counts, in words: the reasons of `enum dp_counter`. */
import { DpCounter } from './layout.gen.js';
import type { EventKind } from './model.js';

export interface Reason {
  readonly number: number;
  /** As in the metrics: without the prefix, lower case. */
  readonly name: string;
  readonly kind: EventKind;
  readonly meaning: string;
  /** What the operator can do; empty for events, which ask for nothing. */
  readonly remedy: string;
}

type ReasonName = Exclude<keyof typeof DpCounter, 'DROP_NONE' | 'DP_COUNTERS'>;
type Words = readonly [meaning: string, remedy: string];

const REPORT = 'see it with `loxicmd trace`, and report it: this should not happen';

/** A reason without words does not compile. */
const WORDS: Readonly<Record<ReasonName, Words>> = {
  DROP_NO_ENDPOINT: [
    'the service has no active endpoint; the client was told by a reset or an ICMP error',
    'add endpoints, or look at `loxicmd get ep` for why none is active',
  ],
  DROP_PORT_EXHAUSTED: [
    'no free source port towards the endpoint: all that were tried are taken',
    'add endpoints, or let fewer clients share one source address',
  ],
  DROP_TTL_EXCEEDED: [
    'the time to live was spent; the sender was told',
    'nothing for a traceroute; otherwise look for a routing loop',
  ],
  DROP_TOO_BIG: [
    'larger than the MTU of the way out; the sender was told',
    'nothing, unless senders ignore it: then lower their MTU or raise that of the way',
  ],
  DROP_UNREACHABLE: [
    'the route to the endpoint is a blackhole, unreachable or prohibited',
    'look at `loxicmd get route` for the route to the endpoint',
  ],
  DROP_FLOW_INSERT: [
    'the flow table refused the entry',
    'raise maxFlows of the conntrack plugin, or shorten idle times',
  ],
  DROP_REWRITE: ['the packet could not be written', REPORT],
  DROP_BAD_ENDPOINT: [
    'the selection named an endpoint that had just gone',
    'nothing; when it goes on, restart the daemon, which checks its tables',
  ],
  DROP_SOURCE: [
    "the client is not among the service's allowed sources",
    'add its prefix to the allowed sources of the rule if it should be',
  ],
  DROP_NOT_ON_LINK: [
    'DSR without a tunnel, and the endpoint is behind a router',
    'put the endpoint on a network of this machine, or let the rule use a tunnel',
  ],
  DROP_TUNNEL: [
    'the packet could not be put into a tunnel',
    'check that this machine has an address towards the endpoint',
  ],
  DROP_FAMILY: [
    'the packet has no counterpart in the other IP family (RFC 7915)',
    'nothing for rare ICMP types and options; otherwise give clients a service of their own family',
  ],
  DROP_FAMILY_FRAGMENT: ['a fragment of a flow between IP families', 'lower the MTU of the clients'],
  DROP_FAMILY_GSO: [
    'an unsegmented UDP packet of a flow between IP families',
    'switch UDP segmentation off on the device it comes from',
  ],
  DROP_FRAGMENT: [
    'a fragment whose first part never came, or there was no room to hold it',
    'look for packet loss before this machine',
  ],
  DROP_PPV2: [
    'the PROXY protocol header could not be put in, or the endpoint refused data it got before it',
    'look at the packet with `loxicmd observe --drop`; data in a SYN is one cause',
  ],
  DROP_SCTP: ['an SCTP packet that breaks RFC 9260, or whose chunks could not be rewritten', 'look at the sender'],
  DROP_SCTP_TAG: ['an SCTP packet with the verification tag of nobody', 'nothing: late packets of old associations'],

  PASS_FRAGMENT: ['a fragment without ports, left to the kernel', 'nothing, unless it was for a service'],
  PASS_TRUNCATED: ['headers do not fit the packet; left to the kernel', 'look at the sender'],
  PASS_NO_FLOW: [
    'a packet to a service that begins no flow and belongs to none; left to the kernel',
    'nothing: late packets of old connections',
  ],
  PASS_IP_OPTIONS: ['more extension headers than are looked at; left to the kernel', 'look at the sender'],

  EVENT_FLOW_CREATED: ['a flow began', ''],
  EVENT_FLOW_CONFIRMED: ['both sides of a flow have spoken: it moved to the flow table', ''],
  EVENT_FLOW_TABLE_FULL: ['the flow table has no room for a confirmed flow', 'raise maxFlows of the conntrack plugin'],
  EVENT_PORT_TRANSLATED: ['another source port, because the tuple was taken', ''],
  EVENT_ICMP_RELAYED: ['an ICMP error was translated and sent on', ''],
  EVENT_RST_IGNORED: ['a reset outside the window was not believed', ''],
  EVENT_RESOLVED: ['the way out was looked up', ''],
  EVENT_FLOW_EXPIRED: ['a flow ended by its idle time', ''],
  EVENT_FLOW_RESET: ['a flow was ended, and both ends are told', ''],
  EVENT_RESET_LOST: ['a flow was ended, and its ends could not be told: too many at once', ''],
  EVENT_FRAGMENT_HELD: ['a fragment is kept until the first part comes', ''],
  EVENT_FRAGMENT_SENT: ['a fragment was translated', ''],
  EVENT_PPV2_SENT: ['a PROXY protocol header was put in', ''],
  EVENT_PPV2_RESENT: ['a PROXY protocol header was sent again', ''],
  EVENT_SCTP_PATH: ['another path of a known association', ''],
  EVENT_TUNNELLED: ['the packet went into a tunnel', ''],
  EVENT_FAMILY: ['the packet was made one of the other IP family', ''],
  EVENT_FLOW_CLOSED: ['the ends of a flow have closed it: it lingers for a few seconds', ''],
};

/** Numbers below these are drops and passes. */
const FIRST_PASS = 64;
const FIRST_EVENT = 128;

const REASONS: ReadonlyMap<number, Reason> = new Map(
  Object.entries(WORDS).map(([key, [meaning, remedy]]) => {
    const number = DpCounter[key as ReasonName];
    return [
      number,
      { number, name: key.slice(key.indexOf('_') + 1).toLowerCase(), kind: kindOf(number), meaning, remedy },
    ];
  }),
);

/** Of any number, also one a newer packet path has. */
export function reasonOf(number: number): Reason {
  const unknown = {
    number,
    name: `reason_${number}`,
    kind: kindOf(number),
    meaning: 'unknown to this daemon',
    remedy: '',
  };
  return REASONS.get(number) ?? unknown;
}

export function kindOf(number: number): EventKind {
  if (number < FIRST_PASS) return 'drop';
  return number < FIRST_EVENT ? 'pass' : 'event';
}
