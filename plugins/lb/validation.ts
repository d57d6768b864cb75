/**
 * What a POST must satisfy, checked in the order existing clients know: the first fault wins. What the wire allows and
 * this release cannot do is refused after all that, so that a malformed request gets the answer it always got.
 */
import { canonicalIp, ipFamily, isIpAddress } from '@loxilb/sdk';
import { checkDrainTime } from './ending.js';
import { checkEndpointCount, checkEndpoints } from './endpoint-checks.js';
import { lbError, notSupported } from './errors.js';
import {
  changesFamily,
  defaultIdleSeconds,
  describeEndpoint,
  describeRule,
  isUnspecified,
  isUsableAddress,
  MODE,
  MODE_NAMES,
  OPER,
  type Protocol,
  type Rule,
  type RuleProbe,
  SELECTION,
  SELECTION_NAMES,
  servicePorts,
} from './model.js';
import { canonicalPrefix } from './prefixes.js';
import type { LbRequest } from './schema.js';
import { portCount } from './spans.js';

export interface RuleLimits {
  /** Endpoints of the data plane: a span of ports is one. */
  readonly maxEndpointsPerRule: number;
  readonly maxSecondaryIPs: number;
}

type Service = LbRequest['serviceArguments'];

const MAX_IDLE_SECONDS = 86_400;
const PROBE_TYPES = ['tcp', 'udp', 'sctp', 'ping', 'none'];
const PROBE_TYPES_WITH_PORT = ['tcp', 'udp', 'sctp'];

/** The rule a request describes, as if nothing were there yet. Throws the first fault. */
export function checkRequest(request: LbRequest, limits: RuleLimits): Rule {
  const service = request.serviceArguments;
  checkDsrSelection(service.mode, service.sel);
  const externalIP = checkAddress(service.externalIP, 'LB_VIP_MALFORMED', 'externalIP');
  const privateIP = service.privateIP
    ? checkAddress(service.privateIP, 'LB_PRIVATE_IP_MALFORMED', 'privateIP')
    : undefined;
  const idleSeconds = checkIdleTime(service);
  if (service.drainTimeout !== undefined) checkDrainTime(service.drainTimeout, 'serviceArguments.drainTimeout');
  const probe = checkProbe(service);
  checkEndpointCount(request, limits.maxEndpointsPerRule);
  const protocol = checkProtocol(service);
  if (service.sel === SELECTION.n3 && protocol !== 'udp') {
    throw lbError('LB_N3_NOT_UDP', `selection n3 needs udp, not ${protocol}`, field('sel', service.sel));
  }
  checkSecondaryCount(request, protocol, limits);
  checkPorts(service);
  const secondaryIPs = checkSecondaryAddresses(request, externalIP);
  checkHostOnearm(service, externalIP);
  const endpoints = checkEndpoints(request);
  const allowedSources = checkAllowedSources(request);
  checkSupport(service);
  checkUsable(service, externalIP, privateIP, protocol);
  const rule: Rule = {
    externalIP,
    ...(privateIP === undefined ? {} : { privateIP }),
    port: service.port,
    ...(service.portMax && service.portMax > service.port ? { portMax: service.portMax } : {}),
    protocol: protocol as Protocol,
    block: service.block ?? 0,
    name: service.name ?? '',
    sel: service.sel ?? SELECTION.rr,
    mode: service.mode ?? MODE.default,
    ...(service.tunnel === 'ipip' ? { tunnel: 'ipip' } : {}),
    ...(service.proxyprotocolv2 ? { proxyprotocolv2: true } : {}),
    ...(service.egress ? { egress: true } : {}),
    ...(secondaryIPs.length > 0 ? { secondaryIPs } : {}),
    ...(allowedSources.length > 0 ? { allowedSources } : {}),
    inactiveTimeOut: idleSeconds || defaultIdleSeconds(protocol),
    ...(service.drainTimeout === undefined ? {} : { drainTimeout: service.drainTimeout }),
    ...(service.onEndpointDown === undefined ? {} : { onEndpointDown: service.onEndpointDown }),
    bgp: service.bgp ?? false,
    monitor: (service.monitor ?? false) || (probe !== undefined && probe.type !== 'none'),
    managed: service.managed ?? false,
    ...(probe === undefined ? {} : { probe }),
    endpoints,
  };
  checkRule(rule);
  // Taking such an endpoint away is how a rule of an earlier release is put right.
  if (service.oper !== OPER.detach) checkProxyFamilies(rule);
  if (service.oper !== OPER.detach) checkSourceFamilies(rule);
  return rule;
}

