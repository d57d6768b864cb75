/**
 * What a balancer must do, in as few words as possible. Packets go in one by one and the model says what must come out;
 * where the balancer has a choice - whom a new flow goes to - the model is told, and says whether it was a right one.
 */
import type { Packet } from '../../bpf/reference/packet.js';
import { packetFrom } from '../../bpf/scenario.js';
import {
  type ClientSays,
  type Drain,
  type EndpointSays,
  MODE,
  type Protocol,
  type RuleAsked,
  type RuleName,
  type Talk,
} from '../commands.js';
import { covers, hostOf } from '../places.js';
import { Directory } from './directory.js';
import {
  begins,
  beginsAnew,
  clientSegment,
  endpointSegment,
  type Flow,
  hearClient,
  hearEndpoint,
  isBetweenThem,
} from './flow.js';
import { answersOf, Flows, type Resets } from './flows.js';
import { openFlow } from './opening.js';
import { acknowledging, isUsual } from './proxy.js';
import { merged, type Rule } from './rule.js';
import { eligible, type Hashed } from './selection.js';
import type { Endpoint, Service } from './service.js';
import { towardsClient, towardsEndpoint } from './translation.js';

/** `opens`: the packet goes to an endpoint of the balancer's choice; `accept` is told, and says what is right. */
export type Outcome =
  | { readonly is: 'untouched' | 'dropped' | 'refused' }
  | { readonly is: 'forwarded'; readonly packet: Packet }
  | { readonly is: 'opens'; accept(out: Packet): Packet };

/** A packet that is sent, and what must come of it. */
export interface Prediction {
  readonly packet: Packet;
  readonly outcome: Outcome;
}

export class Balancer {
  readonly directory = new Directory();
  readonly flows = new Flows();
  /** Services whose rule is gone and whose flows are not. */
  private readonly gone = new Set<Service>();
  private readonly hashed: Hashed = new Map();
  /** Seconds as packets see them, and as deadlines do. */
  private now = 0;
  private wall = 0;

  /** A request that is right. */
  post(asked: RuleAsked): void {
    const desired = merged(this.directory.find(asked)?.rule, asked);
    if (desired === undefined) {
      this.delete(asked, asked.drain);
      return;
    }
    const { service, left } = this.directory.follow(asked, desired);
    // Who is back before its flows were ended keeps them.
    for (const endpoint of service.endpoints) {
      this.flows.spare(endpoint, 'leaving');
      // Nobody knew any more that it had failed.
      if (this.directory.isUp(service, endpoint)) this.flows.spare(endpoint, 'failing');
    }
    for (const endpoint of left) this.leave(endpoint, desired, asked.drain);
  }

  delete(name: RuleName, drain?: number): void {
    const service = this.directory.delete(name);
    if (!service) return;
    this.gone.add(service);
    for (const endpoint of service.everyEndpoint) {
      // What is to be cut already does not drain.
      const isEnding = service.leaving.has(endpoint) && endpoint.deadline === undefined;
      this.leave(endpoint, service.rule, isEnding ? 0 : drain);
    }
  }

  /** Endpoints that drain, as they are noted. */
  get drains(): Drain[] {
    return this.everyService.flatMap(({ rule, everyEndpoint }) =>
      everyEndpoint.flatMap(({ ip, port, deadline }) =>
        deadline ? [{ ip, port, name: rule, until: deadline.at, reset: deadline.reset }] : [],
      ),
    );
  }

  /** Flows of an endpoint that leaves end, or go on for a while: as the request says, else the rule. */
  private leave(endpoint: Endpoint, { down, drain }: Rule, asked: number | undefined): void {
    const seconds = asked ?? drain ?? 0;
    const reset = down === 'reset';
    endpoint.deadline = seconds > 0 ? { at: Math.ceil(this.wall) + seconds, reset } : undefined;
    if (seconds === 0) this.flows.doom(endpoint, { reset, by: 'leaving' });
  }

  /** What a prober found. False when no rule has the endpoint. */
  health(ip: string, port: number, over: Protocol, up: boolean): boolean {
    const changed = this.directory.setHealth(ip, port, over, up);
    for (const [{ rule }, endpoint] of changed ?? []) {
      const { down = 'keep' } = rule;
      if (up) this.flows.spare(endpoint, 'failing');
      else if (down !== 'keep') this.flows.doom(endpoint, { reset: down === 'reset', by: 'failing' });
    }
    return changed !== undefined;
  }

  /** Packets see `seconds` go by, deadlines `wall`. Then everything that was to end has ended. */
  wait(seconds: number, wall: number): void {
    this.now += seconds;
    this.wall += wall;
    for (const service of this.everyService) this.reachDeadlines(service);
    this.flows.sweep(this.now);
    for (const service of this.everyService) {
      for (const endpoint of service.everyEndpoint) if (endpoint.current === 0) endpoint.deadline = undefined;
      for (const endpoint of service.leaving) if (endpoint.current === 0) service.forget(endpoint);
    }
    for (const service of this.gone) if (service.isIdle) this.gone.delete(service);
  }

