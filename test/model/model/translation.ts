/** What packets of a flow become, by mode. The bytes are the reference's of test/bpf. */
import { translateFamily } from '../../bpf/reference/family.js';
import type { Packet } from '../../bpf/reference/packet.js';
import { type Peer, translate } from '../../bpf/reference/translate.js';
import { encapsulate } from '../../bpf/reference/tunnel.js';
import { departure } from '../../bpf/scenario.js';
import { MODE, type Talk } from '../commands.js';
import { hostOf, isV6, towardsEndpoints } from '../places.js';
import type { Flow, Kind } from './flow.js';
import { acknowledging, withHeader } from './proxy.js';
import { changesFamily, type Rule } from './rule.js';

export function kindOf({ mode, tunnel }: Rule, { to }: Talk, endpoint: string): Kind {
  if (mode !== MODE.dsr) return 'translated';
  return tunnel || isV6(to) !== isV6(endpoint) ? 'tunnelled' : 'direct';
}

/** Whom the endpoint sees as its client. */
export function seenAs(rule: Rule, { from, to }: Talk, endpoint: string): string {
  // It talks to itself: it sees the service.
  if (from === endpoint) return to;
  // A client has no address of the endpoint's family.
  if (changesFamily(rule, to, endpoint)) return towardsEndpoints(endpoint);
  switch (rule.mode) {
    case MODE.onearm:
    case MODE.hostonearm:
      return towardsEndpoints(endpoint);
    case MODE.fullnat:
      return rule.vip;
    default:
      return from;
  }
}

export function towardsEndpoint(flow: Flow, packet: Packet): Packet {
  const { kind, seen, at } = flow;
  const hop = departure(hostOf(at.address));
  if (kind === 'direct') return { ...packet, ethernet: hop };
  if (kind === 'tunnelled')
    return encapsulate(packet, { source: towardsEndpoints(at.address), destination: at.address, hop });
  return between(withHeader(flow, packet), seen, at);
}

export function towardsClient(flow: Flow, packet: Packet): Packet {
  const { talk } = flow;
  return between(
    acknowledging(flow, packet, -1),
    { address: talk.to, port: talk.at },
    { address: talk.from, port: talk.port },
  );
}

function between(packet: Packet, source: Peer, destination: Peer): Packet {
  const change = { source, destination, hop: departure(hostOf(destination.address)), hops: 1 };
  const isCrossing = isV6(destination.address) !== (packet.ip.version === 6);
  return isCrossing ? translateFamily(packet, change) : translate(packet, change);
}
