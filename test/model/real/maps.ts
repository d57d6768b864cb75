/** The kernel's maps as the core hands them to plugins, and as the test looks into them. */
import type { Codec, MapSlice, MapSpec, RawBatch } from '@loxilb/sdk';
import { KERNEL_MAP_TYPES, KernelMap, type KernelMapShape } from '../../../core/dataplane/kernel/kernel-map.js';
import { type BatchResult, isArray, readEntries } from '../../../core/dataplane/raw-map.js';
import { TypedMap } from '../../../core/dataplane/slice.js';
import { createMap, mapInfo } from '../../../core/dataplane/sys/bpf.js';
import { Errno } from '../../../core/dataplane/sys/errno.js';
import { libbpf } from '../../../core/dataplane/sys/libbpf.js';
import { duplicateFd } from '../../../core/dataplane/sys/libc.js';
import type { PathMaps } from '../../bpf/path-maps.js';

const NO_PREALLOC = 1;

/** Counts writes, and down to one that fails. */
export interface Writes {
  count: number;
  leftToFailure: number | undefined;
  /** After it no other succeeds. */
  isDeath: boolean;
  /** One has failed. */
  hasFailed: boolean;
}

export class KernelMaps {
  readonly writes: Writes = { count: 0, leftToFailure: undefined, isDeath: false, hasFailed: false };
  private readonly maps = new Map<string, WatchedMap>();
  private readonly descriptors: ReadonlyMap<string, number>;

  constructor(maps: PathMaps) {
    this.descriptors = new Map(Object.values(maps).map(({ name, fd }) => [name, fd]));
  }

  slice<K, V>(spec: MapSpec<K, V>): MapSlice<K, V> {
    const slice = new TypedMap(spec);
    slice.bind(this.open(spec));
    return slice;
  }

  rawBatches(name: string): Iterable<RawBatch> {
    return this.need(name).used();
  }

  rawEntries(name: string, keys: readonly Uint8Array[]): RawBatch {
    return readEntries(this.need(name), keys);
  }

  /** Every byte of maps the lb plugin has, by map. */
  snapshot(without: readonly string[]): Map<string, string> {
    const names = [...this.maps.keys()].filter((name) => name.startsWith('lb_') && !without.includes(name));
    return new Map(names.map((name) => [name, bytesOf(this.need(name))]));
  }

  /** Names of maps, but for `without`, that hold anything, with how much. */
  filled(without: readonly string[]): string[] {
    return [...this.maps.values()]
      .filter(({ name }) => !without.includes(name))
      .flatMap((map) => {
        const count = countFilled(map);
        return count === 0 ? [] : [`${map.name}: ${count}`];
      });
  }

  /** Empties these maps, or all. */
  wipe(names: Iterable<string> = this.maps.keys()): void {
    for (const name of names) this.need(name).wipe();
  }

  private open({ name, type, key, value, maxEntries }: MapSpec<never, never> | MapSpec<unknown, unknown>): WatchedMap {
    const known = this.maps.get(name);
    if (known) return known;
    const fd = this.descriptors.get(name) ?? makeMap(name, type, key, value, maxEntries);
    const { maxEntries: entries, keySize, valueSize } = mapInfo(fd);
    const shape = { name, type, keySize, valueSize, maxEntries: entries, possibleCpus: libbpf().possibleCpus() };
    const map = new WatchedMap(shape, duplicateFd(fd), this.writes);
    this.maps.set(name, map);
    return map;
  }

  private need(name: string): WatchedMap {
    const map = this.maps.get(name);
    if (!map) throw new Error(`no plugin has claimed ${name}`);
    return map;
  }
}

/** A map of user space alone. */
function makeMap(
  name: string,
  type: MapSpec<unknown, unknown>['type'],
  key: Pick<Codec<never>, 'size'>,
  value: Pick<Codec<never>, 'size'>,
  maxEntries: number,
): number {
  const sizes = { keySize: key.size, valueSize: value.size, maxEntries };
  const fd = createMap(name, { type: KERNEL_MAP_TYPES[type], ...sizes, flags: NO_PREALLOC });
  if (fd < 0) throw new Error(`${name} could not be made, errno ${-fd}`);
  return fd;
}

/** Fails where it is told to, and knows how far an array was ever written. */
class WatchedMap extends KernelMap {
  private end = 0;

  constructor(
    shape: KernelMapShape,
    fd: number,
    private readonly writes: Writes,
  ) {
    super(shape, fd);
  }

  override update(): number {
    this.note(this.key, 1);
    return this.fails() ? Errno.ENOMEM : super.update();
  }

  override updateBatch(keys: Uint8Array, values: Uint8Array, count: number): BatchResult {
    this.note(keys, count);
    return this.fails() ? { written: 0, errno: Errno.ENOMEM } : super.updateBatch(keys, values, count);
  }

  override remove(): number {
    return this.fails() ? Errno.ENOMEM : super.remove();
  }

  override removeBatch(keys: Uint8Array, count: number): BatchResult {
    return this.fails() ? { written: 0, errno: Errno.ENOMEM } : super.removeBatch(keys, count);
  }

  /** Batches up to the last element of an array that was ever written. */
  *used(): Iterable<RawBatch> {
    let read = 0;
    for (const batch of this.batches()) {
      if (this.isWatched() && read >= this.end) return;
      read += batch.count;
      yield batch;
    }
  }

  wipe(): void {
    for (const { keys, values, count } of [...this.used()]) {
      if (isArray(this.type)) super.updateBatch(keys, values.fill(0), count);
      else super.removeBatch(keys, count);
    }
    this.end = 0;
  }

  /** Other arrays are written by programs too. */
  private isWatched(): boolean {
    return this.name === 'lb_slot';
  }

  private note(keys: Uint8Array, count: number): void {
    if (!this.isWatched()) return;
    const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
    for (let index = 0; index < count; index++) this.end = Math.max(this.end, view.getUint32(index * 4, true) + 1);
  }

  private fails(): boolean {
    this.writes.count++;
    if (this.writes.leftToFailure === undefined || --this.writes.leftToFailure > 0) return false;
    this.writes.leftToFailure = this.writes.isDeath ? 1 : undefined;
    this.writes.hasFailed = true;
    return true;
  }
}

function bytesOf(map: WatchedMap): string {
  const parts = [...map.used()].flatMap(({ keys, values }) => (isArray(map.type) ? [values] : [keys, values]));
  return Buffer.concat(parts).toString('latin1');
}

function countFilled(map: WatchedMap): number {
  let filled = 0;
  const width = map.value.length;
  for (const { values, count } of map.used()) {
    if (!isArray(map.type)) filled += count;
    else if (Buffer.compare(values, new Uint8Array(values.length)) !== 0)
      for (let index = 0; index < count; index++)
        if (values.subarray(index * width, (index + 1) * width).some((byte) => byte !== 0)) filled++;
  }
  return filled;
}
