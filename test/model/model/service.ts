/** A rule in service: its endpoints, those that left and have flows yet, and what they had. */
import type { Rule, RuleEndpoint } from './rule.js';

export interface Figures {
  packets: number;
  bytes: number;
  connections: number;
}

/** An endpoint of one service: as long as it is in the rule, or flows of it run. */
export class Endpoint {
  readonly figures: Figures = { packets: 0, bytes: 0, connections: 0 };
  /** Live flows. */
  current = 0;
  /** It has left; its flows go on until this second. */
  deadline: { readonly at: number; readonly reset: boolean } | undefined;
  weight = 1;
  portMax = 0;

  constructor(
    readonly ip: string,
    readonly port: number,
  ) {}

  is({ ip, port }: Pick<RuleEndpoint, 'ip' | 'port'>): boolean {
    return this.ip === ip && this.port === port;
  }

  get text(): string {
    return `${this.ip} ${this.port}`;
  }
}

export class Service {
  rule: Rule;
  /** In the rule's order. */
  endpoints: Endpoint[] = [];
  readonly leaving = new Set<Endpoint>();
  /** Of endpoints that are gone. */
  readonly past: Figures = { packets: 0, bytes: 0, connections: 0 };
  /** persist: whom a client had, and when it last chose. */
  readonly clients = new Map<string, { readonly endpoint: Endpoint; readonly since: number }>();
  /** Whom new flows went to, one after the other, while the choice was the same. */
  turns: Turns = { among: '', taken: [], fresh: true };

  constructor(rule: Rule) {
    this.rule = rule;
  }

  /** Makes the endpoints those of `rule`, and returns the ones that left. Who comes back is who it was. */
  follow(rule: Rule): Endpoint[] {
    const known = [...this.endpoints, ...this.leaving];
    const before = this.endpoints;
    this.endpoints = rule.endpoints.map((wanted) => {
      const endpoint = known.find((one) => one.is(wanted)) ?? new Endpoint(wanted.ip, wanted.port);
      this.leaving.delete(endpoint);
      return Object.assign(endpoint, { weight: wanted.weight, portMax: wanted.portMax, deadline: undefined });
    });
    this.rule = rule;
    const left = before.filter((one) => !this.endpoints.includes(one));
    for (const endpoint of left) this.leaving.add(endpoint);
    return left;
  }

  /** Counters of an endpoint that is gone for good stay with the service. */
  forget(endpoint: Endpoint): void {
    this.leaving.delete(endpoint);
    const { figures } = endpoint;
    for (const name of ['packets', 'bytes', 'connections'] as const) this.past[name] += figures[name];
  }

  get isIdle(): boolean {
    return this.everyEndpoint.every(({ current }) => current === 0);
  }

  get everyEndpoint(): Endpoint[] {
    return [...this.endpoints, ...this.leaving];
  }
}

export interface Turns {
  /** The selection and the endpoints in question. */
  readonly among: string;
  readonly taken: Endpoint[];
  /** No flow has taken a turn since the service was made. */
  readonly fresh: boolean;
}
