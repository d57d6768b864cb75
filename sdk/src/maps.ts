import type { Codec } from './codec.js';

/**
 * `lpm_trie`: keys begin with the number of significant bits that follow it (`u32`, host byte order); bits beyond them
 * are zero. Slices and views treat such a key as one entry among others: they never match a longer address with it.
 */
export type MapType = 'hash' | 'lru_hash' | 'percpu_hash' | 'lpm_trie' | 'array' | 'percpu_array';

/**
 * One eBPF map as a plugin sees it. When the compiled packet path has a map of this name, the spec binds to it (and
 * its sizes are checked against the object's BTF); otherwise the broker creates the map, and it is there for the
 * plugin's own programs and bookkeeping.
 */
export interface MapSpec<K, V> {
  /** snake_case, the plugin's noun first, at most 15 characters (the kernel shows no more): `lb_service`. */
  readonly name: string;
  readonly type: MapType;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  readonly maxEntries: number;
  /** File name of the pin when it differs from `name` (the guide's names, e.g. `nat_v4_map`). */
  readonly pin?: string;
  /** Values hold objects of the kernel (timers), which cannot be copied: a table whose size changes begins empty. */
  readonly uncopyable?: boolean;
}

/** Read-only access. Everything is synchronous: one map operation is about a microsecond. */
export interface MapView<K, V> {
  readonly spec: MapSpec<K, V>;
  /** The value, or undefined when there is none. For per-CPU maps see `getPerCpu`. */
  get(key: K): V | undefined;
  /** One value per possible CPU, empty when there is no such key. Plain maps give a list of one. */
  getPerCpu(key: K): V[];
  /** All entries, read in batches; entries that change meanwhile may be seen old or new. */
  entries(): Iterable<[K, V]>;
  /** Like `entries` for per-CPU maps. */
  entriesPerCpu(): Iterable<[K, V[]]>;
}

/** A map slice: the one writer's handle. All writes throw `DP_MAP_FULL`, `DP_MAP_WRITE` when the kernel refuses. */
export interface MapSlice<K, V> extends MapView<K, V> {
  set(key: K, value: V): void;
  /** Array maps have no absent keys: their element is zeroed. Tells whether there was an entry. */
  delete(key: K): boolean;
  /** Writes many entries with few system calls. On failure the entries written so far are taken back. */
  setMany(entries: readonly (readonly [K, V])[]): void;
  deleteMany(keys: readonly K[]): void;
  /** Makes the contents equal to `desired`: writes what is missing or different, removes what is stale. */
  sync(desired: readonly (readonly [K, V])[]): { written: number; removed: number; kept: number };
}
