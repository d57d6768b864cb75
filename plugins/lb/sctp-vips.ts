import { isDeepStrictEqual } from 'node:util';
import type { LbSctpVips } from './layout.gen.js';
import { type LbMaps, NO_ADDRESS } from './maps.js';
import { type Rule, serviceAddresses } from './model.js';
import type { Undo } from './undo.js';

/** Addresses the map has room for (`LB_SCTP_MAX_VIPS` in bpf/maps/lb.h). */
const MAX_VIPS = 8;

/** What associations of the service are told of its addresses; undefined when it has one only. */
export function sctpVips(rule: Rule | undefined): LbSctpVips | undefined {
  if (rule?.secondaryIPs === undefined) return undefined;
  const addresses = serviceAddresses(rule);
  const addr = Array.from({ length: MAX_VIPS }, (_, index) => addresses[index] ?? NO_ADDRESS);
  return { count: addresses.length, addr };
}

/** Makes `lb_sctp_vips` follow a rule that was `before` and will be `after`. */
export function writeSctpVips(
  maps: Pick<LbMaps, 'sctpVips'>,
  serviceId: number,
  before: Rule | undefined,
  after: Rule | undefined,
  undo: Undo,
): void {
  const [old, wanted] = [sctpVips(before), sctpVips(after)];
  if (isDeepStrictEqual(old, wanted)) return;
  undo.add(() => put(maps, serviceId, old));
  put(maps, serviceId, wanted);
}

function put({ sctpVips: map }: Pick<LbMaps, 'sctpVips'>, serviceId: number, value: LbSctpVips | undefined): void {
  if (value) map.set(serviceId, value);
  else map.delete(serviceId);
}
