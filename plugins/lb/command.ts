import { CommandError, type CommandSpec, type Flag } from '@loxilb/sdk/command';
import { MODES, planCreate, planDelete, SELECTIONS, segment } from './command-line.js';

interface Rule {
  readonly serviceArguments: {
    readonly externalIP: string;
    readonly port: number;
    readonly portMax?: number;
    readonly protocol?: string;
    readonly sel?: number;
    readonly mode?: number;
    readonly tunnel?: string;
    readonly security?: number;
    readonly block?: number;
    readonly monitor?: boolean;
    readonly inactiveTimeOut?: number;
    readonly name?: string;
    readonly snat?: boolean;
    readonly host?: string;
    readonly bgp?: boolean;
    readonly proxyprotocolv2?: boolean;
    readonly egress?: boolean;
  };
  readonly endpoints?: readonly RuleEndpoint[] | null;
  /** They have left the rule. */
  readonly draining?: readonly ListedEndpoint[];
  readonly secondaryIPs?: readonly { readonly secondaryIP: string }[] | null;
  readonly allowedSources?: readonly { readonly prefix: string }[] | null;
}

type ListedEndpoint = Omit<RuleEndpoint, 'weight'>;

interface RuleEndpoint {
  readonly endpointIP: string;
  readonly targetPort: number;
  readonly targetPortMax?: number;
  readonly weight: number;
  readonly state?: string;
  readonly counter?: string;
}

const PORT_FLAGS: readonly Flag[] = ['sctp', 'tcp', 'udp'].map((name) => ({
  name,
  type: 'strings',
  help: "Port pairs can be specified as '<port>:<targetPort>'",
}));

/** Members a YAML rule may have, in their wire spelling. Matched whatever the case; others are left out. */
const SERVICE_MEMBERS = [
  'externalIP',
  'privateIP',
  'port',
  'portMax',
  'protocol',
  'sel',
  'mode',
  'tunnel',
  'BGP',
  'Monitor',
  'inactiveTimeOut',
  'drainTimeout',
  'onEndpointDown',
  'block',
  'managed',
  'name',
  'snat',
  'oper',
  'security',
  'host',
  'proxyprotocolv2',
  'egress',
  'probetype',
  'probeport',
  'probereq',
  'proberesp',
  'probeTimeout',
  'probeRetries',
];
const ENDPOINT_MEMBERS = ['endpointIP', 'targetPort', 'targetPortMax', 'weight', 'state', 'counter'];

