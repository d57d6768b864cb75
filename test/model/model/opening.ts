/** What is right of a new flow: the balancer has chosen, and the packet it sent says what. */
import type { Packet } from '../../bpf/reference/packet.js';
import { type Talk, talkText } from '../commands.js';
import { Disagreement } from '../disagreement.js';
import { hostOf } from '../places.js';
import { type Flow, fresh } from './flow.js';
import { type Flows, tuple } from './flows.js';
import { proxyOf } from './proxy.js';
import { choose, type Hashed } from './selection.js';
import type { Endpoint, Service } from './service.js';
import { kindOf, seenAs } from './translation.js';

export interface Opening {
  readonly talk: Talk;
  readonly service: Service;
  /** Endpoints that are up. */
  readonly active: readonly Endpoint[];
  readonly now: number;
  readonly flows: Flows;
  readonly hashed: Hashed;
}

/** The flow, or a disagreement. */
export function openFlow(opening: Opening, out: Packet): Flow {
  const { talk, service, now } = opening;
  const endpoint = service.endpoints.find((one) => goesTo(one, kindOf(service.rule, talk, one.ip), talk, out));
  if (!endpoint) throw new Disagreement('stranger', `${talkText(talk)} went to ${out.ip.destination}, no endpoint`);
  choose(service, endpoint, opening);
  const kind = kindOf(service.rule, talk, endpoint.ip);
  const seen = { address: seenAs(service.rule, talk, endpoint.ip), port: talk.port };
  if (kind !== 'translated')
    return fresh(
      { talk, service, endpoint, kind, proxy: undefined, at: { address: endpoint.ip, port: talk.at }, seen },
      now,
    );
  const at = { address: endpoint.ip, port: portsOf(out).destination };
  if (talk.over !== 'icmp') checkPort(opening, endpoint, at.port);
  seen.port = checkSource(opening, at, seen, portsOf(out).source);
  return fresh({ talk, service, endpoint, kind, proxy: proxyOf(service.rule, talk), at, seen }, now);
}

/** Whether the packet went to this endpoint: by its MAC address where that is all that changes. */
function goesTo({ ip, port, portMax }: Endpoint, kind: Flow['kind'], { to, over }: Talk, out: Packet): boolean {
  if (kind === 'direct') return out.ip.destination === to && out.ethernet.destination === hostOf(ip).mac;
  if (out.ip.destination !== ip) return false;
  const { destination } = kind === 'tunnelled' || over === 'icmp' ? { destination: port } : portsOf(out);
  return port <= destination && destination <= portMax;
}

/** An echo has one number for both. */
function portsOf({ transport }: Packet): { readonly source: number; readonly destination: number } {
  if (transport.kind === 'echo') return { source: transport.identifier, destination: transport.identifier };
  if (transport.kind !== 'tcp' && transport.kind !== 'udp') throw new Disagreement('stranger', transport.kind);
  return { source: transport.sourcePort, destination: transport.destinationPort };
}

/** The n-th port of a range goes to the n-th of a span of its length; otherwise any of a span is right, and stays. */
function checkPort({ talk, service: { rule }, hashed }: Opening, endpoint: Endpoint, port: number): void {
  const { port: first, portMax: last } = endpoint;
  const isShifted = last > first && last - first === rule.portMax - rule.port;
  const wanted = isShifted ? first + talk.at - rule.port : first;
  const isAny = last > first && !isShifted;
  const key = `port of ${endpoint.text}-${last} ${talkText(talk)}`;
  const before = hashed.get(key) ?? String(port);
  const isRight = isAny ? first <= port && port <= last && before === String(port) : port === wanted;
  if (!isRight) throw new Disagreement('port', `${talkText(talk)} went to port ${port} of ${endpoint.text}-${last}`);
  if (isAny) hashed.set(key, before);
}

/** The client's port, unless the endpoint would take the flow for another one then. */
function checkSource({ talk, flows }: Opening, at: Flow['at'], seen: Flow['seen'], port: number): number {
  const { over } = talk;
  const isTaken = (candidate: number): boolean =>
    flows.has(tuple(at.address, over === 'icmp' ? candidate : at.port, seen.address, candidate, over));
  const isRight = isTaken(talk.port) ? port >= 1024 && !isTaken(port) : port === talk.port;
  if (!isRight) throw new Disagreement('source', `${talkText(talk)} reached ${at.address} from port ${port}`);
  return port;
}
