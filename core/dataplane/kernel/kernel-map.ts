/** A map of the kernel. Buffers and the bpf(2) attribute are made once; an operation is one foreign call. */
import type { MapType, RawBatch } from '@loxilb/sdk';
import { mapError } from '../errors.js';
import { BATCH_ENTRIES, type BatchResult, isPerCpu, type RawMap } from '../raw-map.js';
import { Errno } from '../sys/errno.js';
import { addressOf, bpf, closeFd } from '../sys/libc.js';

const LOOKUP = 1;
const UPDATE = 2;
const DELETE = 3;
const GET_NEXT_KEY = 4;
const LOOKUP_BATCH = 24;
const UPDATE_BATCH = 26;
const DELETE_BATCH = 27;

/** BPF_MAP_TYPE_*. */
export const KERNEL_MAP_TYPES: Readonly<Record<MapType, number>> = {
  hash: 1,
  array: 2,
  percpu_hash: 5,
  percpu_array: 6,
  lru_hash: 9,
  lpm_trie: 11,
};

export interface KernelMapShape {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly possibleCpus: number;
}

export class KernelMap implements RawMap {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly copies: number;
  readonly stride: number;
  readonly maxEntries: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  private readonly attr = new Uint8Array(32);
  /** Without the value's address, which this command refuses. */
  private readonly deleteAttr = this.attr.subarray(0, 16);
  private readonly batchAttr = new DataView(new ArrayBuffer(56));
  private hasBatch = true;

  /** Takes the descriptor over. */
  constructor(
    shape: KernelMapShape,
    readonly fd: number,
  ) {
    this.name = shape.name;
    this.type = shape.type;
    this.keySize = shape.keySize;
    this.valueSize = shape.valueSize;
    this.copies = isPerCpu(shape.type) ? shape.possibleCpus : 1;
    this.stride = isPerCpu(shape.type) ? Math.ceil(shape.valueSize / 8) * 8 : shape.valueSize;
    this.maxEntries = shape.maxEntries;
    this.key = new Uint8Array(shape.keySize);
    this.value = new Uint8Array(this.stride * this.copies);
    const view = new DataView(this.attr.buffer);
    view.setUint32(0, fd, true);
    view.setBigUint64(8, addressOf(this.key), true);
    view.setBigUint64(16, addressOf(this.value), true);
    this.batchAttr.setUint32(36, fd, true);
  }

  lookup(): number {
    const errno = -bpf(LOOKUP, this.attr);
    return errno === 0 && this.type === 'lpm_trie' && !this.isPrefix() ? Errno.ENOENT : errno;
  }

  update(): number {
    return -bpf(UPDATE, this.attr);
  }

  remove(): number {
    return -bpf(DELETE, this.deleteAttr);
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    let done = 0;
    while (done < count) {
      const chunk = Math.min(BATCH_ENTRIES, count - done);
      const step = this.updateChunk(
        keys.subarray(done * this.keySize, (done + chunk) * this.keySize),
        values.subarray(done * this.value.length, (done + chunk) * this.value.length),
        chunk,
      );
      done += step.written;
      if (step.errno !== 0) return { written: done, errno: step.errno };
    }
    return { written: done, errno: 0 };
  }

  removeBatch(keys: Uint8Array, count: number): BatchResult {
    let done = 0;
    while (done < count) {
      const chunk = Math.min(BATCH_ENTRIES, count - done);
      const step = this.removeChunk(keys.subarray(done * this.keySize, (done + chunk) * this.keySize), chunk);
      done += step.written;
      if (step.errno !== 0) return { written: done, errno: step.errno };
    }
    return { written: done, errno: 0 };
  }

  *batches(): Iterable<RawBatch> {
    if (!this.hasBatch) yield* this.singleReads();
    else yield* this.batchReads();
  }

  close(): void {
    closeFd(this.fd);
  }

  /**
   * Whether the trie has the very prefix in `key`, not only one that covers it. After a prefix it has, the kernel names
   * the next one; after any other, the first.
   */
  private isPrefix(): boolean {
    const first = this.nextKey(undefined);
    const next = this.nextKey(this.key);
    return first !== undefined && (next === undefined || Buffer.compare(first, next) !== 0);
  }

  private updateChunk(keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    if (this.hasBatch) {
      const { result, processed } = this.batch(UPDATE_BATCH, { keys, values, count });
      if (result === 0) return { written: count, errno: 0 };
      if (!this.lacksBatch(result)) return { written: Math.min(processed, count), errno: -result };
    }
    for (let index = 0; index < count; index++) {
      this.key.set(keys.subarray(index * this.keySize, (index + 1) * this.keySize));
      this.value.set(values.subarray(index * this.value.length, (index + 1) * this.value.length));
      const errno = this.update();
      if (errno !== 0) return { written: index, errno };
    }
    return { written: count, errno: 0 };
  }

