/** The flows there are: by what the client says, and by what the endpoint says. */
import { type Protocol, type Talk, talkText } from '../commands.js';
import { type Doom, type Flow, isOpenTcp, patience } from './flow.js';
import { tellsWhenIdle } from './rule.js';
import type { Endpoint, Service } from './service.js';

/** Resets there must be, and those of which it is a matter of moments. */
export interface Resets {
  readonly must: Set<string>;
  readonly may: Set<string>;
}

export class Flows {
  private readonly asked = new Map<string, Flow>();
  private readonly answers = new Map<string, Flow>();
  /** Last flow of each talk, live or not: what its ends believe in. */
  private readonly last = new Map<string, Flow>();
  private resets: Resets = { must: new Set(), may: new Set() };

  find(talk: Talk): Flow | undefined {
    return this.asked.get(talkText(talk));
  }

  /** The flow answers like those of `believed` belong to. */
  findAnswered(believed: Flow): Flow | undefined {
    return this.answers.get(talkText(answersOf(believed)));
  }

  believed(talk: Talk): Flow | undefined {
    return this.last.get(talkText(talk));
  }

  has(talk: Talk): boolean {
    return this.asked.has(talkText(talk)) || this.answers.has(talkText(talk));
  }

  add(flow: Flow): void {
    this.asked.set(talkText(flow.talk), flow);
    this.last.set(talkText(flow.talk), flow);
    if (flow.kind === 'translated') this.answers.set(talkText(answersOf(flow)), flow);
    flow.endpoint.figures.connections++;
    flow.endpoint.current++;
  }

  /** `told`: both ends of a TCP flow that is open hear of it. */
  end(flow: Flow, how: 'told' | 'silent' | 'either' = 'silent'): void {
    this.asked.delete(talkText(flow.talk));
    this.answers.delete(talkText(answersOf(flow)));
    flow.endpoint.current--;
    if (how === 'silent' || !isOpenTcp(flow)) return;
    for (const reset of resetsOf(flow)) this.resets[how === 'told' ? 'must' : 'may'].add(reset);
  }

  /** They are to end, when the daemon gets to it. */
  doom(endpoint: Endpoint, doom: Doom): void {
    for (const flow of this.of(endpoint)) flow.doom ??= doom;
  }

  spare(endpoint: Endpoint, by: Doom['by']): void {
    for (const flow of this.of(endpoint)) if (flow.doom?.by === by) flow.doom = undefined;
  }

  /** Flows that are doomed, or have been silent for too long. */
  sweep(now: number): void {
    for (const flow of [...this.asked.values()]) {
      const isIdle = now - flow.last >= patience(flow);
      const tells = tellsWhenIdle(flow.service.rule) ? 'told' : 'silent';
      if (flow.doom && isIdle) this.end(flow, 'either');
      else if (flow.doom) this.end(flow, flow.doom.reset ? 'told' : 'silent');
      else if (isIdle) this.end(flow, tells);
    }
  }

  flush(isWanted: (service: Service) => boolean): void {
    for (const flow of [...this.asked.values()]) if (isWanted(flow.service)) this.end(flow);
  }

  /** A new daemon knows which flows were just to end, but not for sure whether their ends were to be told. */
  restart(): void {
    for (const flow of this.asked.values()) {
      if (!flow.doom || !isOpenTcp(flow)) continue;
      for (const reset of resetsOf(flow)) this.resets.may.add(reset);
      flow.doom = { ...flow.doom, reset: false };
    }
  }

  /** Since this was asked. */
  takeResets(): Resets {
    const { resets } = this;
    this.resets = { must: new Set(), may: new Set() };
    return resets;
  }

  /** What the flow table must have, an entry for each direction that comes by. */
  tuples(): string[] {
    return [...this.asked.keys(), ...this.answers.keys()];
  }

  private *of(endpoint: Endpoint): Iterable<Flow> {
    for (const flow of this.asked.values()) if (flow.endpoint === endpoint) yield flow;
  }
}

/** The endpoint's direction, as if it were a client's. */
export function answersOf({ at, seen, talk }: Flow): Talk {
  return tuple(at.address, at.port, seen.address, seen.port, talk.over);
}

export function tuple(from: string, port: number, to: string, at: number, over: Protocol): Talk {
  // An echo has one number for both.
  return { from, port, to, at: over === 'icmp' ? 0 : at, over };
}

/** To the client from the service, and to the endpoint from its client; of whom direct flows know too little. */
function resetsOf({ talk, kind, at, seen }: Flow): string[] {
  const toClient = `${talk.to} ${talk.at} > ${talk.from} ${talk.port}`;
  return kind === 'translated' ? [toClient, `${seen.address} ${seen.port} > ${at.address} ${at.port}`] : [toClient];
}