/** What members of a rule must be to one another; a rule that was put together from two requests may fail it. */
export function checkRule(rule: Rule): void {
  if (rule.privateIP !== undefined && rule.secondaryIPs?.includes(rule.privateIP)) {
    throw lbError('LB_SECONDARY_MALFORMED', `${rule.privateIP} is private and secondary address at once`, {
      ...field('privateIP', rule.privateIP),
    });
  }
  checkDsrSelection(rule.mode, rule.sel);
  if (rule.mode === MODE.dsr) checkDsr(rule);
  else if (rule.tunnel !== undefined) {
    throw lbError('LB_TUNNEL_NOT_DSR', `a tunnel needs mode dsr, not ${MODE_NAMES[rule.mode]}`, {
      ...field('tunnel', rule.tunnel),
      remedy: 'set mode to 3 (dsr)',
    });
  }
}

/** The header has room for addresses of one family, and what changes family has no room for a header. */
export function checkProxyFamilies(rule: Rule): void {
  if (!rule.proxyprotocolv2) return;
  const other = rule.endpoints.find(({ endpointIP }) => changesFamily(rule, endpointIP));
  if (other === undefined) return;
  const them = `${describeEndpoint(other)} the clients of ${describeRule(rule)}`;
  throw lbError('LB_PROXY_PROTOCOL_FAMILY', `proxy protocol v2 cannot tell ${them}: they are of another family`, {
    field: 'endpoints',
    value: other.endpointIP,
    remedy: 'give endpoints of the family of the service, or leave proxyprotocolv2 out',
  });
}

/** Servers get the packet as the client sent it. */
function checkDsr(rule: Rule): void {
  if (rule.proxyprotocolv2) {
    throw lbError('LB_DSR_PROXY_PROTOCOL', 'proxy protocol v2 cannot work in mode dsr: packets are left as they are', {
      ...field('proxyprotocolv2', true),
    });
  }
  for (const endpoint of rule.endpoints) {
    const ports = portCount(endpoint);
    if (endpoint.targetPort === rule.port && (ports === 1 || ports === servicePorts(rule))) continue;
    const service = rule.portMax === undefined ? `port ${rule.port}` : `ports ${rule.port}-${rule.portMax}`;
    throw lbError('LB_DSR_PORT', `dsr cannot translate ${service} to ${describeEndpoint(endpoint)}`, {
      field: 'endpoints',
      value: endpoint.targetPort,
      remedy: 'give endpoints the port of the service',
    });
  }
}

function field(name: string, value: unknown): { field: string; value: unknown } {
  return { field: `serviceArguments.${name}`, value };
}

function checkDsrSelection(mode: number | undefined, sel: number | undefined): void {
  if (mode !== MODE.dsr || sel === SELECTION.hash) return;
  throw lbError('LB_DSR_NOT_HASH', 'dsr mode needs selection hash', {
    ...field('sel', sel ?? 0),
    remedy: 'set sel to 1 (hash)',
  });
}

function checkAddress(text: string, code: 'LB_VIP_MALFORMED' | 'LB_PRIVATE_IP_MALFORMED', name: string): string {
  if (!isIpAddress(text)) throw lbError(code, `not an IP address: "${text}"`, field(name, text));
  return canonicalIp(text);
}

