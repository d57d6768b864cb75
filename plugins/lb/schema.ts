import { z } from '@loxilb/sdk';

const int32 = z.int32();
const uint32 = z.uint32();

const serviceArguments = z.object({
  externalIP: z.string().describe('Service address (VIP), IPv4 or IPv6, no mask'),
  privateIP: z.string().optional().describe('Address the packets carry instead of externalIP; not returned'),
  port: z.int().describe('Service port, 1..65535; 0 for icmp'),
  portMax: z.int().optional().describe('Last port of a port range'),
  protocol: z.enum(['tcp', 'udp', 'sctp', 'icmp']).optional().describe('Protocol of the service'),
  sel: z
    .literal([0, 1, 2, 3, 4, 5, 6])
    .optional()
    .describe('Selection: 0 rr, 1 hash, 2 priority (weighted), 3 persist, 4 lc, 5 n2, 6 n3'),
  mode: z
    .literal([0, 1, 2, 3, 4, 5])
    .optional()
    .describe('NAT mode: 0 default, 1 onearm, 2 fullnat, 3 dsr, 4 fullproxy, 5 hostonearm'),
  tunnel: z
    .enum(['auto', 'ipip'])
    .optional()
    .describe('dsr: auto puts a packet into another when the endpoint is no neighbour, ipip always'),
  security: int32.optional().describe('0 plain, 1 TLS termination, 2 end-to-end TLS'),
  oper: z.literal([0, 1, 2]).optional().describe('0 create or replace, 1 attach endpoints, 2 detach endpoints'),
  bgp: z.boolean().optional().describe('Advertise the service address by BGP'),
  monitor: z.boolean().optional().describe('Probe the endpoints'),
  managed: z.boolean().optional().describe('Owned by a controller such as kube-loxilb; left out of save'),
  probetype: z.enum(['tcp', 'udp', 'sctp', 'http', 'https', 'ping', 'none']).optional().describe('Probe type'),
  probeport: z.int().min(0).max(65_535).optional().describe('Probe port, for tcp, udp and sctp probes'),
  probereq: z.string().optional().describe('Probe payload'),
  proberesp: z.string().optional().describe('Expected answer to the probe'),
  probeTimeout: uint32.optional().describe('Probe period in seconds; 0 means 60'),
  probeRetries: int32.optional().describe('Failures before an endpoint is down; 0 means 2'),
  inactiveTimeOut: int32
    .optional()
    .describe(
      'Idle time of a session in seconds, at most 86400; 0: 240 for tcp and sctp, else 20. Any other value than that ' +
        'ends tcp sessions with a reset to both ends',
    ),
  drainTimeout: int32
    .optional()
    .describe(
      'Seconds the flows of endpoints go on that leave the rule, by this request or a later one, at most 86400; with ' +
        'oper 2 by this request only',
    ),
  onEndpointDown: z
    .enum(['keep', 'cut', 'reset'])
    .optional()
    .describe('Flows of an endpoint that fails: keep, cut, or cut with a reset to both ends'),
  block: uint32.optional().describe('Firewall mark that separates services of one address and port'),
  name: z.string().optional().describe('Free name; `a:b` makes b the HA instance'),
  host: z.string().optional().describe('Host or URL path of an L7 rule'),
  proxyprotocolv2: z.boolean().optional().describe('Send a proxy protocol v2 header (tcp)'),
  egress: z.boolean().optional().describe('Egress rule: kept and shown, not in the data plane'),
  snat: z.boolean().optional().describe('Output only'),
});

const endpoint = z.object({
  endpointIP: z.string().describe('Address of the endpoint'),
  targetPort: z.int().describe('Port of the endpoint, 1..65535; 0 for icmp'),
  targetPortMax: z
    .int()
    .optional()
    .describe('Last of a span of ports that begins with targetPort; the same as one entry per port'),
  weight: z.int().describe('Share of new flows for sel 2, 1 and 3; 0..255, 0 takes no new flows'),
  state: z.string().optional().describe('Output only: active, inactive or draining'),
  counter: z.string().optional().describe('Output only: packets:bytes'),
});

/** Body of POST /config/loadbalancer. Ranges the wire's integers leave open are checked with the rule. */
export const lbRequest = z
  .object({
    serviceArguments,
    endpoints: z.array(endpoint),
    secondaryIPs: z
      .array(z.object({ secondaryIP: z.string().optional().describe('Further address of an sctp service') }))
      .nullish(),
    allowedSources: z
      .array(z.object({ prefix: z.string().optional().describe('Prefix of clients that may use the service') }))
      .nullish(),
  })
  .meta({ id: 'LoadbalanceEntry' });

export type LbRequest = z.output<typeof lbRequest>;
