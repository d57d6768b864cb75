/** One flow, from its first packet to its last: where it is on its way, and the segments its two ends send. */
import { echo, NO_BYTES, TCP, type Tcp, type Transport, tcp, text, udp } from '../../bpf/reference/packet.js';
import type { Peer } from '../../bpf/reference/translate.js';
import type { ClientSays, EndpointSays, Talk } from '../commands.js';
import type { ProxyHeader } from './proxy.js';
import type { Endpoint, Service } from './service.js';

/** How packets reach the endpoint. */
export type Kind = 'translated' | 'direct' | 'tunnelled';

/** `open`: both sides have spoken; `half`: one side has said that it is through. */
export type State = 'asked' | 'answered' | 'open' | 'half' | 'over';

/** What only the reason for it can take back. */
export interface Doom {
  readonly reset: boolean;
  readonly by: 'leaving' | 'failing';
}

export interface Flow {
  readonly talk: Talk;
  readonly service: Service;
  readonly endpoint: Endpoint;
  readonly kind: Kind;
  /** The endpoint is told the client. */
  readonly proxy: ProxyHeader | undefined;
  /** The endpoint's own address and port, and whom it sees as its client. */
  readonly at: Peer;
  readonly seen: Peer;
  state: State;
  /** Who is through. */
  readonly through: Set<'client' | 'endpoint'>;
  /** Packets of the client so far. */
  asked: number;
  /** Seconds. */
  last: number;
  /** It is to end when the daemon gets to it; with `reset` both ends are told, if it is open then. */
  doom: Doom | undefined;
  /** Sequence numbers each side sends next. */
  readonly next: { client: number; endpoint: number };
}

export const CLIENT_FIRST = 1000;
export const ENDPOINT_FIRST = 500_000;
/** One-way datagrams count as established with this many. */
const ENOUGH_DATAGRAMS = 9;

const FLAGS: Readonly<Record<ClientSays | EndpointSays, number>> = {
  ...{ syn: TCP.syn, ack: TCP.ack, data: TCP.psh | TCP.ack, fin: TCP.fin | TCP.ack, rst: TCP.rst },
  ...{ answer: TCP.syn | TCP.ack, reply: TCP.psh | TCP.ack, end: TCP.fin | TCP.ack, abort: TCP.rst | TCP.ack },
};

export function fresh(
  fields: Pick<Flow, 'talk' | 'service' | 'endpoint' | 'kind' | 'proxy' | 'at' | 'seen'>,
  now: number,
): Flow {
  const next = { client: CLIENT_FIRST + 1, endpoint: ENDPOINT_FIRST + 1 };
  return { ...fields, state: 'asked', through: new Set(), asked: 0, last: now, doom: undefined, next };
}

/** What the client sends; `flow` is the one it believes in. */
export function clientSegment(talk: Talk, say: ClientSays, flow: Flow | undefined): Transport {
  const { port: sourcePort, at: destinationPort } = talk;
  switch (talk.over) {
    case 'tcp': {
      const sequence = say === 'syn' ? CLIENT_FIRST : (flow?.next.client ?? CLIENT_FIRST + 1);
      const acknowledgment = say === 'syn' || say === 'rst' ? 0 : (flow?.next.endpoint ?? ENDPOINT_FIRST + 1);
      return segment(say, { sourcePort, destinationPort, sequence, acknowledgment });
    }
    case 'udp':
      return udp({ sourcePort, destinationPort });
    case 'icmp':
      return echo({ identifier: sourcePort });
  }
}

export function endpointSegment({ talk, at, seen, next }: Flow, say: EndpointSays): Transport {
  switch (talk.over) {
    case 'tcp': {
      const numbers =
        say === 'answer'
          ? { sequence: ENDPOINT_FIRST, acknowledgment: CLIENT_FIRST + 1 }
          : { sequence: next.endpoint, acknowledgment: next.client };
      return segment(say, { sourcePort: at.port, destinationPort: seen.port, ...numbers });
    }
    case 'udp':
      return udp({ sourcePort: at.port, destinationPort: seen.port });
    case 'icmp':
      return echo({ identifier: seen.port, reply: true });
  }
}

function segment(
  say: ClientSays | EndpointSays,
  fields: Pick<Tcp, 'sourcePort' | 'destinationPort'> & Partial<Tcp>,
): Tcp {
  const payload = say === 'data' || say === 'reply' ? text(`${say} of some bytes`) : NO_BYTES;
  return tcp({ flags: FLAGS[say], payload, ...fields });
}

/** Whether the packet begins a flow where there is none. Direct flows can begin anywhere: their answers are not seen. */
export function begins(talk: Talk, say: ClientSays): boolean {
  return talk.over !== 'tcp' || say === 'syn';
}

/** A SYN on a flow that has ended, or is ending, is the first packet of another. */
export function beginsAnew({ talk, state, kind }: Flow, say: ClientSays): boolean {
  if (talk.over !== 'tcp' || say !== 'syn') return false;
  return state === 'over' || (state === 'half' && kind === 'translated');
}

/** The endpoint answers a handshake of a flow that has ended: that is between the client and it. */
export function isBetweenThem({ talk, state }: Flow, say: EndpointSays): boolean {
  return talk.over === 'tcp' && say === 'answer' && (state === 'over' || state === 'half');
}

/** What a packet of the client makes of the flow. */
export function hearClient(flow: Flow, say: ClientSays): void {
  flow.asked++;
  if (flow.talk.over !== 'tcp') {
    const isEnough = flow.asked >= ENOUGH_DATAGRAMS && (flow.talk.over === 'udp' || flow.kind !== 'translated');
    if (isEnough) flow.state = 'open';
    return;
  }
  // The first packet of a direct flow only opens it, whatever it says.
  if (flow.kind !== 'translated') {
    if (flow.asked > 1) hearDirect(flow, say);
    return;
  }
  if (say === 'rst' && flow.state !== 'over') flow.state = 'over';
  if (say === 'syn' || say === 'rst') return;
  if (flow.state === 'answered') flow.state = 'open';
  hearSegment(flow, 'client', say);
}

function hearDirect(flow: Flow, say: ClientSays): void {
  if (say === 'rst' || say === 'fin') flow.state = 'over';
  else if (say !== 'syn' && flow.state === 'asked') flow.state = 'open';
}

export function hearEndpoint(flow: Flow, say: EndpointSays): void {
  if (flow.talk.over !== 'tcp') flow.state = 'open';
  else if (say === 'abort') flow.state = 'over';
  else if (say !== 'answer') hearSegment(flow, 'endpoint', say);
  else if (flow.state === 'asked') flow.state = 'answered';
}

function hearSegment(flow: Flow, who: 'client' | 'endpoint', say: ClientSays | EndpointSays): void {
  if (flow.state !== 'open' && flow.state !== 'half') return;
  if (say === 'data' || say === 'reply')
    flow.next[who] += segment(say, { sourcePort: 0, destinationPort: 0 }).payload.length;
  if (say !== 'fin' && say !== 'end') return;
  flow.next[who]++;
  flow.through.add(who);
  flow.state = flow.through.size === 2 ? 'over' : 'half';
}

/** Seconds the flow may be silent. */
export function patience({ talk, state, service }: Flow): number {
  if (state === 'open' || state === 'half') return service.rule.idle;
  return talk.over === 'tcp' ? 10 : 5;
}

export function isOpenTcp({ talk, state }: Flow): boolean {
  return talk.over === 'tcp' && (state === 'open' || state === 'half');
}
