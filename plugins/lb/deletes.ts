/** The six DELETE forms existing clients use. */
import { canonicalIp, type DeleteArguments, type DeleteForm, isIpAddress } from '@loxilb/sdk';
import { checkDrainTime } from './ending.js';
import { lbError } from './errors.js';
import { describeRule, type Rule, ruleKey } from './model.js';

const DRAIN = { drain: 'int64' } as const;
const QUERY = { bgp: 'boolean', block: 'int64', ...DRAIN } as const;
const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp', 'none'];
/** What `loxicmd` puts where a rule has no host. */
const NO_HOST = 'any';

/** How long flows of what is deleted may go on. */
function checkDrain({ drain }: DeleteArguments['query']): void {
  if (drain !== undefined) checkDrainTime(Math.trunc(Number(drain)), 'drain');
}

function selectByKey({ params, query }: DeleteArguments, stored: ReadonlyMap<string, Rule>): readonly string[] {
  const externalIP = params.ip_address ?? '';
  const protocol = params.proto ?? '';
  // Numbers in a path are floating point on the wire and lose their fraction.
  const port = Math.trunc(Number(params.port));
  const portMax = Math.trunc(Number(params.portmax ?? 0));
  if (!isIpAddress(externalIP)) {
    throw lbError('LB_VIP_MALFORMED', `not an IP address: "${externalIP}"`, { field: 'ip_address', value: externalIP });
  }
  if (portMax !== 0 && portMax < port) {
    throw lbError('LB_PORT_RANGE', `portmax ${portMax} is below port ${port}`, { field: 'portmax', value: portMax });
  }
  if (!PROTOCOLS.includes(protocol)) {
    throw lbError('LB_PROTOCOL', `unknown protocol "${protocol}"`, { field: 'proto', value: protocol });
  }
  checkDrain(query);
  const host = params.hosturl === NO_HOST ? '' : (params.hosturl ?? '');
  const block = Math.trunc(Number(query.block ?? 0));
  const identity = { externalIP: canonicalIp(externalIP), protocol, port, portMax, block, host };
  const key = ruleKey(identity);
  if (!stored.has(key)) throw lbError('LB_NO_RULE', `there is no rule ${describeRule(identity)}`);
  return [key];
}

function selectByName({ params, query }: DeleteArguments, stored: ReadonlyMap<string, Rule>): readonly string[] {
  checkDrain(query);
  const keys: string[] = [];
  for (const [key, rule] of stored) if (rule.name === params.lb_name) keys.push(key);
  return keys;
}

function selectAll({ query }: DeleteArguments, stored: ReadonlyMap<string, Rule>): readonly string[] {
  checkDrain(query);
  return [...stored.keys()];
}

function byKey(path: string, numbers: readonly string[], summary: string): DeleteForm<Rule> {
  return { path, numbers, query: QUERY, summary, select: selectByKey };
}

const SERVICE = '/externalipaddress/:ip_address/port/:port';

export const deleteForms: readonly DeleteForm<Rule>[] = [
  byKey(`${SERVICE}/protocol/:proto`, ['port'], 'Delete a rule'),
  byKey(`${SERVICE}/portmax/:portmax/protocol/:proto`, ['port', 'portmax'], 'Delete a rule with a port range'),
  byKey(`/hosturl/:hosturl${SERVICE}/protocol/:proto`, ['port'], 'Delete a rule with a host'),
  byKey(
    `/hosturl/:hosturl${SERVICE}/portmax/:portmax/protocol/:proto`,
    ['port', 'portmax'],
    'Delete a rule; host `any` and portmax 0 stand for none',
  ),
  {
    path: '/name/:lb_name',
    query: DRAIN,
    summary: 'Delete all rules of a name; none is a success too',
    select: selectByName,
  },
  { path: '/all', query: DRAIN, summary: 'Delete all rules', select: selectAll },
];
