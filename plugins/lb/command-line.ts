import { isIP } from 'node:net';
import { CommandError, type CommandRequest, type FlagValue } from '@loxilb/sdk/command';

/** The order requests are sent in. Printed maps are alphabetical. */
const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp'] as const;
type Protocol = (typeof PROTOCOLS)[number];
type Flags = Readonly<Record<string, FlagValue>>;

export const SELECTIONS = ['rr', 'hash', 'priority', 'persist', 'lc', 'n2', 'n3'] as const;
export const MODES = ['default', 'onearm', 'fullnat', 'dsr', 'fullproxy', 'hostonearm'] as const;
const TUNNELS = ['auto', 'ipip'] as const;
/** Longer spans are sent as one entry with a first and a last port. */
const MAX_LISTED_PORTS = 64;
const DOWN_ACTIONS = ['keep', 'cut', 'reset'] as const;
const SECURITIES: Readonly<Record<string, number>> = { none: 0, https: 1, tls: 1, e2ehttps: 2, e2etls: 2 };

interface Endpoint {
  readonly ip: string;
  readonly weight: number;
}

interface PortPair {
  readonly port: number;
  /** 0: a single port. */
  readonly portMax: number;
  readonly targets: readonly Target[];
}

/** A target port, or a span of more than clients list one by one. */
interface Target {
  readonly targetPort: number;
  readonly targetPortMax?: number;
}

export function planCreate(args: readonly string[], flags: Flags, print: (line: string) => void): CommandRequest[] {
  if (args.length > 1) print(`create lb command get so many args\n${goList(args)}`);
  const externalIP = args[0] ?? '';
  if (isIP(externalIP) === 0 || externalIP.includes('%')) {
    throw new CommandError(`Error: externel IP '${externalIP}' is invalid format`);
  }
  const settings = {
    sel: oneOf('select', text(flags.select) || 'rr', SELECTIONS),
    mode: oneOf('mode', text(flags.mode) || 'default', MODES),
    security: securityNumber(text(flags.security)),
    tunnel: tunnelWord(text(flags.tunnel)),
  };
  const secondary = list(flags.secips);
  if (secondary.length > 0 && list(flags.sctp).length === 0) {
    throw new CommandError('Secondary IPs allowed in SCTP only');
  }
  const wanted = protocolsOf(flags, ['0:0']);
  print(`ProtoPortpair: ${goMap(wanted)}`);
  if (wanted.size === 0) throw new CommandError('Error: no service port: give --tcp, --udp, --sctp or --icmp');
  const endpoints = list(flags.endpoints).map(parseEndpoint);
  const rules = [...wanted].map(([protocol, pairs]) => ({ protocol, ...parsePortPairs(pairs) }));
  return rules.map((rule) => {
    if (settings.mode === MODES.indexOf('dsr')) refuseTranslation(rule, endpoints);
    return {
      method: 'POST',
      path: '/config/loadbalancer',
      body: ruleBody(externalIP, rule, settings, endpoints, secondary, flags),
    };
  });
}

interface Settings {
  readonly sel: number;
  readonly mode: number;
  readonly security: number;
  readonly tunnel: string;
}

function ruleBody(
  externalIP: string,
  rule: PortPair & { protocol: Protocol },
  settings: Settings,
  endpoints: readonly Endpoint[],
  secondary: readonly string[],
  flags: Flags,
): unknown {
  const oper = flags.attachEP ? 1 : flags.detachEP ? 2 : 0;
  const sources = list(flags.sources);
  return {
    serviceArguments: {
      externalIP,
      port: rule.port,
      ...(rule.portMax !== 0 && { portMax: rule.portMax }),
      protocol: rule.protocol,
      sel: settings.sel,
      mode: settings.mode,
      ...(settings.tunnel && { tunnel: settings.tunnel }),
      BGP: flags.bgp === true,
      Monitor: flags.monitor === true,
      inactiveTimeOut: Number(flags.inatimeout ?? 0),
      ...(flags.drain !== undefined && { drainTimeout: Number(flags.drain) }),
      ...(flags.epdown && { onEndpointDown: DOWN_ACTIONS[oneOf('epdown', text(flags.epdown), DOWN_ACTIONS)] }),
      block: Number(flags.mark ?? 0),
      ...(flags.name && { name: flags.name }),
      ...(oper !== 0 && { oper }),
      ...(settings.security !== 0 && { security: settings.security }),
      ...(flags.host && { host: flags.host }),
      proxyprotocolv2: flags.ppv2en === true,
      egress: flags.egress === true,
    },
    secondaryIPs:
      secondary.length > 0 && rule.protocol === 'sctp' ? secondary.map((secondaryIP) => ({ secondaryIP })) : null,
    allowedSources: sources.length > 0 ? sources.map((prefix) => ({ prefix })) : null,
    endpoints:
      endpoints.length === 0
        ? null
        : endpoints.flatMap(({ ip, weight }) =>
            rule.targets.map((target) => ({ endpointIP: ip, ...target, weight, state: '', counter: '' })),
          ),
  };
}