export const command: CommandSpec = {
  name: 'lb',
  kind: 'Loadbalancer',
  kindAliases: ['lb', 'LB'],
  plugin: 'lb',
  path: '/config/loadbalancer',
  envelope: 'lbAttr',
  get: {
    summary: 'Get a LoadBalancer',
    long: 'It shows Load balancer Information',
    name: 'loadbalancer',
    aliases: ['lb', 'loadbalancers', 'lbs'],
    flags: [{ name: 'servName', type: 'string', help: 'Show only the rules of this name' }],
    filter: (rule: Rule, flags) => !flags.servName || rule.serviceArguments.name === flags.servName,
    hide: (rule: Rule) => rule.serviceArguments.snat === true,
    sortKey: ({ serviceArguments: service }: Rule) =>
      `${service.externalIP}|${String(service.port).padStart(5, '0')}|${service.protocol ?? ''}`,
    narrow: {
      columns: titles('Ext IP', 'Port', 'Proto', 'Name', 'Mark', 'Sel', 'Mode', '# of Endpoints', 'Timeout', 'Monitor'),
      rows: narrowRows,
    },
    wide: {
      columns: titles(
        ...['Ext IP', 'Sec IPs', 'Sources', 'Host', 'Port', 'Proto', 'Name', 'Mark', 'Sel', 'Mode'],
        ...['Endpoint', 'EPort', 'Weight', 'State', 'Counters'],
      ),
      rows: wideRows,
    },
  },
  create: {
    summary: 'Create a LoadBalancer',
    long: createHelp(),
    usage:
      'lb IP [--select=<rr|hash|priority|persist|lc>] [--tcp=<ports>:<targetPorts>] [--udp=<ports>:<targetPorts>] ' +
      '[--sctp=<ports>:<targetPorts>] [--icmp] [--mark=<val>] [--secips=<ip>] [--sources=<ip>] ' +
      '[--endpoints=<ip>:<weight>] [--mode=<onearm|fullnat|dsr|hostonearm>] [--tunnel=<auto|ipip>] [--bgp] [--monitor] [--inatimeout=<to>] ' +
      '[--name=<service-name>] [--attachEP] [--detachEP] [--drain=<seconds>] [--epdown=<keep|cut|reset>] [--security=<https|e2ehttps|none>] [--host=<url>] [--ppv2en] ' +
      '[--egress]',
    flags: [
      ...PORT_FLAGS,
      { name: 'icmp', type: 'bool', help: 'ICMP Ping packet Load balancer' },
      {
        name: 'endpoints',
        type: 'strings',
        help: "Endpoints is pairs that can be specified as '<endpointIP>:<Weight>'",
      },
      {
        name: 'select',
        type: 'string',
        help: 'Select the hash algorithm for the load balance. (ex) rr, hash, priority, persist, lc',
        default: 'rr',
      },
      { name: 'mode', type: 'string', help: 'NAT mode for load balancer rule' },
      {
        name: 'tunnel',
        type: 'string',
        help: 'dsr: auto (default) uses a tunnel only to end-points that are no neighbours, ipip always',
      },
      { name: 'security', type: 'string', help: 'Security mode for load balancer rule' },
      { name: 'bgp', type: 'bool', help: 'Enable BGP in the load balancer' },
      { name: 'monitor', type: 'bool', help: 'Enable monitoring end-points of this rule' },
      { name: 'ppv2en', type: 'bool', help: 'Enable proxy protocol v2' },
      { name: 'egress', type: 'bool', help: 'Specify egress rule' },
      {
        name: 'inatimeout',
        type: 'uint32',
        help: 'Specify the timeout (in seconds) after which a LB session will be reset for inactivity',
      },
      {
        name: 'mark',
        type: 'uint32',
        help: 'Specify the mark num to segregate a load-balancer VIP service',
      },
      { name: 'name', type: 'string', help: 'Name for load balancer rule' },
      { name: 'host', type: 'string', help: 'Ingress Host URL Path' },
      {
        name: 'secips',
        type: 'strings',
        help: "Secondary IPs for SCTP multihoming rule specified as '<secondaryIP>'",
      },
      { name: 'sources', type: 'strings', help: "Allowed sources for this rule as '<allowedSources>'" },
      { name: 'attachEP', type: 'bool', help: 'Attach endpoints to the load balancer rule' },
      { name: 'detachEP', type: 'bool', help: 'Detach endpoints from the load balancer rule' },
      {
        name: 'drain',
        type: 'uint32',
        help: 'Seconds the flows of end-points go on that leave the rule; with --detachEP of those detached only',
      },
      {
        name: 'epdown',
        type: 'string',
        help: 'Flows of an end-point that fails: keep, cut, or reset (cut with a reset to both ends)',
      },
    ],
    output: 'debug',
    plan: planCreate,
  },
  delete: {
    summary: 'Delete a LoadBalancer',
    long: [
      'Delete a LoadBalancer.',
      '',
      'ex)',
      '    loxicmd delete lb 192.168.0.200 --tcp=80',
      '    loxicmd delete lb 192.168.0.200 --tcp=8080-8081',
      '    loxicmd delete lb 192.168.0.200 --udp=80 --mark=10',
      '    loxicmd delete lb --name=http-service',
      '    loxicmd delete lb 192.168.0.200 --tcp=80 --drain=60',
    ].join('\n'),
    usage:
      'lb <EXTERNAL-IP> [--tcp <port>[-<portMax>]] [--udp <port>] [--sctp <port>] [--icmp] [--bgp] [--mark=<val>] ' +
      '[--name=<service-name>] [--host=<url>] [--drain=<seconds>]',
    flags: [
      ...PORT_FLAGS.map((flag): Flag => ({ ...flag, help: "Port or range of the rule: '<port>[-<portMax>]'" })),
      { name: 'icmp', type: 'bool', help: 'ICMP Ping packet Load balancer' },
      { name: 'bgp', type: 'bool', help: 'BGP in the load balancer' },
      { name: 'mark', type: 'uint32', help: 'Mark number of the rule' },
      { name: 'name', type: 'string', help: 'Delete all rules of this name' },
      { name: 'host', type: 'string', help: 'Ingress Host URL Path' },
      { name: 'drain', type: 'uint32', help: 'Seconds the flows of the rule go on' },
    ],
    output: 'debug',
    helpWithoutArgs: false,
    plan: planDelete,
  },
  fromYaml,
  deletePath,
};

