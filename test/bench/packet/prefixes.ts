import { encodeBytes } from '@loxilb/sdk';
import { LbControlFlags, lbControl, lbRangeKey, lbSource, lbSourceKey } from '../../../plugins/lb/layout.gen.js';
import { type LoadedObject, updateMap, word } from './bpf.js';
import { addressAfter } from './frame.js';

/** LB_RANGE_FIXED_BITS */
const RANGE_FIXED_BITS = (4 + 16 + 2) * 8;
const SERVICE_ID_BITS = 32;
/** Bits before an IPv4 address in its mapped form. */
const MAPPED_BITS = 96;

/** A service of the ports from the first to the last: one entry per aligned block of a power of two. */
export function writePortBlocks(
  object: LoadedObject,
  service: { readonly addr: string; readonly proto: number; readonly mark: number },
  [first, last]: readonly [number, number],
  value: Uint8Array,
): void {
  for (let port = first; port <= last; ) {
    let bits = 0;
    while (port % (2 << bits) === 0 && port + (2 << bits) <= last + 1) bits++;
    const prefixlen = RANGE_FIXED_BITS + 16 - bits;
    updateMap(object.map('lb_range'), encodeBytes(lbRangeKey, { prefixlen, ...service, port }), value);
    port += 1 << bits;
  }
  updateMap(object.map('lb_control'), word(0), encodeBytes(lbControl, { flags: LbControlFlags.LB_HAS_RANGES }));
}

/** Lets the clients of 10.0.0.0/8 use a service, and those of as many other prefixes as make up `count`. */
export function writeSources(object: LoadedObject, serviceId: number, count: number): void {
  const allow = (addr: string, length: number) => {
    const key = { prefixlen: SERVICE_ID_BITS + MAPPED_BITS + length, serviceId, addr };
    updateMap(object.map('lb_source'), encodeBytes(lbSourceKey, key), encodeBytes(lbSource, { allow: 1 }));
  };
  allow('10.0.0.0', 8);
  // Some below it, so that a client's way down the tree is as long as it may be.
  for (let other = 1; other < count; other++) allow(addressAfter('10.64.0.0', other << 8), 24);
}
