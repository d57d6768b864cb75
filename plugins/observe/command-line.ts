/** `loxicmd observe` and `loxicmd trace`: flags, requests, and what is printed. */
import { CommandError, type Flag, type FlagValue } from '@loxilb/sdk/command';
import {
  type LostEvents,
  OBSERVE_PATH,
  type ObservedEvent,
  TCP_FLAGS,
  type TraceAnswer,
  type TraceBody,
  type TracedPacket,
} from './model.js';

type Flags = Readonly<Record<string, FlagValue>>;

export const observeFlags: readonly Flag[] = [
  { name: 'drop', type: 'bool', help: 'Only packets that are dropped' },
  {
    name: 'service',
    type: 'string',
    help: "Only packets of this service: the rule's name, or <ip>:<port>[/<protocol>]",
  },
  { name: 'sample', type: 'uint32', help: 'Show one of so many packets' },
  { name: 'count', type: 'uint32', help: 'End after so many packets' },
];

/** Path and query of the stream. */
export function observePath(flags: Flags): string {
  const query = new URLSearchParams();
  if (flags.drop) query.set('kind', 'drop');
  if (flags.service) query.set('service', String(flags.service));
  if (flags.sample) query.set('sample', String(flags.sample));
  return query.size > 0 ? `${OBSERVE_PATH}?${query}` : OBSERVE_PATH;
}

/** One line per packet, columns where they can be. */
export function formatEvent(event: ObservedEvent): string {
  const { time, kind, reason, protocol, source, destination, length, tcpFlags } = event;
  const service = event.service || event.serviceAddress;
  const details = [
    `${source} > ${destination}`,
    ...(tcpFlags ? [tcpFlags] : []),
    `${length} bytes`,
    ...(service ? [`service ${service}`] : []),
    ...(event.endpoint ? [`endpoint ${event.endpoint}`] : []),
  ];
  const columns = [
    time.slice(11, 26),
    kind.padEnd(5),
    reason.padEnd(16),
    event.interface.padEnd(8),
    protocol.padEnd(5),
  ];
  return `${columns.join(' ')} ${details.join(', ')}`;
}

export function formatLost({ events, where }: LostEvents): string {
  const why = where === 'client' ? 'this client was too slow' : 'there were more than the packet path had room for';
  return `... ${events} ${events === 1 ? 'packet is' : 'packets are'} not shown: ${why}`;
}

export const TRACE_USAGE =
  'trace <source> <destination> --tcp=<port>:<port>|--udp=<port>:<port>|--sctp=<port>:<port>|--icmp --in <device>';

export const traceFlags: readonly Flag[] = [
  { name: 'tcp', type: 'string', help: 'A TCP packet, from and to these ports: <port>:<port>' },
  { name: 'udp', type: 'string', help: 'A UDP packet, from and to these ports' },
  { name: 'sctp', type: 'string', help: 'An SCTP packet with an INIT, from and to these ports' },
  { name: 'icmp', type: 'bool', help: 'An ICMP echo request' },
  { name: 'in', type: 'string', help: 'Device the packet comes in by' },
  { name: 'syn', type: 'bool', help: 'TCP: SYN, as when nothing is said' },
  { name: 'ack', type: 'bool', help: 'TCP: ACK' },
  { name: 'flags', type: 'strings', help: `TCP: any of ${TCP_FLAGS.join(',')}` },
  { name: 'mark', type: 'uint32', help: 'Firewall mark' },
  { name: 'size', type: 'uint32', help: 'Bytes from the IP header on' },
  { name: 'ttl', type: 'uint32', help: 'Time to live (default 64)' },
];

const PORT_PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;

