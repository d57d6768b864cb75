/** What every backend's maps do, as tests. */
import { be32, encodeBytes, type MapSlice, type MapSpec, type MapType, struct, u8, u32, u64 } from '@loxilb/sdk';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DataPlaneBroker } from '../types.js';

interface Key {
  id: number;
  kind: number;
}

interface Value {
  bytes: bigint;
  weight: number;
}

interface Prefix {
  prefixlen: number;
  address: number;
}

const key = struct({ id: u32, kind: u8 });
const value = struct({ bytes: u64, weight: u32 });

const HASH = specOf('test_hash', 'hash', key, 8);
const LARGE = specOf('test_large', 'hash', key, 10_000);
const LRU = specOf('test_lru', 'lru_hash', key, 64);
const ARRAY = specOf('test_array', 'array', u32, 5000);
const PERCPU = specOf('test_percpu', 'percpu_array', u32, 5000);
const PERCPU_HASH = specOf('test_percpu_h', 'percpu_hash', key, 8);
const TRIE = specOf('test_trie', 'lpm_trie', struct({ prefixlen: u32, address: be32 }), 8);

function specOf<K>(
  name: string,
  type: MapType,
  codec: MapSpec<K, Value>['key'],
  maxEntries: number,
): MapSpec<K, Value> {
  return { name, type, key: codec, value, maxEntries };
}

function entry(id: number, bytes = id): [Key, Value] {
  return [
    { id, kind: 1 },
    { bytes: BigInt(bytes), weight: id },
  ];
}

function many(count: number): [Key, Value][] {
  return Array.from({ length: count }, (_, index) => entry(index + 1));
}