/** The protocols that were asked for, in sending order, each with its list of ports. */
function protocolsOf(flags: Flags, icmp: readonly string[]): Map<Protocol, readonly string[]> {
  const wanted = new Map<Protocol, readonly string[]>();
  for (const protocol of PROTOCOLS) {
    if (protocol === 'icmp') {
      if (flags.icmp === true) wanted.set('icmp', icmp);
    } else if (list(flags[protocol]).length > 0) wanted.set(protocol, list(flags[protocol]));
  }
  return wanted;
}

/** `<ip>:<weight>`, split at the last colon because IPv6 addresses have them too. */
function parseEndpoint(item: string): Endpoint {
  const colon = item.lastIndexOf(':');
  if (colon < 0) throw new CommandError(`Error: endpoint '${item}' is invalid format`);
  const weight = item.slice(colon + 1);
  if (!/^[+]?\d+$/.test(weight) || Number(weight) > 255) {
    throw new CommandError(`Error: endpoint's weight '${weight}' is invalid format`);
  }
  return { ip: item.slice(0, colon), weight: Number(weight) };
}

/**
 * All items of a protocol describe one rule: two neighbouring service ports are a range, and the targets are those of
 * the first. Ports apart from each other are not taken for the ends of one: that would open all between them.
 */
function parsePortPairs(items: readonly string[]): PortPair {
  const targetsOf = new Map<number, Target[]>();
  if (!items.some((item) => item.includes(':'))) throw new CommandError('portPair: None specified');
  for (const item of items) {
    const colon = item.indexOf(':');
    if (colon < 0) throw new CommandError(`Error: '${item}' has no target port, as in '${item}:${item}'`);
    const range = item.slice(0, colon);
    const ports = range.split('-').map((part) => portNumber(part || range, 'port'));
    const targets = parseTargets(item.slice(colon + 1));
    for (const port of ports) targetsOf.set(port, [...(targetsOf.get(port) ?? []), ...targets]);
  }
  const ports = [...targetsOf.keys()];
  const [first] = ports;
  if (first === undefined || ports.length > 2) throw new CommandError('portPair: None specified');
  const port = Math.min(...ports);
  const portMax = ports.length === 2 ? Math.max(...ports) : 0;
  if (portMax > port + 1 && !items.some((item) => item.includes(`-${portMax}:`) || item.includes(`-${port}:`))) {
    const range = `${port}-${portMax}`;
    throw new CommandError(
      `Error: ports ${port} and ${portMax} are two rules, one command each; '${range}:' is a range`,
    );
  }
  return { port, portMax, targets: withoutRepeats(targetsOf.get(first) ?? []) };
}

function withoutRepeats(targets: readonly Target[]): Target[] {
  return [...new Map(targets.map((target) => [`${target.targetPort}-${target.targetPortMax}`, target])).values()];
}

function parseTargets(spec: string): Target[] {
  const dash = spec.indexOf('-');
  if (dash < 0) return [{ targetPort: portNumber(spec, 'targetPort0') }];
  const start = portNumber(spec.slice(0, dash), 'targetPort1');
  const end = portNumber(spec.slice(dash + 1), 'targetPort2');
  if (end < start) throw new CommandError(`Error: targetPort2 '${end}' <  targetPort2 '${start}'`);
  const count = end - start + 1;
  if (count > MAX_LISTED_PORTS) return [{ targetPort: start, targetPortMax: end }];
  return Array.from({ length: count }, (_, index) => ({ targetPort: start + index }));
}

function portNumber(part: string, what: string): number {
  if (!/^[+-]?\d+$/.test(part)) throw new CommandError(`Error: ${what} '${part}' is not integer`);
  const port = Number(part);
  if (port < 0 || port > 65535) throw new CommandError(`Error: ${what} '${part}' is out of range (0-65535)`);
  return port;
}