/** Throws `CommandError` for what cannot be a packet; the daemon checks the rest. */
export function traceBody(args: readonly string[], flags: Flags): TraceBody {
  const [source, destination, ...more] = args;
  if (source === undefined || destination === undefined || more.length > 0) {
    throw new CommandError('Error: trace needs <source> and <destination> args');
  }
  if (typeof flags.in !== 'string')
    throw new CommandError('Error: trace needs --in, the device the packet comes in by');
  const given = [...PORT_PROTOCOLS, 'icmp' as const].filter((protocol) => flags[protocol]);
  const [protocol] = given;
  if (protocol === undefined || given.length > 1) {
    throw new CommandError('Error: trace needs one of --tcp, --udp, --sctp and --icmp');
  }
  const ports = protocol === 'icmp' ? {} : parsePorts(protocol, String(flags[protocol]));
  const tcpFlags = flagWords(flags);
  return {
    ...{ source, destination, protocol, ...ports, interface: flags.in },
    ...(tcpFlags.length > 0 && { flags: tcpFlags }),
    ...(flags.mark !== undefined && { mark: Number(flags.mark) }),
    ...(flags.size !== undefined && { size: Number(flags.size) }),
    ...(flags.ttl !== undefined && { ttl: Number(flags.ttl) }),
  };
}

function parsePorts(protocol: string, text: string): { sourcePort: number; destinationPort: number } {
  const [, source, destination] = /^(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  if (Math.max(Number(source), Number(destination)) <= 65_535) {
    return { sourcePort: Number(source), destinationPort: Number(destination) };
  }
  throw new CommandError(`Error: --${protocol} '${text}' is not <source port>:<destination port>`);
}

type TcpFlag = (typeof TCP_FLAGS)[number];

function flagWords(flags: Flags): TcpFlag[] {
  const words = Array.isArray(flags.flags) ? flags.flags.map((word) => word.toLowerCase()) : [];
  const all = [...(flags.syn ? ['syn'] : []), ...(flags.ack ? ['ack'] : []), ...words];
  return all.map((word) => {
    const known = TCP_FLAGS.find((flag) => flag === word);
    if (!known) throw new CommandError(`Error: '${word}' is no TCP flag: ${TCP_FLAGS.join(', ')}`);
    return known;
  });
}

const HEX_ROW = 32;

/** @param wide with the packets in hex */
export function formatTrace(answer: TraceAnswer, wide: boolean): string {
  const { before, after, steps, verdict, out, notes } = answer;
  const digits = String(steps.length).length;
  // Where tc is alone, naming it tells nobody anything.
  const programs = new Set(['tc_ingress', ...steps.map(({ program }) => program)]);
  const lines = [
    `in:      ${answer.interface}`,
    `packet:  ${before.summary}`,
    ...(wide ? hexRows(before) : []),
    '',
    ...steps.flatMap(({ step, text, program }, index) => [
      ...(programs.size > 1 && steps[index - 1]?.program !== program ? [`${program}:`] : []),
      `${String(index + 1).padStart(digits)}. ${step.padEnd(14)} ${text}`,
    ]),
    '',
    `verdict: ${verdict.text}`,
    ...(out ? [`out:     ${out.interface}, ${out.how}${macs(out)}`] : []),
    `after:   ${after.hex === before.hex ? 'unchanged' : after.summary}`,
    ...(wide ? hexRows(after) : []),
    ...notes.map((note) => `note:    ${note}`),
  ];
  return `${lines.join('\n')}\n`;
}

function macs({ sourceMac, destinationMac }: NonNullable<TraceAnswer['out']>): string {
  return sourceMac === undefined ? '' : `, ${sourceMac} > ${destinationMac}`;
}

function hexRows({ hex }: TracedPacket): string[] {
  const rows = hex.match(new RegExp(`.{1,${HEX_ROW}}`, 'g')) ?? [];
  return rows.map((row, index) => {
    const offset = ((index * HEX_ROW) / 2).toString(16).padStart(4, '0');
    return `         ${offset}  ${(row.match(/.{1,2}/g) ?? []).join(' ')}`;
  });
}
