/** Typed slices and views over raw maps: codecs, coded errors, rollback. */
import type { Codec, MapSlice, MapSpec, MapView } from '@loxilb/sdk';
import { mapError, mapLayout, notLoaded, perCpuOnly } from './errors.js';
import { isArray, isPerCpu, type RawMap } from './raw-map.js';
import { removePacked, syncArray, syncHash } from './sync.js';
import { Errno } from './sys/errno.js';

type Entries<K, V> = readonly (readonly [K, V])[];

export class TypedMap<K, V> implements MapSlice<K, V> {
  private bound: Bound | undefined;

  constructor(readonly spec: MapSpec<K, V>) {}

  /** Called by the broker once the map exists. Throws `DP_MAP_LAYOUT` when sizes differ. */
  bind(raw: RawMap): void {
    if (raw.keySize !== this.spec.key.size) throw mapLayout(raw.name, 'key size', this.spec.key.size, raw.keySize);
    if (raw.valueSize !== this.spec.value.size) {
      throw mapLayout(raw.name, 'value size', this.spec.value.size, raw.valueSize);
    }
    this.bound = { raw, key: viewOf(raw.key), value: viewOf(raw.value) };
  }

  get(key: K): V | undefined {
    const { raw, value } = this.open();
    if (isPerCpu(raw.type)) throw perCpuOnly(raw.name);
    return this.lookup(key) ? this.spec.value.decode(value, 0) : undefined;
  }

  getPerCpu(key: K): V[] {
    const { raw, value } = this.open();
    return this.lookup(key) ? decodeCopies(this.spec.value, raw, value, 0) : [];
  }

  *entries(): Iterable<[K, V]> {
    if (isPerCpu(this.open().raw.type)) throw perCpuOnly(this.spec.name);
    for (const [key, copies] of this.entriesPerCpu()) yield [key, copies[0] as V];
  }

  *entriesPerCpu(): Iterable<[K, V[]]> {
    const { raw } = this.open();
    const width = raw.value.length;
    for (const batch of raw.batches()) {
      const keys = viewOf(batch.keys);
      const values = viewOf(batch.values);
      for (let index = 0; index < batch.count; index++) {
        yield [
          this.spec.key.decode(keys, index * raw.keySize),
          decodeCopies(this.spec.value, raw, values, index * width),
        ];
      }
    }
  }

  /** Of a per-CPU map, the first CPU gets the value and the others zero, so that the sum is the value. */
  set(key: K, value: V): void {
    const { raw, key: keyView } = this.open();
    this.spec.key.encode(key, keyView, 0);
    this.encodeValue(value, raw.value);
    const errno = raw.update();
    if (errno !== 0) throw mapError(raw.name, 'write', errno);
  }

  delete(key: K): boolean {
    const { raw } = this.open();
    if (!this.lookup(key)) return false;
    if (isArray(raw.type)) {
      raw.value.fill(0);
      const errno = raw.update();
      if (errno !== 0) throw mapError(raw.name, 'delete', errno);
      return true;
    }
    const errno = raw.remove();
    if (errno !== 0 && errno !== Errno.ENOENT) throw mapError(raw.name, 'delete', errno);
    return errno === 0;
  }

  setMany(entries: Entries<K, V>): void {
    const { raw } = this.open();
    const { keys, values } = this.encodeAll(entries);
    refuseOutOfRange(raw, keys, entries.length);
    const before = isArray(raw.type) ? [] : this.readAll(keys, entries.length);
    const { written, errno } = raw.updateBatch(keys, values, entries.length);
    if (errno === 0) return;
    this.restore(keys, before.slice(0, written));
    throw mapError(raw.name, 'write', errno);
  }

  deleteMany(keys: readonly K[]): void {
    const { raw } = this.open();
    const packed = new Uint8Array(keys.length * raw.keySize);
    const view = viewOf(packed);
    keys.forEach((key, index) => {
      this.spec.key.encode(key, view, index * raw.keySize);
    });
    removePacked(raw, packed);
  }

  sync(desired: Entries<K, V>): { written: number; removed: number; kept: number } {
    const { raw } = this.open();
    const { keys, values } = this.encodeAll(desired);
    refuseOutOfRange(raw, keys, desired.length);
    return isArray(raw.type) ? syncArray(raw, keys, values) : syncHash(raw, keys, values);
  }

  private open(): Bound {
    if (!this.bound) throw notLoaded(`map ${this.spec.name}`);
    return this.bound;
  }

  private lookup(key: K): boolean {
    const { raw, key: view } = this.open();
    this.spec.key.encode(key, view, 0);
    const errno = raw.lookup();
    if (errno !== 0 && errno !== Errno.ENOENT) throw mapError(raw.name, 'read', errno);
    return errno === 0;
  }

  private encodeValue(value: V, target: Uint8Array): void {
    if (target.length > this.spec.value.size) target.fill(0);
    this.spec.value.encode(value, viewOf(target), 0);
  }

  private encodeAll(entries: Entries<K, V>): { keys: Uint8Array; values: Uint8Array } {
    const { raw } = this.open();
    const width = raw.value.length;
    const keys = new Uint8Array(entries.length * raw.keySize);
    const values = new Uint8Array(entries.length * width);
    const keyView = viewOf(keys);
    const valueView = viewOf(values);
    entries.forEach(([key, value], index) => {
      this.spec.key.encode(key, keyView, index * raw.keySize);
      this.spec.value.encode(value, valueView, index * width);
    });
    return { keys, values };
  }

  /** What the keys hold now, so that a failed write can be taken back. */
  private readAll(keys: Uint8Array, count: number): (Uint8Array | undefined)[] {
    const { raw } = this.open();
    return Array.from({ length: count }, (_, index) => {
      raw.key.set(slot(keys, raw.keySize, index));
      return raw.lookup() === 0 ? raw.value.slice() : undefined;
    });
  }

  private restore(keys: Uint8Array, before: readonly (Uint8Array | undefined)[]): void {
    const { raw } = this.open();
    before.forEach((value, index) => {
      raw.key.set(slot(keys, raw.keySize, index));
      if (!value) raw.remove();
      else {
        raw.value.set(value);
        raw.update();
      }
    });
  }
}

interface Bound {
  readonly raw: RawMap;
  readonly key: DataView;
  readonly value: DataView;
}

/** Read-only at run time too: the view has no writing members. */
export function readOnly<K, V>(map: TypedMap<K, V>): MapView<K, V> {
  return {
    spec: map.spec,
    get: (key) => map.get(key),
    getPerCpu: (key) => map.getPerCpu(key),
    entries: () => map.entries(),
    entriesPerCpu: () => map.entriesPerCpu(),
  };
}

/** An array refuses an index beyond its end; told before anything is written. */
function refuseOutOfRange(raw: RawMap, keys: Uint8Array, count: number): void {
  if (!isArray(raw.type)) return;
  const view = viewOf(keys);
  for (let index = 0; index < count; index++) {
    if (view.getUint32(index * 4, true) >= raw.maxEntries) throw mapError(raw.name, 'write', Errno.E2BIG);
  }
}

function decodeCopies<V>(codec: Codec<V>, raw: RawMap, source: DataView, offset: number): V[] {
  return Array.from({ length: raw.copies }, (_, cpu) => codec.decode(source, offset + cpu * raw.stride));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function slot(packed: Uint8Array, size: number, index: number): Uint8Array {
  return packed.subarray(index * size, (index + 1) * size);
}
