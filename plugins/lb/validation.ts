/**
 * What a POST must satisfy, checked in the order existing clients know: the first fault wins. What the wire allows and
 * this release cannot do is refused after all that, so that a malformed request gets the answer it always got.
 */
import { canonicalIp, ipFamily, isIpAddress } from '@loxilb/sdk';
import { lbError, notSupported } from './errors.js';
import {
  endpointKey,
  MODE,
  MODE_NAMES,
  type Protocol,
  type Rule,
  type RuleEndpoint,
  type RuleProbe,
  SELECTION,
  SELECTION_NAMES,
} from './model.js';
import type { LbRequest } from './schema.js';

export interface RuleLimits {
  readonly maxEndpointsPerRule: number;
}

type Service = LbRequest['serviceArguments'];

const MAX_IDLE_SECONDS = 86_400;
const MAX_SECONDARY = 3;
const PROBE_TYPES = ['tcp', 'udp', 'sctp', 'ping', 'none'];
const PROBE_TYPES_WITH_PORT = ['tcp', 'udp', 'sctp'];
/** Go's `net.ParseCIDR`, near enough: the address itself is checked apart. */
const PREFIX = /^(.+)\/(\d{1,3})$/;

/** The rule a request describes, as if nothing were there yet. Throws the first fault. */
export function checkRequest(request: LbRequest, limits: RuleLimits): Rule {
  const service = request.serviceArguments;
  checkDsrSelection(service);
  const externalIP = checkAddress(service.externalIP, 'LB_VIP_MALFORMED', 'externalIP');
  const privateIP = service.privateIP
    ? checkAddress(service.privateIP, 'LB_PRIVATE_IP_MALFORMED', 'privateIP')
    : undefined;
  const idleSeconds = checkIdleTime(service);
  const probe = checkProbe(service);
  checkEndpointCount(request, limits);
  const protocol = checkProtocol(service);
  if (service.sel === SELECTION.n3 && protocol !== 'udp') {
    throw lbError('LB_N3_NOT_UDP', `selection n3 needs udp, not ${protocol}`, field('sel', service.sel));
  }
  checkSecondaryCount(request, protocol);
  checkPorts(service);
  checkSecondaryAddresses(request, externalIP);
  checkHostOnearm(service, externalIP);
  const endpoints = checkEndpoints(request, service, externalIP);
  checkAllowedSources(request);
  checkSupport(request, protocol);
  checkUsable(service, externalIP, privateIP, protocol, endpoints);
  return {
    externalIP,
    ...(privateIP === undefined ? {} : { privateIP }),
    port: service.port,
    protocol: protocol as Protocol,
    block: service.block ?? 0,
    name: service.name ?? '',
    sel: service.sel ?? SELECTION.rr,
    mode: service.mode ?? MODE.default,
    inactiveTimeOut: idleSeconds || defaultIdleSeconds(protocol),
    bgp: service.bgp ?? false,
    monitor: (service.monitor ?? false) || (probe !== undefined && probe.type !== 'none'),
    managed: service.managed ?? false,
    ...(probe === undefined ? {} : { probe }),
    endpoints,
  };
}

export function defaultIdleSeconds(protocol: string): number {
  return protocol === 'tcp' || protocol === 'sctp' ? 240 : 20;
}

function field(name: string, value: unknown): { field: string; value: unknown } {
  return { field: `serviceArguments.${name}`, value };
}

