import { ipFamily } from '@loxilb/sdk';
import type { LbSourceKey } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { type Rule, serviceAddresses } from './model.js';
import { prefixBits } from './prefixes.js';
import type { Undo } from './undo.js';

/** Bits of a key in front of the address. */
const ID_BITS = 32;
const ALLOWED = { allow: 1 } as const;

/**
 * Keys of the prefixes that may use the service, by prefix. One of a family the service has no address of is left out:
 * `::/0` of a list that is used for services of both families would let all of IPv4 in.
 */
export function sourceKeys(serviceId: number, rule: Rule): Map<string, LbSourceKey> {
  const families = new Set(serviceAddresses(rule).map(ipFamily));
  const keys = new Map<string, LbSourceKey>();
  for (const prefix of rule.allowedSources ?? []) {
    const { addr, bits } = prefixBits(prefix);
    if (families.has(ipFamily(addr))) keys.set(prefix, { prefixlen: ID_BITS + bits, serviceId, addr });
  }
  return keys;
}

/**
 * Lists of allowed sources in `lb_source`. A change is made in two steps, what is new before and what is gone after the
 * service's value, so that nobody who is on both lists is refused meanwhile.
 */
export class SourceTable {
  constructor(private readonly maps: Pick<LbMaps, 'source'>) {}

  /** Lets in those of `after` who are not on the list of `before`. */
  admit(serviceId: number, before: Rule | undefined, after: Rule, undo: Undo): void {
    this.add(missingKeys(serviceId, after, before), undo);
  }

  /** Shuts out those of `before` who are not on the list of `after`. */
  exclude(serviceId: number, before: Rule | undefined, after: Rule | undefined, undo: Undo): void {
    if (before === undefined) return;
    const keys = missingKeys(serviceId, before, after);
    if (keys.length === 0) return;
    undo.add(() => this.maps.source.setMany(keys.map((key) => [key, ALLOWED])));
    this.maps.source.deleteMany(keys);
  }

  private add(keys: readonly LbSourceKey[], undo: Undo): void {
    if (keys.length === 0) return;
    undo.add(() => this.maps.source.deleteMany(keys));
    this.maps.source.setMany(keys.map((key) => [key, ALLOWED]));
  }
}

function missingKeys(serviceId: number, rule: Rule, other: Rule | undefined): LbSourceKey[] {
  if (rule.allowedSources === undefined) return [];
  const there = other ? sourceKeys(serviceId, other) : new Map<string, LbSourceKey>();
  return [...sourceKeys(serviceId, rule)].filter(([prefix]) => !there.has(prefix)).map(([, key]) => key);
}
