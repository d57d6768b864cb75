/** What may happen to a balancer, as values: printed by a run that fails, pasted into `regressions/`. */

export type Protocol = 'tcp' | 'udp' | 'icmp';

export const MODE = { default: 0, onearm: 1, fullnat: 2, dsr: 3, hostonearm: 5 } as const;
export const SELECT = { rr: 0, hash: 1, priority: 2, persist: 3, lc: 4 } as const;
export const OPER = { replace: 0, attach: 1, detach: 2 } as const;

export interface EndpointAsked {
  readonly ip: string;
  readonly port: number;
  /** Last port of a span. */
  readonly portMax?: number;
  /** 1 unless given. */
  readonly weight?: number;
}

/** What makes a rule the same rule. */
export interface RuleName {
  readonly vip: string;
  readonly port: number;
  readonly portMax?: number;
  readonly protocol: Protocol;
  /** Firewall mark, 0 or absent for packets of any. */
  readonly mark?: number;
}

/** A POST. Members have the names of the wire where there is no shorter one. */
export interface RuleAsked extends RuleName {
  readonly oper?: number;
  readonly mode?: number;
  readonly sel?: number;
  readonly tunnel?: true;
  readonly ppv2?: true;
  readonly name?: string;
  readonly sources?: readonly string[];
  /** inactiveTimeOut, seconds. */
  readonly idle?: number;
  /** drainTimeout, seconds. */
  readonly drain?: number;
  /** onEndpointDown. */
  readonly down?: 'keep' | 'cut' | 'reset';
  readonly endpoints: readonly EndpointAsked[];
}

/** Who talks to what: for ICMP `port` is the identifier, and `at` 0. */
export interface Talk {
  readonly from: string;
  readonly port: number;
  readonly to: string;
  readonly at: number;
  readonly over: Protocol;
}

export type ClientSays = 'syn' | 'ack' | 'data' | 'fin' | 'rst';
/** `answer` is a SYN-ACK. */
export type EndpointSays = 'answer' | 'reply' | 'end' | 'abort';

export type Command =
  /**
   * `fail`: the n-th write to a map fails, so that the request does, unless it needs fewer. `dies`: the daemon ends just
   * before that write, or when it has answered, and comes back.
   */
  | { readonly do: 'post'; readonly rule: RuleAsked; readonly fail?: number; readonly dies?: number }
  | { readonly do: 'delete'; readonly rule: RuleName; readonly drain?: number; readonly fail?: number }
  | { readonly do: 'health'; readonly ip: string; readonly port: number; readonly over: Protocol; readonly up: boolean }
  /** Time goes by, and what the daemon had still to do is done; with `fail` at the second try, if need be. */
  | { readonly do: 'wait'; readonly seconds: number; readonly fail?: number }
  /** Ends all flows, or those of the services of a name. */
  | { readonly do: 'flush'; readonly name?: string }
  /** The daemon ends, in order or not, and comes back over the same maps. */
  | { readonly do: 'restart'; readonly crash?: true }
  /** The machine gets a further address, or loses it. */
  | { readonly do: 'address'; readonly up: boolean }
  | (Talk & { readonly do: 'client'; readonly say: ClientSays; readonly mark?: number })
  | (Talk & { readonly do: 'endpoint'; readonly say: EndpointSays });

export function nameText({ vip, port, portMax, protocol, mark }: RuleName): string {
  const last = portMax !== undefined && portMax > port ? `-${portMax}` : '';
  return `${vip} ${port}${last} ${protocol} ${mark ?? 0}`;
}

export function talkText({ from, port, to, at, over }: Talk): string {
  return `${from} ${port} > ${to} ${at} ${over}`;
}

/** A drain that is noted; `until` in seconds of the list. */
export interface Drain {
  readonly ip: string;
  readonly port: number;
  readonly name: RuleName;
  readonly until: number;
  readonly reset: boolean;
}

export function drainText({ ip, port, name, until, reset }: Drain): string {
  return `${ip} ${port} of ${nameText(name)} until ${until}${reset ? ', reset' : ''}`;
}

/** One command a line, as JSON. */
export function listText(commands: readonly Command[]): string {
  return `[\n${commands.map((command) => `  ${JSON.stringify(command)}`).join(',\n')}\n]`;
}