function checkDsrSelection(service: Service): void {
  if (service.mode !== MODE.dsr || service.sel === SELECTION.hash) return;
  throw lbError('LB_DSR_NOT_HASH', 'dsr mode needs selection hash', {
    ...field('sel', service.sel ?? 0),
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

function checkEndpointCount(request: LbRequest, { maxEndpointsPerRule }: RuleLimits): void {
  const count = request.endpoints.length;
  if (count >= 1 && count <= maxEndpointsPerRule) return;
  throw lbError('LB_ENDPOINT_COUNT', `${count} endpoints, a rule has 1 to ${maxEndpointsPerRule}`, {
    field: 'endpoints',
    value: count,
    ...(count === 0 ? {} : { remedy: 'raise maxEndpointsPerRule of the lb plugin' }),
  });
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

function checkSecondaryCount(request: LbRequest, protocol: string): void {
  const count = request.secondaryIPs?.length ?? 0;
  if (count > 0 && protocol !== 'sctp') {
    throw lbError('LB_SECONDARY_NOT_SCTP', `secondary addresses need sctp, not ${protocol}`, {
      field: 'secondaryIPs',
      value: count,
    });
  }
  if (count > MAX_SECONDARY) {
    throw lbError('LB_SECONDARY_COUNT', `${count} secondary addresses, at most ${MAX_SECONDARY}`, {
      field: 'secondaryIPs',
      value: count,
    });
  }
}

function isPort(value: number): boolean {
  return value >= 0 && value <= 0xffff;
}

function checkPorts({ port, portMax = 0 }: Service): void {
  if (!isPort(port)) throw lbError('LB_PORT_RANGE', `port out of range: ${port} (0..65535)`, field('port', port));
  if (!isPort(portMax) || (portMax !== 0 && portMax < port)) {
    throw lbError('LB_PORT_RANGE', `portMax out of range: ${portMax} (${port}..65535)`, field('portMax', portMax));
  }
}

function checkSecondaryAddresses(request: LbRequest, externalIP: string): void {
  for (const [index, { secondaryIP = '' }] of (request.secondaryIPs ?? []).entries()) {
    const at = { field: `secondaryIPs.${index}.secondaryIP`, value: secondaryIP };
    if (!isIpAddress(secondaryIP)) throw lbError('LB_SECONDARY_MALFORMED', `not an IP address: "${secondaryIP}"`, at);
    if (ipFamily(externalIP) === 4 && ipFamily(canonicalIp(secondaryIP)) === 6) {
      throw lbError('LB_SECONDARY_NAT46', `IPv6 secondary address ${secondaryIP} of an IPv4 service`, at);
    }
  }
}

function checkHostOnearm(service: Service, externalIP: string): void {
  if (service.mode !== MODE.hostonearm || isUnspecified(externalIP)) return;
  throw lbError('LB_HOST_ONEARM_VIP', `hostonearm needs the address 0.0.0.0 or ::, not ${externalIP}`, {
    ...field('externalIP', externalIP),
  });
}

function checkEndpoints(request: LbRequest, service: Service, externalIP: string): RuleEndpoint[] {
  const seen = new Set<string>();
  return request.endpoints.map((given, index) => {
    const endpoint = checkEndpoint(given, service, externalIP, `endpoints.${index}`);
    const key = endpointKey(endpoint);
    if (seen.has(key)) {
      throw lbError('LB_ENDPOINT_DUPLICATE', `endpoint ${key.replace('|', ' port ')} is given twice`, {
        field: `endpoints.${index}`,
        value: given.endpointIP,
        remedy: 'give a weight instead of repeating an endpoint',
      });
    }
    seen.add(key);
    return endpoint;
  });
}

function checkEndpoint(
  { endpointIP, targetPort, weight }: LbRequest['endpoints'][number],
  service: Service,
  externalIP: string,
  path: string,
): RuleEndpoint {
  const address = { field: `${path}.endpointIP`, value: endpointIP };
  const port = { field: `${path}.targetPort`, value: targetPort };
  if (!isIpAddress(endpointIP)) throw lbError('LB_ENDPOINT_MALFORMED', `not an IP address: "${endpointIP}"`, address);
  const canonical = canonicalIp(endpointIP);
  if (ipFamily(externalIP) === 4 && ipFamily(canonical) === 6) {
    throw lbError('LB_NAT46', `IPv6 endpoint ${endpointIP} of an IPv4 service`, address);
  }
  if (service.protocol === 'icmp' && targetPort !== 0) {
    throw lbError('LB_ICMP_PORT', `an icmp endpoint has port 0, not ${targetPort}`, port);
  }
  if (service.mode === MODE.dsr && targetPort !== service.port) {
    throw lbError('LB_DSR_PORT', `dsr cannot translate port ${service.port} to ${targetPort}`, port);
  }
  if (!isPort(targetPort)) {
    throw lbError('LB_ENDPOINT_MALFORMED', `targetPort out of range: ${targetPort} (0..65535)`, port);
  }
  if (weight < 0 || weight > 255) {
    throw lbError('LB_WEIGHT_RANGE', `weight out of range: ${weight} (0..255)`, {
      field: `${path}.weight`,
      value: weight,
    });
  }
  return { endpointIP: canonical, targetPort, weight };
}

function checkAllowedSources(request: LbRequest): void {
  for (const [index, { prefix = '' }] of (request.allowedSources ?? []).entries()) {
    const [, address = '', length] = PREFIX.exec(prefix) ?? [];
    if (isIpAddress(address) && Number(length) <= (ipFamily(address) === 4 ? 32 : 128)) continue;
    throw lbError('LB_ALLOWED_SOURCE', `not a prefix: "${prefix}"`, {
      field: `allowedSources.${index}.prefix`,
      value: prefix,
    });
  }
}

/** Known on the wire, but later work. Nothing here is ever taken and then ignored. */
function checkSupport(request: LbRequest, protocol: string): void {
  const service = request.serviceArguments;
  const { mode = MODE.default, sel = SELECTION.rr, port, portMax = 0 } = service;
  const refuse = (what: string, name: string, value: unknown): never => {
    throw notSupported(what, `serviceArguments.${name}`, value);
  };
  if (mode > MODE.fullnat) refuse(`mode ${MODE_NAMES[mode]}`, 'mode', mode);
  if (protocol === 'sctp') refuse('protocol sctp', 'protocol', protocol);
  if (sel > SELECTION.lc) refuse(`selection ${SELECTION_NAMES[sel]}`, 'sel', sel);
  if (portMax > port) refuse('a port range', 'portMax', portMax);
  if (service.security) refuse('TLS (security)', 'security', service.security);
  if (service.host) refuse('a host', 'host', service.host);
  if (service.proxyprotocolv2) refuse('proxy protocol v2', 'proxyprotocolv2', true);
  if (service.egress) refuse('an egress rule', 'egress', true);
  if (request.allowedSources?.length) {
    throw notSupported('a list of allowed sources', 'allowedSources', request.allowedSources);
  }
}

/** Faults older releases let through although no packet could ever follow such a rule. */
function checkUsable(
  service: Service,
  externalIP: string,
  privateIP: string | undefined,
  protocol: string,
  endpoints: readonly RuleEndpoint[],
): void {
  if (!isUnicast(externalIP)) {
    throw lbError('LB_VIP_MALFORMED', `${externalIP} cannot be a service address`, field('externalIP', externalIP));
  }
  if (privateIP !== undefined && (!isUnicast(privateIP) || ipFamily(privateIP) !== ipFamily(externalIP))) {
    throw lbError('LB_PRIVATE_IP_MALFORMED', `${privateIP} cannot stand for ${externalIP}`, {
      ...field('privateIP', privateIP),
    });
  }
  if (protocol !== 'icmp' && service.port === 0) {
    throw lbError('LB_PORT_RANGE', `a ${protocol} service needs a port (1..65535)`, field('port', 0));
  }
  for (const [index, endpoint] of endpoints.entries()) checkUsableEndpoint(endpoint, index, protocol, externalIP);
}

function checkUsableEndpoint(endpoint: RuleEndpoint, index: number, protocol: string, externalIP: string): void {
  const address = { field: `endpoints.${index}.endpointIP`, value: endpoint.endpointIP };
  if (!isUnicast(endpoint.endpointIP)) {
    throw lbError('LB_ENDPOINT_MALFORMED', `${endpoint.endpointIP} cannot be an endpoint`, address);
  }
  if (protocol !== 'icmp' && endpoint.targetPort === 0) {
    throw lbError('LB_ENDPOINT_MALFORMED', `a ${protocol} endpoint needs a port (1..65535)`, {
      field: `endpoints.${index}.targetPort`,
      value: 0,
    });
  }
  if (ipFamily(endpoint.endpointIP) !== ipFamily(externalIP)) {
    throw notSupported('an IPv4 endpoint of an IPv6 service (NAT64)', address.field, address.value);
  }
}

function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function isUnicast(address: string): boolean {
  if (isUnspecified(address)) return false;
  return ipFamily(address) === 6 ? !address.startsWith('ff') : Number(address.split('.')[0]) < 224;
}