function titles(...names: string[]): { title: string }[] {
  return names.map((title) => ({ title }));
}

function narrowRows({ serviceArguments: service, endpoints }: Rule): string[][] {
  return [
    [
      service.externalIP,
      portText(service),
      protocolText(service),
      service.name ?? '',
      String(service.block ?? 0),
      SELECTIONS[service.sel ?? 0] ?? 'rr',
      modeText(service),
      String(endpoints?.length ?? 0),
      String(service.inactiveTimeOut ?? 0),
      service.monitor ? 'On' : 'Off',
    ],
  ];
}

/** A row per endpoint; the rule's own cells stand on the first only. */
function wideRows({ serviceArguments: service, endpoints, secondaryIPs, allowedSources, draining }: Rule): string[][] {
  const rule = [
    service.externalIP,
    (secondaryIPs ?? []).map((item) => item.secondaryIP).join(', '),
    (allowedSources ?? []).map((item) => item.prefix).join(', '),
    service.host ?? '',
    portText(service),
    protocolText(service),
    service.name ?? '',
    String(service.block ?? 0),
    SELECTIONS[service.sel ?? 0] ?? 'rr',
    modeText(service),
  ];
  const blank = rule.map(() => '');
  const rows = (endpoints ?? []).map((endpoint) =>
    endpointCells(endpoint, String(endpoint.weight), service.monitor ? (endpoint.state ?? '') : '-'),
  );
  for (const endpoint of draining ?? []) rows.push(endpointCells(endpoint, '', endpoint.state ?? ''));
  return rows.map((cells, index) => [...(index === 0 ? rule : blank), ...cells]);
}

function endpointCells(endpoint: ListedEndpoint, weight: string, state: string): string[] {
  const { endpointIP, targetPort, targetPortMax, counter } = endpoint;
  return [
    endpointIP,
    targetPortMax ? `${targetPort}-${targetPortMax}` : String(targetPort),
    weight,
    state,
    counter ?? '',
  ];
}

function portText(service: Rule['serviceArguments']): string {
  return service.portMax ? `${service.port}-${service.portMax}` : String(service.port);
}

function protocolText(service: Rule['serviceArguments']): string {
  const security = service.security === 1 ? ':https' : service.security === 2 ? ':e2ehttps' : '';
  return `${service.protocol ?? ''}${security}`;
}

function modeText(service: Rule['serviceArguments']): string {
  const mode = MODES[service.mode ?? 0] ?? 'default';
  const tunnel = service.tunnel ? `:${service.tunnel}` : '';
  return `${mode}${tunnel}${service.proxyprotocolv2 ? ':ppv2' : ''}${service.egress ? ':egress' : ''}`;
}

function fromYaml(spec: unknown): unknown {
  const rule = lowerCaseKeys(spec);
  const service = lowerCaseKeys(rule.servicearguments);
  // The saved form of the Go daemon calls the host `path`.
  service.host ??= service.path;
  return {
    serviceArguments: pick(service, SERVICE_MEMBERS),
    secondaryIPs: items(rule.secondaryips, ['secondaryIP']),
    allowedSources: items(rule.allowedsources, ['prefix']),
    endpoints: items(rule.endpoints, ENDPOINT_MEMBERS),
  };
}