  private removeChunk(keys: Uint8Array, count: number): BatchResult {
    if (this.hasBatch) {
      const { result, processed } = this.batch(DELETE_BATCH, { keys, count });
      if (result === 0) return { written: count, errno: 0 };
      // The kernel stops at a key that is absent: it counts, and the rest follows in the next call.
      if (result === -Errno.ENOENT) return { written: Math.min(processed + 1, count), errno: 0 };
      if (!this.lacksBatch(result)) return { written: Math.min(processed, count), errno: -result };
    }
    for (let index = 0; index < count; index++) {
      this.key.set(keys.subarray(index * this.keySize, (index + 1) * this.keySize));
      const errno = this.remove();
      if (errno !== 0 && errno !== Errno.ENOENT) return { written: index, errno };
    }
    return { written: count, errno: 0 };
  }

  /** Kernels before 5.6 have no batch command, and some map types joined later. */
  private lacksBatch(result: number): boolean {
    const lacking = result === -Errno.EINVAL || result === -Errno.ENOTSUPP || result === -Errno.EOPNOTSUPP;
    if (lacking) this.hasBatch = false;
    return lacking;
  }

  private batch(
    command: number,
    parts: { keys: Uint8Array; values?: Uint8Array; count: number; from?: Uint8Array | undefined; to?: Uint8Array },
  ): { result: number; processed: number } {
    const pointer = (buffer: Uint8Array | undefined) => (buffer ? addressOf(buffer) : 0n);
    const attr = this.batchAttr;
    attr.setBigUint64(0, pointer(parts.from), true);
    attr.setBigUint64(8, pointer(parts.to), true);
    attr.setBigUint64(16, pointer(parts.keys), true);
    attr.setBigUint64(24, pointer(parts.values), true);
    attr.setUint32(32, parts.count, true);
    const result = bpf(command, new Uint8Array(attr.buffer));
    return { result, processed: attr.getUint32(32, true) };
  }

  private *batchReads(): Iterable<RawBatch> {
    const cursorSize = Math.max(4, this.keySize);
    let from: Uint8Array | undefined;
    let capacity = Math.min(BATCH_ENTRIES, Math.max(16, this.maxEntries));
    for (;;) {
      const to = new Uint8Array(cursorSize);
      const keys = new Uint8Array(capacity * this.keySize);
      const values = new Uint8Array(capacity * this.value.length);
      const { result, processed } = this.batch(LOOKUP_BATCH, { keys, values, count: capacity, from, to });
      if (result === -Errno.ENOSPC) {
        // One bucket of a hash holds more than fits.
        capacity *= 2;
        continue;
      }
      if (!from && this.lacksBatch(result)) {
        yield* this.singleReads();
        return;
      }
      const ended = result === -Errno.ENOENT;
      if (result < 0 && !ended) throw mapError(this.name, 'read', -result);
      // The last call fails with ENOENT and has entries all the same.
      if (processed > 0) yield this.trim(keys, values, processed);
      if (ended) return;
      from = to;
    }
  }

  private trim(keys: Uint8Array, values: Uint8Array, count: number): RawBatch {
    return {
      keys: keys.subarray(0, count * this.keySize),
      values: values.subarray(0, count * this.value.length),
      count,
    };
  }

  private *singleReads(): Iterable<RawBatch> {
    let previous: Uint8Array | undefined;
    let ended = false;
    while (!ended) {
      const keys = new Uint8Array(BATCH_ENTRIES * this.keySize);
      const values = new Uint8Array(BATCH_ENTRIES * this.value.length);
      let count = 0;
      while (count < BATCH_ENTRIES) {
        const next = this.nextKey(previous);
        ended = next === undefined;
        if (!next) break;
        previous = next;
        this.key.set(next);
        if (this.lookup() !== 0) continue;
        keys.set(this.key, count * this.keySize);
        values.set(this.value, count * this.value.length);
        count++;
      }
      if (count > 0) yield this.trim(keys, values, count);
    }
  }

  private nextKey(previous: Uint8Array | undefined): Uint8Array | undefined {
    const next = new Uint8Array(this.keySize);
    const attr = new DataView(new ArrayBuffer(32));
    attr.setUint32(0, this.fd, true);
    attr.setBigUint64(8, previous ? addressOf(previous) : 0n, true);
    attr.setBigUint64(16, addressOf(next), true);
    const result = bpf(GET_NEXT_KEY, new Uint8Array(attr.buffer));
    if (result < 0 && result !== -Errno.ENOENT) throw mapError(this.name, 'read', -result);
    return result < 0 ? undefined : next;
  }
}
