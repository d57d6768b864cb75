import { LoxilbError } from '@loxilb/sdk';

/** Every fault of this plugin: HTTP status and the text existing clients know (guide, appendix 3). */
const FAULTS = {
  LB_VIP_MALFORMED: { status: 400, result: 'malformed-service error' },
  LB_PRIVATE_IP_MALFORMED: { status: 400, result: 'malformed-service privateIP error' },
  LB_TIMEOUT_RANGE: { status: 400, result: 'service-args error' },
  LB_DRAIN_RANGE: { status: 400, result: 'service-args error' },
  LB_PROBE_TYPE: { status: 400, result: 'malformed-service-ptype error' },
  LB_PROBE_PORT: { status: 400, result: 'malformed-service-pport error' },
  LB_PROBE_RANGE: { status: 400, result: 'service-args error' },
  LB_ENDPOINT_COUNT: { status: 400, result: 'endpoints-range error' },
  LB_ICMP_PORT: { status: 400, result: 'malformed-service error' },
  /** Other releases answer 500, which tells a client to try again what cannot work. */
  LB_PROXY_PROTOCOL_NOT_TCP: { status: 400, result: 'proxy-proto-v2 not tcp service error' },
  LB_PROTOCOL: { status: 400, result: 'malformed-proto error' },
  LB_SECONDARY_NOT_SCTP: { status: 400, result: 'secondaryIP-args error' },
  LB_N3_NOT_UDP: { status: 400, result: 'non-udp-n3-args error' },
  LB_SECONDARY_COUNT: { status: 400, result: 'secondaryIP-args len error' },
  LB_PORT_RANGE: { status: 400, result: 'serv-port-args range error' },
  LB_SECONDARY_MALFORMED: { status: 400, result: 'malformed-secIP error' },
  LB_SECONDARY_NAT46: { status: 400, result: 'malformed-secIP nat46 error' },
  LB_HOST_ONEARM_VIP: { status: 400, result: 'hostarm-args error' },
  LB_ENDPOINT_MALFORMED: { status: 400, result: 'malformed-lbep error' },
  LB_ENDPOINT_DUPLICATE: { status: 400, result: 'malformed-lbep error' },
  LB_DSR_PORT: { status: 400, result: 'malformed-service dsr-port error' },
  LB_DSR_PROXY_PROTOCOL: { status: 400, result: undefined },
  LB_PROXY_PROTOCOL_FAMILY: { status: 400, result: undefined },
  LB_TUNNEL_NOT_DSR: { status: 400, result: undefined },
  LB_NO_SOURCE: { status: 400, result: undefined },
  LB_WEIGHT_RANGE: { status: 400, result: 'malformed-weight error' },
  LB_ALLOWED_SOURCE: { status: 400, result: 'rule-allowed-src error' },
  /** The one fault every release answers with status 200. */
  LB_DSR_NOT_HASH: { status: 200, result: 'Error: Only Hash Selection criteria allowed for DSR mode' },
  LB_RULE_EXISTS: { status: 409, result: 'lbrule-exists error' },
  LB_SERVICE_TAKEN: { status: 409, result: 'lbrule-exists error' },
  /** The message is the result: clients take any text with "exist" for a success. */
  LB_RANGE_OVERLAP: { status: 409, result: undefined },
  /** Other releases answer 500, which tells a client to try again what cannot work. */
  LB_SECONDARY_FIXED: { status: 409, result: 'secIP modify error' },
  LB_SECURITY_FIXED: { status: 409, result: 'lbrule-exist error: cant modify rule security mode' },
  LB_EGRESS_FIXED: { status: 409, result: 'lbrule-exist error: cant modify rule egress mode' },
  LB_FULLPROXY_FIXED: { status: 409, result: 'lbrule-exist error: cant modify fullproxy rule mode' },
  LB_RULE_MISSING: { status: 404, result: 'lbrule not-exists error' },
  LB_NO_RULE: { status: 404, result: 'no-rule error' },
  LB_RULES_FULL: { status: 403, result: 'rule-hwm error' },
  LB_ENDPOINTS_FULL: { status: 403, result: 'rule-hwm error' },
  LB_SLOTS_FULL: { status: 403, result: 'rule-hwm error' },
  LB_VIP_ADDRESS: { status: 500, result: undefined },
  /** Known on the wire, not there yet: refused, never silently accepted. The message is the result. */
  LB_NOT_SUPPORTED: { status: 400, result: undefined },
} as const;

export type LbErrorCode = keyof typeof FAULTS;

export const lbErrorCodes = Object.keys(FAULTS) as LbErrorCode[];

interface Particulars {
  readonly field?: string;
  readonly value?: unknown;
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** Makes the coded error of a fault. `message` says what is wrong in this case, value included. */
export function lbError(code: LbErrorCode, message: string, particulars: Particulars = {}): LoxilbError {
  const { status, result } = FAULTS[code];
  return new LoxilbError(message, { code, status, ...(result === undefined ? {} : { result }), ...particulars });
}

export function notSupported(what: string, field: string, value: unknown): LoxilbError {
  return lbError('LB_NOT_SUPPORTED', `${what} is not supported yet`, { field, value });
}
