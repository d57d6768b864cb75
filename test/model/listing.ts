/** What GET lists of rules against the model: states and counters. */
import { nameText } from './commands.js';
import { agree } from './disagreement.js';
import type { Balancer } from './model/balancer.js';
import type { Endpoint, Figures, Service } from './model/service.js';

interface ListedFigures extends Figures {
  readonly current: number;
}

interface ListedEndpoint {
  readonly endpointIP: string;
  readonly targetPort: number;
  readonly state: string;
  /** Ports of a span are counted with the first. */
  readonly stats?: ListedFigures;
}

interface ListedRule {
  readonly serviceArguments: {
    readonly externalIP: string;
    readonly port: number;
    readonly portMax?: number;
    readonly protocol: 'tcp' | 'udp' | 'icmp';
    readonly block?: number;
  };
  readonly endpoints: readonly ListedEndpoint[];
  readonly draining?: readonly ListedEndpoint[];
  readonly stats: ListedFigures;
}

export function compareList(listed: readonly unknown[], model: Balancer): void {
  const rules = new Map((listed as readonly ListedRule[]).map((rule) => [nameOf(rule), rule]));
  agree('rules', [...rules.keys()].sort(), [...model.directory.services.keys()].sort());
  for (const [name, service] of model.directory.services)
    compareRule(name, rules.get(name) as ListedRule, service, model);
}

function nameOf({ serviceArguments }: ListedRule): string {
  const { externalIP: vip, block: mark = 0, port, portMax = port, protocol } = serviceArguments;
  return nameText({ vip, port, portMax, protocol, mark });
}

function compareRule(name: string, rule: ListedRule, service: Service, model: Balancer): void {
  const draining = [...service.leaving].filter(({ deadline }) => deadline !== undefined);
  const active = (endpoint: Endpoint) => (model.directory.isUp(service, endpoint) ? 'active' : 'inactive');
  const should = service.endpoints.map((endpoint) => lineOf(endpoint, active(endpoint)));
  agree(`endpoints of ${name}`, linesOf(rule.endpoints), should);
  const leaving = draining.map((endpoint) => lineOf(endpoint, 'draining'));
  agree(`draining of ${name}`, linesOf(rule.draining ?? []).sort(), leaving.sort());
  agree(`figures of ${name}`, figuresText(rule.stats), figuresText(sumOf(service)));
}

function linesOf(listed: readonly ListedEndpoint[]): string[] {
  return listed.flatMap(({ endpointIP, targetPort, state, stats }) =>
    stats ? [`${endpointIP} ${targetPort} ${state} ${figuresText(stats)}`] : [],
  );
}

function lineOf(endpoint: Endpoint, state: string): string {
  return `${endpoint.text} ${state} ${figuresText({ ...endpoint.figures, current: endpoint.current })}`;
}

function figuresText({ packets, bytes, connections, current }: ListedFigures): string {
  return `${packets} packets ${bytes} bytes ${connections} flows ${current} live`;
}

function sumOf({ everyEndpoint, past }: Service): ListedFigures {
  const sum = { ...past, current: 0 };
  for (const { figures, current } of everyEndpoint) {
    sum.packets += figures.packets;
    sum.bytes += figures.bytes;
    sum.connections += figures.connections;
    sum.current += current;
  }
  return sum;
}
