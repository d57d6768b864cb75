/** What follows from a rule and its entries. */
import type { LbEndpoint, LbService } from './layout.gen.js';
import { NO_ADDRESS } from './maps.js';
import { changesFamily, looksAfterAddress, type Rule, serviceAddresses } from './model.js';
import { selectionSlots } from './selection.js';
import type { SlotRun } from './slot-runs.js';

/** The addresses a rule wants on this machine; none when somebody else looks after them. */
export function ownAddresses(rule: Rule): string[] {
  return looksAfterAddress(rule) ? serviceAddresses(rule) : [];
}

/**
 * An endpoint of another family needs an address of ours as its client; until there is one it gets no flows. With a PROXY
 * header it never gets one: rules of earlier releases may have it so.
 */
export function isReachable(rule: Rule, { addr, source }: Pick<LbEndpoint, 'addr' | 'source'>): boolean {
  return !changesFamily(rule, addr) || (source !== NO_ADDRESS && !rule.proxyprotocolv2);
}

export function slotsOf(
  rule: Rule,
  endpoints: readonly { readonly id: number; readonly entry: LbEndpoint }[],
): number[] {
  return selectionSlots(
    rule.sel,
    endpoints.map(({ id, entry }) => ({ id, ...entry, active: entry.active === 1 && isReachable(rule, entry) })),
  );
}

export function runOf(value: LbService): SlotRun {
  return { base: value.slotBase, count: value.slotCount };
}