/** Direct server return leaves the packet as it is, so the server must listen on the service's ports. */
function refuseTranslation({ port, portMax, targets }: PortPair, endpoints: readonly Endpoint[]): void {
  const targeted = targets.flatMap(({ targetPort, targetPortMax = targetPort }) => [targetPort, targetPortMax]);
  const [first, last] = [Math.min(...targeted), Math.max(...targeted)];
  if (endpoints.length === 0 || (first === port && (last === port || last === portMax))) return;
  throw new CommandError('Error: No port-translation in dsr mode');
}

export function planDelete(args: readonly string[], flags: Flags, print: (line: string) => void): CommandRequest[] {
  const name = text(flags.name);
  if (name !== '') {
    const transportError = `Error: Failed to delete LoadBalancer(Name: ${name})`;
    const query = flags.drain === undefined ? '' : `?drain=${Number(flags.drain)}`;
    return [{ method: 'DELETE', path: `/config/loadbalancer/name/${segment(name)}${query}`, transportError }];
  }
  const ip = args[0];
  if (ip === undefined) throw new CommandError('not valid EXTERNAL-IP');
  if (args.length > 1) print(`delete lb command too many args\n${goList(args)}`);
  const wanted = new Map<Protocol, readonly string[]>();
  for (const [protocol, items] of protocolsOf(flags, ['0', '0'])) {
    wanted.set(protocol, protocol === 'icmp' ? items : items.flatMap((item) => item.split('-')));
  }
  print(`PortNumberList: ${goMap(wanted)}`);
  if (wanted.size === 0) throw new CommandError('Error: no service port: give --tcp, --udp, --sctp, --icmp or --name');
  return [...wanted].map(([protocol, ports]) => deleteRequest(ip, protocol, ports, flags));
}

function deleteRequest(ip: string, protocol: Protocol, ports: readonly string[], flags: Flags): CommandRequest {
  if (ports.length > 2) {
    const where = `ExternalIP: ${ip}, ${protocol}, Port:${goList(ports)}`;
    throw new CommandError(`Error: Too many ports in list to delete LoadBalancer(${where})`);
  }
  const numbers = ports.map((port) => {
    if (/^\d+$/.test(port) && Number(port) <= 65535) return Number(port);
    throw new CommandError(`Error: Invalid port in list to delete LoadBalancer(ExternalIP: ${ip},Port:${port})`);
  });
  const host = text(flags.host) || 'any';
  const [port, portMax] = [Math.min(...numbers), numbers.length === 2 ? Math.max(...numbers) : 0];
  const where = ['hosturl', host, 'externalipaddress', ip, 'port', port, 'portmax', portMax, 'protocol', protocol];
  const drain = flags.drain === undefined ? '' : `&drain=${Number(flags.drain)}`;
  const query = `bgp=${flags.bgp === true}&block=${Number(flags.mark ?? 0)}${drain}`;
  return {
    method: 'DELETE',
    path: `/config/loadbalancer/${where.map((part) => segment(String(part))).join('/')}?${query}`,
    before: [`subResources: ${goList(where)}`],
    transportError: `Error: Failed to delete LoadBalancer(ExternalIP: ${ip}, Protocol:${protocol}, Port:${goList(ports)})`,
  };
}

function securityNumber(word: string): number {
  const security = word === '' ? 0 : SECURITIES[word];
  if (security === undefined) {
    throw new CommandError(`Error: security '${word}' is invalid (${Object.keys(SECURITIES).join(', ')})`);
  }
  return security;
}

/** Empty for what the daemon does anyway, which other daemons then understand as well. */
function tunnelWord(word: string): string {
  if (word === '') return '';
  const index = oneOf('tunnel', word, TUNNELS);
  return index === 0 ? '' : word;
}

function oneOf(flag: string, word: string, words: readonly string[]): number {
  const index = words.indexOf(word);
  if (index < 0) throw new CommandError(`Error: ${flag} '${word}' is invalid (${words.join(', ')})`);
  return index;
}

/** A path segment. Colons of IPv6 addresses stay readable. */
export function segment(value: string): string {
  return encodeURIComponent(value).replaceAll('%3A', ':');
}

function goMap(ports: ReadonlyMap<string, readonly string[]>): string {
  const entries = [...ports].sort(([a], [b]) => (a < b ? -1 : 1));
  return `map[${entries.map(([protocol, items]) => `${protocol}:${goList(items)}`).join(' ')}]`;
}

function goList(items: readonly unknown[]): string {
  return `[${items.join(' ')}]`;
}

function list(value: FlagValue): readonly string[] {
  return Array.isArray(value) ? value : [];
}

function text(value: FlagValue): string {
  return typeof value === 'string' ? value : '';
}
