/** Makes a map's contents equal to what is wanted, with as few writes as there are differences. */
import { mapError } from './errors.js';
import { isArray, type RawMap } from './raw-map.js';

export interface SyncResult {
  readonly written: number;
  readonly removed: number;
  readonly kept: number;
}

/** Removes packed keys; elements of an array become zero. */
export function removePacked(raw: RawMap, keys: Uint8Array): void {
  const count = keys.length / raw.keySize;
  if (count === 0) return;
  const result = isArray(raw.type)
    ? raw.updateBatch(keys, new Uint8Array(count * raw.value.length), count)
    : raw.removeBatch(keys, count);
  if (result.errno !== 0) throw mapError(raw.name, 'delete', result.errno);
}

/** What is stale goes first, so that a nearly full map has room. */
export function syncHash(raw: RawMap, keys: Uint8Array, values: Uint8Array): SyncResult {
  const width = raw.value.length;
  const wanted = new Map<string, number>();
  for (let index = 0; index < keys.length / raw.keySize; index++) wanted.set(keyText(keys, raw.keySize, index), index);
  const stale: Uint8Array[] = [];
  let kept = 0;
  for (const batch of raw.batches()) {
    for (let index = 0; index < batch.count; index++) {
      const text = keyText(batch.keys, raw.keySize, index);
      const want = wanted.get(text);
      if (want === undefined) stale.push(slot(batch.keys, raw.keySize, index));
      else if (Buffer.compare(slot(values, width, want), slot(batch.values, width, index)) === 0) {
        wanted.delete(text);
        kept++;
      }
    }
  }
  removePacked(raw, Buffer.concat(stale));
  const missing = [...wanted.values()];
  const missingKeys = Buffer.concat(missing.map((index) => slot(keys, raw.keySize, index)));
  const missingValues = Buffer.concat(missing.map((index) => slot(values, width, index)));
  write(raw, missingKeys, missingValues);
  return { written: missing.length, removed: stale.length, kept };
}

/**
 * An array has all its keys, in order, and absent ones are zero: so it is compared with an image of what it should be,
 * a batch at a time. Tables of millions of elements that are right cost milliseconds.
 */
export function syncArray(raw: RawMap, keys: Uint8Array, values: Uint8Array): SyncResult {
  const width = raw.value.length;
  const { image, wanted } = drawImage(raw, keys, values);
  const different: number[] = [];
  let first = 0;
  for (const batch of raw.batches()) {
    const want = image.subarray(first * width, (first + batch.count) * width);
    if (Buffer.compare(want, batch.values) !== 0) {
      for (let index = 0; index < batch.count; index++) {
        if (Buffer.compare(slot(want, width, index), slot(batch.values, width, index)) !== 0)
          different.push(first + index);
      }
    }
    first += batch.count;
  }
  const differentValues = Buffer.concat(different.map((index) => slot(image, width, index)));
  write(raw, new Uint8Array(Uint32Array.from(different).buffer), differentValues);
  const written = different.reduce((sum, index) => sum + (wanted[index] ?? 0), 0);
  const all = wanted.reduce((sum, one) => sum + one, 0);
  return { written, removed: different.length - written, kept: all - written };
}

/** The bytes of the whole array, and a 1 for each element that is wanted. */
function drawImage(raw: RawMap, keys: Uint8Array, values: Uint8Array): { image: Uint8Array; wanted: Uint8Array } {
  const width = raw.value.length;
  const image = new Uint8Array(raw.maxEntries * width);
  const wanted = new Uint8Array(raw.maxEntries);
  const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  for (let entry = 0; entry * 4 < keys.length; entry++) {
    const index = view.getUint32(entry * 4, true);
    image.set(slot(values, width, entry), index * width);
    wanted[index] = 1;
  }
  return { image, wanted };
}

function write(raw: RawMap, keys: Uint8Array, values: Uint8Array): void {
  const { errno } = raw.updateBatch(keys, values, keys.length / raw.keySize);
  if (errno !== 0) throw mapError(raw.name, 'write', errno);
}

function slot(packed: Uint8Array, size: number, index: number): Uint8Array {
  return packed.subarray(index * size, (index + 1) * size);
}

function keyText(keys: Uint8Array, size: number, index: number): string {
  return Buffer.from(keys.buffer, keys.byteOffset + index * size, size).toString('latin1');
}
