/** A map as bytes: what a backend provides and what slices are built on. */
import type { MapType, RawBatch } from '@loxilb/sdk';

/** Entries per system call: larger batches are no faster and block the event loop for longer. */
export const BATCH_ENTRIES = 4096;

/** Entries of a batch that were written, and why the rest was not (0: all were). */
export interface BatchResult {
  readonly written: number;
  readonly errno: number;
}

/**
 * Single operations go through `key` and `value`, buffers the map owns, so that a call allocates nothing and no size
 * can be wrong. They are valid until the next operation. Results are 0, or an errno.
 */
export interface RawMap {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  /** Bytes of one value. */
  readonly valueSize: number;
  /** Values of one key: possible CPUs for per-CPU maps, else 1. */
  readonly copies: number;
  /** Bytes from one CPU's value to the next; for plain maps the value size. */
  readonly stride: number;
  readonly maxEntries: number;
  readonly key: Uint8Array;
  /** `copies * stride` bytes. */
  readonly value: Uint8Array;
  /** Reads the value of `key`; of an LPM trie that of the very prefix, not of one that covers it. */
  lookup(): number;
  update(): number;
  remove(): number;
  /** Writes packed entries in order, and stops at the first that is refused. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): BatchResult;
  /** Removes packed keys; a key that is absent counts as removed. */
  removeBatch(keys: Uint8Array, count: number): BatchResult;
  /** All entries in fresh buffers that the caller may keep or transfer. Throws when the kernel refuses. */
  batches(): Iterable<RawBatch>;
  close(): void;
}

/** One value per possible CPU. */
export function isPerCpu(type: MapType): boolean {
  return type === 'percpu_array' || type === 'percpu_hash';
}

export function isArray(type: MapType): boolean {
  return type === 'array' || type === 'percpu_array';
}

/** The entries of these keys that there are, packed. */
export function readEntries(raw: RawMap, keys: readonly Uint8Array[]): RawBatch {
  const found = keys.flatMap((key) => {
    raw.key.set(key);
    return raw.lookup() === 0 ? [{ key, value: raw.value.slice() }] : [];
  });
  return {
    keys: Buffer.concat(found.map(({ key }) => key)),
    values: Buffer.concat(found.map(({ value }) => value)),
    count: found.length,
  };
}
