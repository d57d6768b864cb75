import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Claims } from './claims.js';
import { keysOf, type Place, portBlocks } from './places.js';

const port = fc.integer({ min: 0, max: 65_535 });
const range = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));

it('cuts a range into aligned blocks that are exactly its ports', () => {
  fc.assert(
    fc.property(range, ({ first, last }) => {
      const covered = new Uint8Array(65_536);
      const blocks = portBlocks(first, last);
      for (const block of blocks) {
        const size = 2 ** (16 - block.bits);
        expect(block.first % size).toBe(0);
        for (let one = block.first; one < block.first + size; one++) covered[one] = (covered[one] ?? 0) + 1;
      }
      const wanted = new Uint8Array(65_536).fill(1, first, last + 1);
      expect(Buffer.compare(covered, wanted)).toBe(0);
      expect(blocks.length).toBeLessThanOrEqual(30);
    }),
    { numRuns: 100 },
  );
});

it.each([
  [1, 65_535, 16],
  [0, 65_535, 1],
  [1, 65_534, 30],
  [8080, 8081, 1],
  [8081, 8082, 2],
  [80, 80, 1],
])('needs for %i-%i %i blocks', (first, last, count) => {
  expect(portBlocks(first, last)).toHaveLength(count);
});

it('is the service itself for one port', () => {
  const place = { addr: '20.20.20.1', proto: 6, mark: 5, port: 80, portMax: 80 };
  expect(keysOf(place)).toEqual([{ map: 'service', key: { addr: '20.20.20.1', proto: 6, mark: 5, port: 80 } }]);
  expect(keysOf({ ...place, portMax: 81 })).toEqual([
    { map: 'range', key: { prefixlen: 176 + 15, addr: '20.20.20.1', proto: 6, mark: 5, port: 80 } },
  ]);
});

it('finds who shares ports', () => {
  const places = fc.array(
    fc.record({
      addr: fc.constantFrom('10.0.0.1', '10.0.0.2'),
      proto: fc.constantFrom(6, 17),
      mark: fc.constantFrom(0, 1),
      port: fc.integer({ min: 1, max: 9 }),
      length: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(places, (given) => {
      const claims = new Claims<number>();
      const there: { place: Place; owner: number }[] = [];
      for (const [owner, { length, ...rest }] of given.entries()) {
        const place = { ...rest, portMax: rest.port + length };
        const rivals = there.filter((other) => share(other.place, place)).map((other) => other.owner);
        expect(claims.rivals(place).map((claim) => claim.owner)).toEqual(rivals);
        if (rivals.length > 0) {
          const [rival] = rivals as [number];
          claims.remove(there.find((other) => other.owner === rival)?.place as Place, rival);
          there.splice(
            there.findIndex((other) => other.owner === rival),
            1,
          );
          continue;
        }
        claims.add(place, owner);
        claims.add(place, owner);
        there.push({ place, owner });
        expect(claims.rivals(place, owner)).toEqual([]);
      }
      expect(claims.hasRanges).toBe(there.some(({ place }) => place.portMax > place.port));
    }),
  );
});

/** A single port inside a range is no conflict: it comes first. */
function share(a: Place, b: Place): boolean {
  if (a.addr !== b.addr || a.proto !== b.proto || a.mark !== b.mark) return false;
  if (a.portMax > a.port !== b.portMax > b.port) return false;
  return a.port <= b.portMax && b.port <= a.portMax;
}
