/** Endpoints of a POST. */
import { canonicalIp, isIpAddress } from '@loxilb/sdk';
import { lbError } from './errors.js';
import { isUsableAddress, MODE, type RuleEndpoint } from './model.js';
import type { LbRequest } from './schema.js';
import { joinPorts, lastPort, type PortSpan } from './spans.js';

type Given = LbRequest['endpoints'][number];
type Service = LbRequest['serviceArguments'];

const MAX_PORT = 0xffff;

/** Counts as the data plane does: before anything else is known of the endpoints, as clients expect. */
export function checkEndpointCount({ endpoints, serviceArguments }: LbRequest, most: number): void {
  const count = joinPorts(endpoints.map(spanOf), portsOf(serviceArguments)).length;
  if (count >= 1 && count <= most) return;
  throw tooManyEndpoints(count, most);
}

export function tooManyEndpoints(count: number, most: number): Error {
  return lbError('LB_ENDPOINT_COUNT', `${count} endpoints, a rule has 1 to ${most}`, {
    field: 'endpoints',
    value: count,
    ...(count === 0 ? {} : { remedy: 'raise maxEndpointsPerRule of the lb plugin' }),
  });
}

/** The endpoints in the form rules keep them in. */
export function checkEndpoints({ endpoints, serviceArguments: service }: LbRequest): RuleEndpoint[] {
  const checked = endpoints.map((given, index) => checkEndpoint(given, service, `endpoints.${index}`));
  checkDuplicates(checked);
  return joinPorts(checked, portsOf(service));
}

function portsOf({ port, portMax }: Service): number {
  return portMax && portMax > port ? portMax - port + 1 : 1;
}

function spanOf({ endpointIP, targetPort, targetPortMax, weight }: Given): PortSpan {
  const isSpan = targetPortMax !== undefined && targetPortMax > targetPort;
  return { endpointIP, targetPort, ...(isSpan && { targetPortMax }), weight };
}

function checkEndpoint(given: Given, service: Service, path: string): RuleEndpoint {
  const { endpointIP, targetPort, weight } = given;
  const address = { field: `${path}.endpointIP`, value: endpointIP };
  const port = { field: `${path}.targetPort`, value: targetPort };
  if (!isIpAddress(endpointIP)) throw lbError('LB_ENDPOINT_MALFORMED', `not an IP address: "${endpointIP}"`, address);
  if (service.protocol === 'icmp' && targetPort !== 0) {
    throw lbError('LB_ICMP_PORT', `an icmp endpoint has port 0, not ${targetPort}`, port);
  }
  if (service.mode === MODE.dsr && (targetPort < service.port || targetPort > (service.portMax || service.port))) {
    throw lbError('LB_DSR_PORT', `dsr cannot translate port ${service.port} to ${targetPort}`, port);
  }
  checkSpan(given, service, path);
  if (weight < 0 || weight > 255) {
    throw lbError('LB_WEIGHT_RANGE', `weight out of range: ${weight} (0..255)`, {
      field: `${path}.weight`,
      value: weight,
    });
  }
  const canonical = canonicalIp(endpointIP);
  if (!isUsableAddress(canonical)) {
    throw lbError('LB_ENDPOINT_MALFORMED', `${canonical} cannot be an endpoint`, address);
  }
  return { ...spanOf(given), endpointIP: canonical };
}

function checkSpan({ targetPort, targetPortMax = 0 }: Given, { protocol }: Service, path: string): void {
  const lowest = protocol === 'icmp' ? 0 : 1;
  if (targetPort < lowest || targetPort > MAX_PORT) {
    throw lbError('LB_ENDPOINT_MALFORMED', `targetPort out of range: ${targetPort} (${lowest}..${MAX_PORT})`, {
      field: `${path}.targetPort`,
      value: targetPort,
    });
  }
  if (targetPortMax === 0) return;
  if (protocol === 'icmp' || targetPortMax < targetPort || targetPortMax > MAX_PORT) {
    throw lbError(
      'LB_ENDPOINT_MALFORMED',
      `targetPortMax out of range: ${targetPortMax} (${targetPort}..${MAX_PORT})`,
      {
        field: `${path}.targetPortMax`,
        value: targetPortMax,
      },
    );
  }
}

/** No port of an address may be given twice. */
function checkDuplicates(endpoints: readonly RuleEndpoint[]): void {
  const byAddress = new Map<string, { endpoint: RuleEndpoint; index: number }[]>();
  endpoints.forEach((endpoint, index) => {
    const group = byAddress.get(endpoint.endpointIP);
    if (group) group.push({ endpoint, index });
    else byAddress.set(endpoint.endpointIP, [{ endpoint, index }]);
  });
  for (const group of byAddress.values()) {
    group.sort((a, b) => a.endpoint.targetPort - b.endpoint.targetPort);
    let end = -1;
    for (const { endpoint, index } of group) {
      if (endpoint.targetPort <= end) throw duplicate(endpoint, index);
      end = lastPort(endpoint);
    }
  }
}

function duplicate({ endpointIP, targetPort }: RuleEndpoint, index: number): Error {
  return lbError('LB_ENDPOINT_DUPLICATE', `endpoint ${endpointIP} port ${targetPort} is given twice`, {
    field: `endpoints.${index}`,
    value: endpointIP,
    remedy: 'give a weight instead of repeating an endpoint',
  });
}