export function describeMaps(title: string, create: () => DataPlaneBroker): void {
  describe(title, () => {
    let broker: DataPlaneBroker;
    let hash: MapSlice<Key, Value>;
    let large: MapSlice<Key, Value>;
    let lru: MapSlice<Key, Value>;
    let array: MapSlice<number, Value>;
    let percpu: MapSlice<number, Value>;
    let percpuHash: MapSlice<Key, Value>;
    let trie: MapSlice<Prefix, Value>;

    beforeAll(() => {
      broker = create();
      hash = broker.claim('test', HASH);
      large = broker.claim('test', LARGE);
      lru = broker.claim('test', LRU);
      array = broker.claim('test', ARRAY);
      percpu = broker.claim('test', PERCPU);
      percpuHash = broker.claim('test', PERCPU_HASH);
      trie = broker.claim('test', TRIE);
      expect(() => hash.get({ id: 1, kind: 1 })).toThrow(expect.objectContaining({ code: 'DP_NOT_LOADED' }));
      expect(() => broker.dataplane.rawBatches('test_hash')).toThrow(
        expect.objectContaining({ code: 'DP_NOT_LOADED' }),
      );
      broker.load();
    });

    beforeEach(() => {
      hash.sync([]);
      large.sync([]);
      percpuHash.sync([]);
      trie.sync([]);
    });

    afterAll(() => broker.close());

    it('reads what was written', () => {
      hash.set(...entry(1));
      expect(hash.get({ id: 1, kind: 1 })).toEqual({ bytes: 1n, weight: 1 });
      expect(hash.get({ id: 1, kind: 2 })).toBeUndefined();
      expect(hash.getPerCpu({ id: 1, kind: 1 })).toEqual([{ bytes: 1n, weight: 1 }]);
      expect(hash.getPerCpu({ id: 9, kind: 1 })).toEqual([]);
      expect([...hash.entries()]).toEqual([entry(1)]);
    });

    it('deletes, and tells whether there was something', () => {
      hash.set(...entry(1));
      expect(hash.delete({ id: 1, kind: 1 })).toBe(true);
      expect(hash.delete({ id: 1, kind: 1 })).toBe(false);
      hash.setMany(many(3));
      hash.deleteMany([
        { id: 1, kind: 1 },
        { id: 77, kind: 1 },
        { id: 3, kind: 1 },
      ]);
      expect([...hash.entries()]).toEqual([entry(2)]);
    });

    it('reports a full map and goes on working', () => {
      hash.setMany(many(8));
      expect(() => hash.set(...entry(9))).toThrow(expect.objectContaining({ code: 'DP_MAP_FULL', status: 507 }));
      hash.set(...entry(8, 80));
      expect(hash.get({ id: 8, kind: 1 })?.bytes).toBe(80n);
    });

    it('takes back what a failed setMany had written', () => {
      hash.setMany([entry(1), entry(2)]);
      const wanted = [entry(1, 100), ...many(12).slice(2)];
      expect(() => hash.setMany(wanted)).toThrow(expect.objectContaining({ code: 'DP_MAP_FULL' }));
      expect([...hash.entries()].sort(([a], [b]) => a.id - b.id)).toEqual([entry(1), entry(2)]);
    });

    it('writes, reads and removes more than one batch', () => {
      const entries = many(9000);
      large.setMany(entries);
      expect([...large.entries()].sort(([a], [b]) => a.id - b.id)).toEqual(entries);
      const raw = [...broker.dataplane.rawBatches('test_large')];
      expect(raw.reduce((sum, batch) => sum + batch.count, 0)).toBe(9000);
      expect(raw.every((batch) => batch.keys.length === batch.count * key.size)).toBe(true);
      large.deleteMany(entries.slice(0, 8999).map(([one]) => one));
      expect([...large.entries()]).toEqual([entry(9000)]);
    });

    it('syncs with no write for what is right', () => {
      large.setMany([entry(1), entry(2), entry(3)]);
      expect(large.sync([entry(1), entry(2, 20), entry(4)])).toEqual({ written: 2, removed: 1, kept: 1 });
      expect([...large.entries()].sort(([a], [b]) => a.id - b.id)).toEqual([entry(1), entry(2, 20), entry(4)]);
      expect(large.sync([entry(1), entry(2, 20), entry(4)])).toEqual({ written: 0, removed: 0, kept: 3 });
    });

    it('evicts from an LRU map instead of refusing', () => {
      lru.setMany(many(1000));
      const left = [...lru.entries()].length;
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThan(1000);
    });

    it('has every element of an array, zero until written', () => {
      expect(array.get(4999)).toEqual({ bytes: 0n, weight: 0 });
      expect(array.get(5000)).toBeUndefined();
      array.set(7, { bytes: 7n, weight: 7 });
      expect([...array.entries()].length).toBe(5000);
      expect(array.delete(7)).toBe(true);
      expect(array.get(7)).toEqual({ bytes: 0n, weight: 0 });
    });

    it('refuses an index beyond the array and writes nothing', () => {
      const one = { bytes: 1n, weight: 1 };
      expect(() =>
        array.setMany([
          [1, one],
          [5000, one],
        ]),
      ).toThrow(expect.objectContaining({ code: 'DP_MAP_FULL' }));
      expect(array.get(1)).toEqual({ bytes: 0n, weight: 0 });
    });

    it('syncs an array: what nobody wants becomes zero', () => {
      const one = { bytes: 1n, weight: 1 };
      array.setMany([
        [1, one],
        [2, one],
      ]);
      expect(
        array.sync([
          [2, one],
          [3, one],
        ]),
      ).toEqual({ written: 1, removed: 1, kept: 1 });
      expect([1, 2, 3].map((index) => array.get(index)?.weight)).toEqual([0, 1, 1]);
    });

    it('keeps a value per CPU whose sum is what was set', () => {
      percpu.set(3, { bytes: 30n, weight: 3 });
      const copies = percpu.getPerCpu(3);
      expect(copies.length).toBeGreaterThanOrEqual(1);
      expect(copies.reduce((sum, copy) => sum + copy.bytes, 0n)).toBe(30n);
      expect(percpu.getPerCpu(5000)).toEqual([]);
      expect(() => percpu.get(3)).toThrow(expect.objectContaining({ code: 'DP_MAP_PERCPU' }));
      const all = [...percpu.entriesPerCpu()];
      expect(all.length).toBe(5000);
      expect(all[3]?.[1]).toEqual(copies);
      expect(percpu.delete(3)).toBe(true);
      expect(percpu.getPerCpu(3).every((copy) => copy.bytes === 0n)).toBe(true);
    });

    it('keeps a value per CPU and key', () => {
      percpuHash.set(...entry(3, 30));
      const copies = percpuHash.getPerCpu({ id: 3, kind: 1 });
      expect(copies.reduce((sum, copy) => sum + copy.bytes, 0n)).toBe(30n);
      expect(() => percpuHash.get({ id: 3, kind: 1 })).toThrow(expect.objectContaining({ code: 'DP_MAP_PERCPU' }));
      expect(() => [...percpuHash.entries()]).toThrow(expect.objectContaining({ code: 'DP_MAP_PERCPU' }));
      percpuHash.setMany([entry(3, 31), entry(4)]);
      expect(percpuHash.sync([entry(4), entry(5)])).toEqual({ written: 1, removed: 1, kept: 1 });
      const sums = [...percpuHash.entriesPerCpu()].map(([one, all]) => [
        one.id,
        all.reduce((sum, copy) => sum + copy.bytes, 0n),
      ]);
      expect(sums.sort()).toEqual([
        [4, 4n],
        [5, 5n],
      ]);
      expect(percpuHash.delete({ id: 4, kind: 1 })).toBe(true);
      expect(percpuHash.delete({ id: 4, kind: 1 })).toBe(false);
    });

    it('has the very prefixes of a trie, not what they cover', () => {
      const value = (weight: number) => ({ bytes: 1n, weight });
      const ten = { prefixlen: 8, address: 0x0a000000 };
      const inner = { prefixlen: 24, address: 0x0a010200 };
      const all = { prefixlen: 0, address: 0 };
      trie.set(ten, value(8));
      expect(trie.get(inner)).toBeUndefined();
      expect(trie.delete(inner)).toBe(false);
      trie.setMany([
        [inner, value(24)],
        [all, value(0)],
      ]);
      expect([trie.get(ten)?.weight, trie.get(inner)?.weight, trie.get(all)?.weight]).toEqual([8, 24, 0]);
      const listed = [...trie.entries()].map(([prefix, { weight }]) => [prefix.prefixlen, weight]);
      expect(listed.sort()).toEqual([
        [0, 0],
        [24, 24],
        [8, 8],
      ]);
      expect(
        trie.sync([
          [inner, value(24)],
          [ten, value(80)],
        ]),
      ).toEqual({ written: 1, removed: 1, kept: 1 });
      expect(trie.delete(ten)).toBe(true);
      expect(trie.get(ten)).toBeUndefined();
      expect(() => trie.set({ prefixlen: 33, address: 0 }, value(1))).toThrow(
        expect.objectContaining({ code: 'DP_MAP_WRITE' }),
      );
    });

    it('takes back what a failed setMany had written to a trie, prefixes within others included', () => {
      const value = (weight: number) => ({ bytes: 1n, weight });
      const prefix = (prefixlen: number) => ({ prefixlen, address: 0x0a000000 });
      trie.set(prefix(8), value(8));
      const many = Array.from({ length: 12 }, (_, index) => [prefix(9 + index), value(1)] as const);
      expect(() => trie.setMany(many)).toThrow(expect.objectContaining({ code: 'DP_MAP_FULL' }));
      expect([...trie.entries()]).toEqual([[prefix(8), value(8)]]);
    });

    it('reads raw entries by key', () => {
      hash.setMany([entry(1), entry(2)]);
      const bytes = (id: number) => encodeBytes(key, { id, kind: 1 });
      const { keys, values, count } = broker.dataplane.rawEntries('test_hash', [bytes(2), bytes(9)]);
      expect([count, [...keys]]).toEqual([1, [...bytes(2)]]);
      expect([...values]).toEqual([...encodeBytes(value, entry(2)[1])]);
    });

    it('leaves the map as it was when a value does not fit its type', () => {
      hash.set(...entry(1));
      expect(() => hash.set({ id: 1, kind: 1 }, { bytes: 1n, weight: 2 ** 32 })).toThrow(RangeError);
      expect(() => hash.set({ id: 1, kind: 300 }, { bytes: 1n, weight: 1 })).toThrow(RangeError);
      expect([...hash.entries()]).toEqual([entry(1)]);
    });

    it('gives views that read and cannot write', () => {
      const view = broker.view('other', HASH);
      hash.set(...entry(5));
      expect(view.get({ id: 5, kind: 1 })?.weight).toBe(5);
      expect('set' in view).toBe(false);
    });
  });
}