  private reachDeadlines({ everyEndpoint }: Service): void {
    for (const endpoint of everyEndpoint) {
      const { deadline } = endpoint;
      if (deadline === undefined || deadline.at > this.wall) continue;
      endpoint.deadline = undefined;
      this.flows.doom(endpoint, { reset: deadline.reset, by: 'leaving' });
    }
  }

  private get everyService(): Service[] {
    return [...this.directory.services.values(), ...this.gone];
  }

  flush(name?: string): void {
    const named = new Set([...this.directory.services.values()].filter(({ rule }) => rule.name === name));
    this.flows.flush((service) => name === undefined || named.has(service));
  }

  /** Everything is in the maps. */
  restart(): void {
    this.flows.restart();
  }

  takeResets(): Resets {
    return this.flows.takeResets();
  }

  /** Undefined when the client would not say that. */
  fromClient(talk: Talk, say: ClientSays, mark: number): Prediction | undefined {
    const packet = packetFrom(hostOf(talk.from), talk.to, clientSegment(talk, say, this.flows.believed(talk)));
    const flow = this.flows.find(talk);
    if (flow && !isUsual(flow, say)) return undefined;
    if (flow && beginsAnew(flow, say)) this.flows.end(flow);
    else if (flow) return { packet, outcome: { is: 'forwarded', packet: this.goOn(flow, say, packet) } };
    return { packet, outcome: this.open(talk, say, mark, packet, begins(talk, say)) };
  }

  /** Nothing but its own end takes a flow from its endpoint. */
  private goOn(flow: Flow, say: ClientSays, packet: Packet): Packet {
    hearClient(flow, say);
    this.count(flow, packet);
    return towardsEndpoint(flow, packet);
  }

  private open(talk: Talk, say: ClientSays, mark: number, packet: Packet, canBegin: boolean): Outcome {
    const service = this.directory.serviceOf(talk, mark);
    if (!service) return { is: 'untouched' };
    const { sources, mode } = service.rule;
    if (sources.length > 0 && !sources.some((prefix) => covers(prefix, talk.from))) return { is: 'dropped' };
    // Answers of dsr do not come by: a flow may be met in its middle.
    if (!canBegin && mode !== MODE.dsr) return { is: 'untouched' };
    const active = service.endpoints.filter((endpoint) => this.directory.isUp(service, endpoint));
    if (eligible(service, active).length === 0) return { is: 'refused' };
    const { now, flows, hashed } = this;
    return {
      is: 'opens',
      accept: (out) => {
        const flow = openFlow({ talk, service, active, now, flows, hashed }, out);
        flows.add(flow);
        return this.goOn(flow, say, packet);
      },
    };
  }

  /**
   * A packet of the endpoint the client believes it talks to. Undefined when there was none, or it answers by itself or
   * would not say that.
   */
  fromEndpoint(talk: Talk, say: EndpointSays): Prediction | undefined {
    const believed = this.flows.believed(talk);
    if (believed?.kind !== 'translated') return undefined;
    const segment = endpointSegment(believed, say);
    const packet = acknowledging(believed, packetFrom(hostOf(believed.at.address), believed.seen.address, segment), 1);
    // Somebody else's by now, perhaps, with the same ports.
    const flow = this.flows.findAnswered(believed);
    if (flow && (!isUsual(flow, say) || (flow !== believed && (flow.proxy || believed.proxy)))) return undefined;
    // As a client it has been taken for, by direct server return.
    if (this.flows.find(answersOf(believed))) return undefined;
    if (!flow) return { packet, outcome: this.open(answersOf(believed), 'ack', 0, packet, false) };
    if (isBetweenThem(flow, say)) {
      this.flows.end(flow);
      return { packet, outcome: { is: 'untouched' } };
    }
    hearEndpoint(flow, say);
    if (flow.proxy && say !== 'answer') flow.proxy.hasArrived = true;
    this.count(flow, packet);
    return { packet, outcome: { is: 'forwarded', packet: towardsClient(flow, packet) } };
  }

  private count(flow: Flow, { ip, transport }: Packet): void {
    flow.last = this.now;
    flow.endpoint.figures.packets++;
    flow.endpoint.figures.bytes += lengthOf(ip.version, transport);
  }
}

/** Of the IP packet, in bytes. */
function lengthOf(version: 4 | 6, transport: Packet['transport']): number {
  const header = version === 4 ? 20 : 40;
  if (transport.kind === 'tcp') return header + 20 + transport.options.length + transport.payload.length;
  if (transport.kind === 'udp' || transport.kind === 'echo') return header + 8 + transport.payload.length;
  throw new Error(`no flow sends ${transport.kind}`);
}