function checkIdleTime(service: Service): number {
  const seconds = service.inactiveTimeOut ?? 0;
  if (seconds < 0 || seconds > MAX_IDLE_SECONDS) {
    throw lbError('LB_TIMEOUT_RANGE', `inactiveTimeOut out of range: ${seconds} (0..${MAX_IDLE_SECONDS} s)`, {
      ...field('inactiveTimeOut', seconds),
    });
  }
  return seconds;
}

function checkProbe(service: Service): RuleProbe | undefined {
  const type = service.probetype || undefined;
  const port = service.probeport ?? 0;
  if (type !== undefined && !PROBE_TYPES.includes(type)) {
    throw lbError('LB_PROBE_TYPE', `probe type ${type} is not one a rule may have`, field('probetype', type));
  }
  if ((port !== 0) !== (type !== undefined && PROBE_TYPES_WITH_PORT.includes(type))) {
    throw lbError('LB_PROBE_PORT', `probe type ${type ?? '(none given)'} and probe port ${port} do not go together`, {
      ...field('probeport', port),
      remedy: 'give a port with tcp, udp and sctp probes, and with no other',
    });
  }
  const retries = service.probeRetries ?? 0;
  if (retries < 0) {
    throw lbError('LB_PROBE_RANGE', `probeRetries out of range: ${retries}`, field('probeRetries', retries));
  }
  const probe: RuleProbe = {
    type: type ?? '',
    port,
    request: service.probereq ?? '',
    response: service.proberesp ?? '',
    period: service.probeTimeout ?? 0,
    retries,
  };
  const given = probe.type || probe.request || probe.response || probe.period || probe.retries;
  return given ? probe : undefined;
}

function checkProtocol(service: Service): string {
  const { protocol, port } = service;
  if (protocol === 'icmp' && port !== 0) {
    throw lbError('LB_ICMP_PORT', `an icmp service has port 0, not ${port}`, field('port', port));
  }
  if (service.proxyprotocolv2 && protocol !== 'tcp') {
    throw lbError('LB_PROXY_PROTOCOL_NOT_TCP', 'proxy protocol v2 needs tcp', field('proxyprotocolv2', true));
  }
  if (!protocol) throw lbError('LB_PROTOCOL', 'protocol is missing', field('protocol', protocol ?? ''));
  return protocol;
}

function checkSecondaryCount(request: LbRequest, protocol: string, { maxSecondaryIPs }: RuleLimits): void {
  const count = request.secondaryIPs?.length ?? 0;
  if (count > 0 && protocol !== 'sctp') {
    throw lbError('LB_SECONDARY_NOT_SCTP', `secondary addresses need sctp, not ${protocol}`, {
      field: 'secondaryIPs',
      value: count,
    });
  }
  if (count > maxSecondaryIPs) {
    throw lbError('LB_SECONDARY_COUNT', `${count} secondary addresses, at most ${maxSecondaryIPs}`, {
      field: 'secondaryIPs',
      value: count,
      remedy: 'raise maxSecondaryIPs of the lb plugin (7 at most)',
    });
  }
}

function isPort(value: number): boolean {
  return value >= 0 && value <= 0xffff;
}

function checkPorts({ port, portMax = 0, protocol }: Service): void {
  if (!isPort(port)) throw lbError('LB_PORT_RANGE', `port out of range: ${port} (0..65535)`, field('port', port));
  if (!isPort(portMax) || (portMax !== 0 && portMax < port)) {
    throw lbError('LB_PORT_RANGE', `portMax out of range: ${portMax} (${port}..65535)`, field('portMax', portMax));
  }
  if (protocol === 'icmp' && portMax !== 0) {
    throw lbError('LB_ICMP_PORT', `an icmp service has no ports, portMax is ${portMax}`, field('portMax', portMax));
  }
}

