/** Random commands out of a small world, so that things meet: few addresses, few ports, the same clients again. */
import { CLIENT_SIDE } from '../bpf/network.js';
import { seeded } from '../bpf/reference/random.js';
import {
  type ClientSays,
  type Command,
  type EndpointAsked,
  type EndpointSays,
  MODE,
  OPER,
  type Protocol,
  type RuleAsked,
  type RuleName,
  SELECT,
  type Talk,
} from './commands.js';
import { FURTHER_ADDRESS, hostOf, isV6, MACHINE } from './places.js';

const VIPS = [
  '20.20.20.1',
  '20.20.20.1',
  '20.20.20.2',
  '2001:db8:20::1',
  '2001:db8:20::1',
  '10.0.1.1',
  '0.0.0.0',
  '::',
];
const PORTS = [{ port: 80 }, { port: 80 }, { port: 85 }, { port: 80, portMax: 89 }, { port: 85, portMax: 99 }];
const CLIENTS = {
  4: ['10.0.1.10', '10.0.1.11', '10.0.1.12', '10.0.2.11'],
  6: ['2001:db8:1::10', '2001:db8:1::11', '2001:db8:2::11'],
} as const;
const ENDPOINTS = {
  4: ['10.0.2.11', '10.0.2.12', '10.0.2.13', '10.0.2.14'],
  6: ['2001:db8:2::11', '2001:db8:2::12', '2001:db8:2::13'],
} as const;
const SOURCES = {
  4: ['10.0.1.10/32', '10.0.1.8/30', '10.0.0.0/8', '10.0.2.0/24'],
  6: ['2001:db8:1::10/128', '2001:db8:1::/64', '2001:db8::/32'],
} as const;
const CLIENT_PORTS = [40_000, 40_001, 40_002];
const WAITS = [0, 0, 0, 3, 3, 12, 70, 300];
/** What a TCP connection goes through, more or less. */
const SCRIPT: readonly (ClientSays | EndpointSays)[] = [
  'syn',
  'answer',
  'ack',
  'data',
  'reply',
  'data',
  'fin',
  'end',
  'ack',
];
const ANYTHING: readonly (ClientSays | EndpointSays)[] = [
  ...(['syn', 'ack', 'data', 'fin', 'rst'] as const),
  ...(['answer', 'reply', 'end', 'abort'] as const),
];
const ENDPOINT_SAYS: readonly string[] = ['answer', 'reply', 'end', 'abort'];

interface Conversation {
  readonly talk: Talk;
  readonly mark: number;
  step: number;
}

export function generate(seed: number, length: number): Command[] {
  return new Generator(seeded(seed)).commands(length);
}

class Generator {
  /** Rules asked for lately, whatever became of them. */
  private readonly rules: RuleAsked[] = [];
  private readonly conversations: Conversation[] = [];

  constructor(private readonly random: () => number) {}

  commands(length: number): Command[] {
    const list = [this.post(), this.post()];
    while (list.length < length) list.push(...this.some());
    return list.slice(0, length);
  }

  private some(): Command[] {
    const dice = this.random();
    if (dice < 0.11) return [this.post()];
    if (dice < 0.13) return [this.delete()];
    if (dice < 0.18) return [this.health()];
    if (dice < 0.24) return [this.wait()];
    if (dice < 0.25) return [this.chance(0.5) ? { do: 'flush' } : { do: 'flush', name: this.one(['a', 'b']) }];
    if (dice < 0.265) return [this.chance(0.5) ? { do: 'restart' } : { do: 'restart', crash: true }];
    if (dice < 0.28) return [{ do: 'address', up: this.chance(0.5) }];
    if (dice < 0.3) return this.burst();
    return [this.say()];
  }

  private post(): Command {
    const again = this.rules.length > 0 && this.chance(0.6);
    const rule = again ? this.changed(this.one(this.rules)) : this.rule();
    this.rules.push(rule);
    if (this.rules.length > 6) this.rules.shift();
    if (this.chance(0.1)) return { do: 'post', rule, fail: 1 + this.below(14) };
    return this.chance(0.05) ? { do: 'post', rule, dies: 1 + this.below(14) } : { do: 'post', rule };
  }

