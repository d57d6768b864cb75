/**
 * Consistent hashing after "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4. Each
 * endpoint has its own order of all slots, drawn from a hash of its address and port, and endpoints take turns claiming
 * the next free slot of theirs. When one comes or goes, the others keep nearly all they had.
 */
export interface MaglevEndpoint {
  /** What the order of slots is drawn from; the same after a restart. */
  readonly key: string;
  /** Share of the slots; 0 takes none. */
  readonly weight: number;
}

/**
 * The largest primes below powers of two, so that the slot allocator wastes nothing; at least 64 slots per endpoint in
 * each class, which keeps what moves besides an endpoint's share below 4 %. Another size is another table, in which
 * nothing is where it was: so all rules of the usual limit have one size, and health does not change it.
 */
const SIZES = [
  { endpoints: 64, slots: 4_093 },
  { endpoints: 256, slots: 16_381 },
] as const;
const LARGEST = 65_521;
const FREE = -1;
const SEEDS = [0x811c9dc5, 0x9747b28c, 0x1b873593, 0x38b34ae5];

export function maglevSize(endpointCount: number): number {
  return SIZES.find(({ endpoints }) => endpointCount <= endpoints)?.slots ?? LARGEST;
}

/** Index into `endpoints` for each of `size` slots. Without endpoints of a weight there are no slots. */
export function buildMaglev(endpoints: readonly MaglevEndpoint[], size: number): Int32Array {
  const largest = endpoints.reduce((most, { weight }) => Math.max(most, weight), 0);
  if (largest === 0) return new Int32Array(0);
  const claims = endpoints.map(({ key, weight }, index) => ({
    index,
    weight,
    credit: 0,
    order: slotOrder(key, size),
  }));
  const table = new Int32Array(size).fill(FREE);
  for (let left = size; left > 0; ) {
    for (const claim of claims) {
      claim.credit += claim.weight;
      if (claim.credit < largest) continue;
      claim.credit -= largest;
      let slot = claim.order();
      while (table[slot] !== FREE) slot = claim.order();
      table[slot] = claim.index;
      if (--left === 0) break;
    }
  }
  return table;
}

/**
 * All slots in an order drawn from `key`, one per call: a permutation of the next power of two (odd factors and right
 * shifts can be undone, so no value comes twice) without the few values beyond the end.
 */
function slotOrder(key: string, size: number): () => number {
  const bits = 32 - Math.clz32(size - 1);
  const mask = 2 ** bits - 1;
  const shift = Math.ceil(bits / 2);
  const rounds = SEEDS.map((seed) => ({ factor: hash(key, seed) | 1, offset: hash(key, ~seed) }));
  let position = 0;
  return () => {
    let slot: number;
    do {
      slot = position++;
      for (const { factor, offset } of rounds) {
        slot = (Math.imul(slot, factor) + offset) & mask;
        slot ^= slot >>> shift;
      }
    } while (slot >= size);
    return slot;
  };
}

/** FNV-1a over UTF-16 units with the finaliser of MurmurHash3, which FNV needs for its low bits. 32 bits. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