function checkSecondaryAddresses(request: LbRequest, externalIP: string): string[] {
  const secondary: string[] = [];
  for (const [index, { secondaryIP = '' }] of (request.secondaryIPs ?? []).entries()) {
    const at = { field: `secondaryIPs.${index}.secondaryIP`, value: secondaryIP };
    if (!isIpAddress(secondaryIP)) throw lbError('LB_SECONDARY_MALFORMED', `not an IP address: "${secondaryIP}"`, at);
    if (ipFamily(externalIP) === 4 && ipFamily(canonicalIp(secondaryIP)) === 6) {
      throw lbError('LB_SECONDARY_NAT46', `IPv6 secondary address ${secondaryIP} of an IPv4 service`, at);
    }
    const address = canonicalIp(secondaryIP);
    if (!isUsableAddress(address) || address === externalIP || secondary.includes(address)) {
      throw lbError('LB_SECONDARY_MALFORMED', `${secondaryIP} is no further address of ${externalIP}`, at);
    }
    secondary.push(address);
  }
  return secondary;
}

function checkHostOnearm(service: Service, externalIP: string): void {
  if (service.mode !== MODE.hostonearm || isUnspecified(externalIP)) return;
  throw lbError('LB_HOST_ONEARM_VIP', `hostonearm needs the address 0.0.0.0 or ::, not ${externalIP}`, {
    ...field('externalIP', externalIP),
  });
}

/** The prefixes, without host bits and each once. */
function checkAllowedSources(request: LbRequest): string[] {
  const prefixes = new Set<string>();
  for (const [index, { prefix = '' }] of (request.allowedSources ?? []).entries()) {
    const canonical = canonicalPrefix(prefix);
    if (canonical === undefined) {
      throw lbError('LB_ALLOWED_SOURCE', `not a prefix: "${prefix}"`, {
        field: `allowedSources.${index}.prefix`,
        value: prefix,
      });
    }
    prefixes.add(canonical);
  }
  return [...prefixes];
}

/** Prefixes of one family beside those of the other are fine; without one of its own a service would let nobody in. */
function checkSourceFamilies({ externalIP, secondaryIPs = [], allowedSources = [] }: Rule): void {
  const families = new Set([externalIP, ...secondaryIPs].map(ipFamily));
  const [first] = allowedSources;
  if (first === undefined || allowedSources.some((prefix) => families.has(prefix.includes(':') ? 6 : 4))) return;
  throw lbError('LB_ALLOWED_SOURCE', `no client of ${externalIP} could be in ${first}: it is of another family`, {
    field: 'allowedSources.0.prefix',
    value: first,
    remedy: 'give prefixes of the family of the service',
  });
}

/** Known on the wire, but later work. Nothing here is ever taken and then ignored. */
function checkSupport(service: Service): void {
  const { mode = MODE.default, sel = SELECTION.rr } = service;
  const refuse = (what: string, name: string, value: unknown): never => {
    throw notSupported(what, `serviceArguments.${name}`, value);
  };
  if (mode === MODE.fullproxy) refuse(`mode ${MODE_NAMES[mode]}`, 'mode', mode);
  if (sel > SELECTION.lc) refuse(`selection ${SELECTION_NAMES[sel]}`, 'sel', sel);
  if (service.security) refuse('TLS (security)', 'security', service.security);
  if (service.host) refuse('a host', 'host', service.host);
}

/** Faults older releases let through although no packet could ever follow such a rule. */
function checkUsable(service: Service, externalIP: string, privateIP: string | undefined, protocol: string): void {
  const isAny = isUnspecified(externalIP) && (service.mode === MODE.hostonearm || service.egress === true);
  if (!isAny && !isUsableAddress(externalIP)) {
    throw lbError('LB_VIP_MALFORMED', `${externalIP} cannot be a service address`, field('externalIP', externalIP));
  }
  if (
    privateIP !== undefined &&
    (isAny || !isUsableAddress(privateIP) || ipFamily(privateIP) !== ipFamily(externalIP))
  ) {
    throw lbError('LB_PRIVATE_IP_MALFORMED', `${privateIP} cannot stand for ${externalIP}`, {
      ...field('privateIP', privateIP),
    });
  }
  if (protocol !== 'icmp' && service.port === 0) {
    throw lbError('LB_PORT_RANGE', `a ${protocol} service needs a port (1..65535)`, field('port', 0));
  }
}