  private rule(): RuleAsked {
    const vip = this.one(VIPS);
    const protocol: Protocol = this.one(['tcp', 'tcp', 'tcp', 'udp', 'udp', 'icmp']);
    const ports = protocol === 'icmp' ? { port: 0 } : this.one(PORTS);
    const name = { vip, ...ports, protocol, ...(this.chance(0.15) ? { mark: 7 } : {}) };
    return this.filled(name, {});
  }

  private changed(rule: RuleAsked): RuleAsked {
    const { vip, port, portMax, protocol, mark } = rule;
    const name = { vip, port, protocol, ...(portMax ? { portMax } : {}), ...(mark ? { mark } : {}) };
    const dice = this.random();
    if (dice < 0.1) return rule;
    if (dice < 0.35)
      return {
        ...name,
        oper: OPER.attach,
        ...this.members(name, 0.1),
        endpoints: this.endpoints(name, this.modeOf(rule)),
      };
    if (dice < 0.6) {
      const drain = this.chance(0.5) ? { drain: this.one([0, 10, 60]) } : {};
      return { ...name, oper: OPER.detach, ...drain, endpoints: this.subset(rule.endpoints) };
    }
    if (dice < 0.8) return { ...rule, oper: OPER.replace, endpoints: this.endpoints(name, this.modeOf(rule)) };
    return this.filled(name, rule);
  }

  private modeOf({ mode = MODE.default }: Partial<RuleAsked>): number {
    return mode;
  }

  private filled(name: RuleName, before: Partial<RuleAsked>): RuleAsked {
    const isAny = name.vip === '0.0.0.0' || name.vip === '::';
    const mode = isAny ? MODE.hostonearm : this.one([0, 0, 1, 1, 2, 2, 3]);
    const sel = mode === MODE.dsr ? SELECT.hash : this.one(Object.values(SELECT));
    const tunnel = mode === MODE.dsr && this.chance(0.4) ? { tunnel: true as const } : {};
    const rule = { ...name, mode, sel, ...tunnel, ...this.members(name, 0.25), endpoints: this.endpoints(name, mode) };
    // Now and then something that cannot be.
    if (this.chance(0.03)) return { ...rule, mode: this.one([0, 3, 5]) };
    return before.endpoints && this.chance(0.5) ? { ...rule, endpoints: this.endpoints(name, mode) } : rule;
  }

  /** Optional members, each with this chance. */
  private members({ vip, protocol }: RuleName, chance: number): Partial<RuleAsked> {
    const all: Partial<RuleAsked> = {
      name: this.one(['a', 'b']),
      sources: this.subset(SOURCES[isV6(vip) ? 6 : 4]),
      idle: this.one([30, 60, 240]),
      drain: this.one([0, 10, 60]),
      down: this.one(['keep', 'cut', 'reset'] as const),
      ppv2: true,
    };
    const chances: Record<string, number> = { ppv2: protocol === 'tcp' ? 0.2 : 0.03 };
    return Object.fromEntries(Object.entries(all).filter(([name]) => this.chance(chances[name] ?? chance)));
  }

  private endpoints({ vip, port, portMax = port, protocol }: RuleName, mode: number): EndpointAsked[] {
    const family = isV6(vip) ? 6 : 4;
    const pool = this.chance(0.2) ? [...ENDPOINTS[4], ...ENDPOINTS[6]] : [...ENDPOINTS[family]];
    const ownPorts = { port, ...(portMax > port ? { portMax } : {}) };
    const spans = [{ port: 8080 }, { port: 8080 }, { port: 9000 }, { port: 9100, portMax: 9100 + portMax - port }];
    spans.push({ port: 9200, portMax: 9211 });
    const isFixed = protocol === 'icmp' || mode === MODE.dsr;
    return this.subset(pool).map((ip) => {
      const ports = isFixed ? (protocol === 'icmp' ? { port: 0 } : ownPorts) : this.one(spans);
      const weight = this.chance(0.3) ? { weight: this.one([0, 0, 1, 2, 3, 6]) } : {};
      return {
        ip,
        port: ports.port,
        ...('portMax' in ports && ports.portMax !== ports.port ? { portMax: ports.portMax } : {}),
        ...weight,
      };
    });
  }

