/** A map in this process that behaves like the kernel's, limits and errors included. */
import type { MapType, RawBatch } from '@loxilb/sdk';
import { BATCH_ENTRIES, type BatchResult, isArray, type RawMap } from '../raw-map.js';
import { Errno } from '../sys/errno.js';

export interface MemoryShape {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

export class MemoryMap implements RawMap {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  /** One CPU is enough to show how per-CPU maps behave. */
  readonly copies = 1;
  readonly stride: number;
  readonly maxEntries: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Insertion order is age: an LRU map evicts its first. */
  private readonly entries = new Map<string, Uint8Array>();

  constructor(shape: MemoryShape) {
    this.name = shape.name;
    this.type = shape.type;
    this.keySize = shape.keySize;
    this.valueSize = shape.valueSize;
    this.stride = shape.valueSize;
    this.maxEntries = shape.maxEntries;
    this.key = new Uint8Array(shape.keySize);
    this.value = new Uint8Array(shape.valueSize);
  }

  lookup(): number {
    if (isArray(this.type) && this.indexOf(this.key) >= this.maxEntries) return Errno.ENOENT;
    const found = this.entries.get(textOf(this.key));
    if (found) this.value.set(found);
    else if (isArray(this.type)) this.value.fill(0);
    else return Errno.ENOENT;
    return 0;
  }

  update(): number {
    return this.write(this.key, this.value);
  }

  remove(): number {
    if (isArray(this.type)) return Errno.EINVAL;
    return this.entries.delete(textOf(this.key)) ? 0 : Errno.ENOENT;
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    for (let index = 0; index < count; index++) {
      const errno = this.write(slot(keys, this.keySize, index), slot(values, this.valueSize, index));
      if (errno !== 0) return { written: index, errno };
    }
    return { written: count, errno: 0 };
  }

  removeBatch(keys: Uint8Array, count: number): BatchResult {
    if (isArray(this.type)) return { written: 0, errno: Errno.EINVAL };
    for (let index = 0; index < count; index++) this.entries.delete(textOf(slot(keys, this.keySize, index)));
    return { written: count, errno: 0 };
  }

  *batches(): Iterable<RawBatch> {
    const all = isArray(this.type) ? this.arrayEntries() : [...this.entries];
    for (let start = 0; start < all.length; start += BATCH_ENTRIES)
      yield this.pack(all.slice(start, start + BATCH_ENTRIES));
  }

  close(): void {
    this.entries.clear();
  }

  private write(key: Uint8Array, value: Uint8Array): number {
    const text = textOf(key);
    if (this.type === 'lpm_trie' && this.indexOf(key) > (this.keySize - 4) * 8) return Errno.EINVAL;
    if (isArray(this.type)) {
      if (this.indexOf(key) >= this.maxEntries) return Errno.E2BIG;
    } else if (!this.entries.has(text) && this.entries.size >= this.maxEntries) {
      if (this.type !== 'lru_hash') return Errno.E2BIG;
      this.entries.delete(this.entries.keys().next().value ?? '');
    }
    this.entries.set(text, value.slice());
    return 0;
  }

  /** The first word of a key: index of an array, bits of a prefix. */
  private indexOf(key: Uint8Array): number {
    return new DataView(key.buffer, key.byteOffset, 4).getUint32(0, true);
  }

  /** Array maps have every element. */
  private arrayEntries(): [string, Uint8Array][] {
    const zero = new Uint8Array(this.valueSize);
    const key = new Uint8Array(4);
    return Array.from({ length: this.maxEntries }, (_, index) => {
      new DataView(key.buffer).setUint32(0, index, true);
      const text = textOf(key);
      return [text, this.entries.get(text) ?? zero];
    });
  }

  private pack(entries: readonly (readonly [string, Uint8Array])[]): RawBatch {
    const keys = new Uint8Array(entries.length * this.keySize);
    const values = new Uint8Array(entries.length * this.valueSize);
    entries.forEach(([key, value], index) => {
      keys.set(Buffer.from(key, 'latin1'), index * this.keySize);
      values.set(value, index * this.valueSize);
    });
    return { keys, values, count: entries.length };
  }
}

function slot(packed: Uint8Array, size: number, index: number): Uint8Array {
  return packed.subarray(index * size, (index + 1) * size);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
