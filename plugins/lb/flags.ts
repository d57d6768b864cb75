import { LbEndpointFlags, LbServiceFlags } from './layout.gen.js';
import { type Rule, type RuleEndpoint, servicePorts } from './model.js';
import { portCount } from './spans.js';

export function serviceFlags({ allowedSources, proxyprotocolv2, secondaryIPs }: Rule): number {
  return (
    (allowedSources ? LbServiceFlags.LB_SERVICE_SOURCES : 0) |
    (proxyprotocolv2 ? LbServiceFlags.LB_SERVICE_PPV2 : 0) |
    (secondaryIPs ? LbServiceFlags.LB_SERVICE_MULTIHOME : 0)
  );
}

/** As many ports on both sides: the n-th of the service is the n-th of the endpoint. */
export function endpointFlags(rule: Rule, endpoint: RuleEndpoint): number {
  const ports = portCount(endpoint);
  const shifts = ports > 1 && ports === servicePorts(rule);
  return (rule.tunnel ? LbEndpointFlags.LB_EP_TUNNEL : 0) | (shifts ? LbEndpointFlags.LB_EP_PORT_SHIFT : 0);
}