  private wait(): Command {
    const seconds = this.one(WAITS);
    return this.chance(0.2) ? { do: 'wait', seconds, fail: 1 + this.below(6) } : { do: 'wait', seconds };
  }

  private delete(): Command {
    const gone = this.one(this.rules);
    const { vip, port, portMax, protocol, mark } = gone;
    const rule = { vip, port, protocol, ...(portMax ? { portMax } : {}), ...(mark ? { mark } : {}) };
    if (this.rules.length > 1 && this.chance(0.5)) this.rules.splice(this.rules.indexOf(gone), 1);
    const drain = this.chance(0.4) ? { drain: this.one([0, 10, 60]) } : {};
    return { do: 'delete', rule, ...drain, ...(this.chance(0.1) ? { fail: 1 + this.below(8) } : {}) };
  }

  private health(): Command {
    const rule = this.one(this.rules);
    const { ip, port } = this.one(rule.endpoints);
    return { do: 'health', ip, port, over: rule.protocol, up: this.chance(0.5) };
  }

  private say(): Command {
    const { conversations } = this;
    if (conversations.length === 0 || this.chance(0.25)) conversations.push(this.conversation());
    if (conversations.length > 6) conversations.shift();
    const conversation = this.chance(0.6) ? (conversations.at(-1) as Conversation) : this.one(conversations);
    const { talk, mark } = conversation;
    const say = this.next(conversation);
    if (ENDPOINT_SAYS.includes(say)) return { do: 'endpoint', ...talk, say: say as EndpointSays };
    return { do: 'client', ...talk, say: say as ClientSays, ...(mark ? { mark } : {}) };
  }

  /** Many flows of one service, one after the other; or many packets of one. */
  private burst(): Command[] {
    const { talk, mark } = this.conversation();
    const say: ClientSays = talk.over === 'tcp' ? 'syn' : 'data';
    const marked = mark ? { mark } : {};
    if (this.chance(0.2)) return Array.from({ length: 10 }, () => ({ do: 'client', ...talk, say, ...marked }));
    return Array.from({ length: 12 }, (_, index) => ({ do: 'client', ...talk, port: 41_000 + index, say, ...marked }));
  }

  private next(conversation: Conversation): ClientSays | EndpointSays {
    if (conversation.talk.over !== 'tcp') return this.one(['data', 'data', 'reply']);
    if (this.chance(0.15)) return this.one(ANYTHING);
    return SCRIPT[conversation.step++ % SCRIPT.length] ?? 'syn';
  }

  private conversation(): Conversation {
    const { vip, port, portMax = port, protocol: over, mark = 0 } = this.one(this.rules);
    const isAny = vip === '0.0.0.0' || vip === '::';
    const own = [...MACHINE, FURTHER_ADDRESS].filter((address) => isV6(address) === isV6(vip));
    const to = isAny ? this.one(own) : vip;
    const at = this.chance(0.05) && over !== 'icmp' ? port + 1 : port + this.below(portMax - port + 1);
    // An endpoint that pings itself has one number for both directions.
    const from = this.one(
      CLIENTS[isV6(vip) ? 6 : 4].filter((client) => over !== 'icmp' || hostOf(client).device === CLIENT_SIDE),
    );
    const talk = { from, port: this.one(CLIENT_PORTS), to, at, over };
    return { talk, mark: this.chance(0.9) ? mark : this.one([0, 7]), step: 0 };
  }

  private subset<T>(from: readonly T[]): T[] {
    const shuffled = from.map((one) => ({ one, order: this.random() })).sort((a, b) => a.order - b.order);
    return shuffled.slice(0, 1 + this.below(Math.min(4, from.length))).map(({ one }) => one);
  }

  private one<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  private below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  private chance(probability: number): boolean {
    return this.random() < probability;
  }
}
