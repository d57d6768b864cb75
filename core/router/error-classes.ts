/**
 * Existing clients know an error by its text. These are the classes the REST contract sorts texts into, in order:
 * the first class that has a matching part wins. The status itself comes from the error; this table gives `message`
 * and lets a test check that both agree.
 */
interface ErrorClass {
  readonly status: number;
  readonly message: string;
  /** Parts of the lower-cased text. */
  readonly parts: readonly string[];
}

const CLASSES: readonly ErrorClass[] = [
  {
    status: 404,
    message: 'Resource not found',
    parts: [
      'not-exists',
      ' not exists',
      'not found',
      'no such',
      'not such',
      'no neigh found',
      'no-nh error',
      'no ulcl',
      'ephost-notfound',
      'host-notfound',
      'no-zone error',
      'no loxi-eni found',
      'no-master',
      'no bfd session',
      'no-portimap',
      'no-portomap',
      'no-port error',
      'not found interface',
      'vlan not created',
      'vlan not yet created',
      'phy port not created',
      'no-realport',
      'no-user error',
      'no-rule error',
    ],
  },
  {
    status: 401,
    message: 'Invalid authentication credentials',
    parts: ['invalid token', 'token is expired', 'token not fou', 'invalid refresh token', 'authentication failed'],
  },
  {
    status: 409,
    message: 'Resource conflict: Resource already exists OR dependency not found',
    parts: [
      'lbrule-exist error',
      'lbrule-exists error',
      'fwrule-exists',
      'sess-exists',
      'mirr-exists',
      'pol-exists',
      'prop-exists',
      'existing zone',
      'already created',
      ' existing ',
      ' exists',
      'vlan has ports configured',
      'same fdb',
      'lb rule-referred',
      'cant modify',
      'ep-host add failed as cluster node',
      'vlan bridge already added',
    ],
  },
  {
    status: 400,
    message: 'Malformed arguments for API call',
    parts: [
      'malformed',
      'parse error',
      'invalid parameters',
      'invalid ',
      'mask format is wrong',
      'not ipv4 address',
      'proto error',
      'unknown work type',
      'unknown log level',
      'unknown ep-host-state',
      'host-args unknown probe',
      'vxlan can not be tagged',
      'range',
      'overflow',
      'fwmark',
      'rule-mark error',
      'rule-snat error',
      'rule-allowed-src error',
      'service-args error',
      'non-udp-n3-args error',
      'proxy-proto-v2',
      'secondaryip-args',
      'zone number err',
      'zone is not set',
      'vlan zone err',
      'fdb attr error',
      'fdb v6 dst unsupported',
      'host-args error',
      'hostarm-args error',
      'password must ',
      "wildcard '*' is not allowed",
      'filename is required',
      'file is empty',
      'no configuration file provided',
      'invalid json format',
    ],
  },
  {
    status: 403,
    message: 'Capacity insufficient',
    parts: [
      'capacity',
      ' hwm',
      'ulhwm',
      'dlhwm',
      'nh-hwm',
      'rule-hwm',
      'need-realdev',
      'loxilb bgp mode is disabled',
      'running in bgp only mode',
    ],
  },
  {
    status: 503,
    message: 'Maintenance mode',
    parts: ['not-ready', 'timeout', 'unexpected http response', 'maintenance'],
  },
];

/** Status that clients expect for an error of this text; 500 when the contract has no class for it. */
export function statusOfText(text: string): number {
  const lower = text.toLowerCase();
  return CLASSES.find(({ parts }) => parts.some((part) => lower.includes(part)))?.status ?? 500;
}

/** The fixed `message` of a status; the text itself where the contract has none. */
export function messageOfStatus(status: number, text: string): string {
  return CLASSES.find((entry) => entry.status === status)?.message ?? text;
}