function deletePath(body: unknown): string {
  const service = lowerCaseKeys(lowerCaseKeys(body).servicearguments);
  const { externalip: ip, port = 0, protocol } = service;
  if (typeof ip !== 'string' || typeof protocol !== 'string') {
    throw new CommandError('Error: serviceArguments need externalIP and protocol');
  }
  const where = [
    ...['hosturl', service.host || 'any', 'externalipaddress', ip, 'port', port],
    ...['portmax', service.portmax ?? 0, 'protocol', protocol],
  ];
  const query = `bgp=${service.bgp === true}&block=${Number(service.block ?? 0)}`;
  return `/config/loadbalancer/${where.map((part) => segment(String(part))).join('/')}?${query}`;
}

function items(value: unknown, members: readonly string[]): unknown[] | null {
  return Array.isArray(value) && value.length > 0 ? value.map((item) => pick(lowerCaseKeys(item), members)) : null;
}

function lowerCaseKeys(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key.toLowerCase(), member]));
}

function pick(source: Readonly<Record<string, unknown>>, members: readonly string[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const member of members) {
    const value = source[member.toLowerCase()];
    if (value !== undefined && value !== null) picked[member] = value;
  }
  return picked;
}

function createHelp(): string {
  return `Create a LoadBalancer

--select value options
    rr - select the lb end-points based on round-robin
    hash - select the lb end-points based on hashing
    priority - select the lb based on weighted round-robin
    persist - select the lb end-point based on sender
    lc - select the lb end-point based on least connection

--mode value options
    onearm - LB put LB-IP as srcIP
    fullnat - LB put Service IP as srcIP
    dsr - LB in DSR mode allows return traffic to bypass the load balancer (only available with hash select)
    fullproxy - LB operating as a L7 proxy
    hostonearm - LB operating in host one-arm

ex)
    loxicmd create lb 192.168.0.200 --tcp=80:32015 --endpoints=10.212.0.1:1,10.212.0.2:1,10.212.0.3:1
    loxicmd create lb 192.168.0.200 --tcp=8080-8081:32015 --endpoints=10.212.0.1:1,10.212.0.2:1
    loxicmd create lb 192.168.0.200 --tcp=5000:5201-5300 --endpoints=10.212.0.1:1,10.212.0.2:1
    loxicmd create lb 192.168.0.200 --tcp=1-65535:1-65535 --endpoints=10.212.0.1:1,10.212.0.2:1
    loxicmd create lb 192.168.0.200 --tcp=80:80 --mode=dsr --select=hash --endpoints=10.212.0.1:1,10.212.0.2:1
    loxicmd create lb 192.168.0.200 --sctp=37412:38412 --secips=192.168.0.201,192.168.0.202 --endpoints=10.212.0.1:1
    loxicmd create lb 0.0.0.0 --tcp=30080:32015 --mode=hostonearm --endpoints=10.212.0.1:1
    loxicmd create lb 192.168.0.200 --tcp=80:32015 --udp=80:32015 --endpoints=10.212.0.1:1 --mark=10
    loxicmd create lb 192.168.0.200 --tcp=80:32015 --name=http-service --select=hash --endpoints=10.212.0.1:1
    loxicmd create lb 192.168.0.200 --tcp=80:32015 --endpoints=10.212.0.1:1 --sources=10.10.10.1/32
    loxicmd create lb 2001::1 --tcp=2020:8080 --endpoints=4ffe::1:1,5ffe::1:1,6ffe::1:1
    loxicmd create lb 2001::1 --tcp=2020:8080 --endpoints=31.31.31.1:1,32.32.32.1:1
    loxicmd create lb 192.168.0.200 --tcp=8080:80 --endpoints=10.212.0.1:1 --ppv2en
    loxicmd create lb 192.168.0.200 --tcp=80:32015 --endpoints=10.212.0.4:1 --attachEP`;
}
