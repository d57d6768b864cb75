/** Pinned maps: adopted when they fit, migrated when only their size differs, refused otherwise. */
import { join } from 'node:path';
import type { Logger, MapType } from '@loxilb/sdk';
import type { MapRequest } from '../backend.js';
import type { ObjectMap } from '../btf/object-layout.js';
import { isFull, kernelError, layoutMismatch, mapError, mapShrink } from '../errors.js';
import { LAYOUT_VERSION } from '../layout-version.js';
import { isArray } from '../raw-map.js';
import { createMap, type MapShape, MapTypeNumber, mapInfo } from '../sys/bpf.js';
import { closeFd, duplicateFd } from '../sys/libc.js';
import type { BpfObject } from './bpf-object.js';
import { KERNEL_MAP_TYPES, KernelMap } from './kernel-map.js';
import { listPins, openPin, pinAtomically, removePin } from './pins.js';

/** BPF_F_NO_PREALLOC, for hash maps the broker creates: memory is taken as entries come. */
const NO_PREALLOC = 1;
const ON_DEMAND: ReadonlySet<MapType> = new Set(['hash', 'percpu_hash', 'lpm_trie']);

/** Maps of plugins that are off stay this small or get one element; the programs still refer to them. */
const UNCLAIMED_MAX = 4096;

export class MapStore {
  /** Pinned maps that have another size, until their entries are copied. */
  private readonly replaced = new Map<string, number>();
  private readonly adopted = new Set<string>();

  constructor(
    private readonly folder: string,
    private readonly requests: readonly MapRequest[],
    private readonly possibleCpus: number,
    private readonly log: Logger,
  ) {}

  /** Before the object is loaded: sizes, and descriptors of what is pinned. */
  prepare(object: BpfObject): void {
    this.checkVersion();
    for (const map of object.layout.maps.values()) {
      const request = this.requests.find((candidate) => candidate.name === map.name);
      if (request) this.prepareClaimed(object, request, { ...map, maxEntries: request.maxEntries });
      else if (map.type === MapTypeNumber.RINGBUF) this.prepareRing(object, map);
      else if (map.maxEntries > UNCLAIMED_MAX) object.setMaxEntries(map.name, 1);
    }
  }

  /** After it: every claimed map, filled and pinned. */
  open(object: BpfObject): Map<string, KernelMap> {
    const maps = new Map<string, KernelMap>();
    try {
      for (const request of this.requests) maps.set(request.name, this.openMap(object, request));
      for (const request of this.requests) this.migrate(request, maps.get(request.name));
      this.writeVersion(maps.get('dp_control'));
      for (const request of this.requests) this.pin(request, maps.get(request.name));
      this.pinRings(object);
      this.removeStalePins(object);
      return maps;
    } catch (error) {
      for (const map of maps.values()) map.close();
      throw error;
    } finally {
      for (const fd of this.replaced.values()) closeFd(fd);
    }
  }

  private prepareClaimed(object: BpfObject, request: MapRequest, wanted: MapShape): void {
    const pinned = this.findPinned(request, wanted);
    if (pinned === undefined || this.replaced.has(request.name)) {
      object.setMaxEntries(request.name, request.maxEntries);
      return;
    }
    object.reuseMap(request.name, pinned);
    closeFd(pinned);
    this.adopted.add(request.name);
  }

  /** The pinned map when there is one of the right layout. Throws `DP_LAYOUT_VERSION` otherwise. */
  private findPinned(request: MapRequest, wanted: MapShape): number | undefined {
    const path = join(this.folder, request.pin);
    const fd = openPin(path);
    if (fd === undefined) return undefined;
    const found = mapInfo(fd);
    for (const member of ['type', 'keySize', 'valueSize', 'flags'] as const) {
      if (found[member] === wanted[member]) continue;
      closeFd(fd);
      throw layoutMismatch(
        `${path} has ${member} ${found[member]}, this version (layout ${LAYOUT_VERSION}) has ${wanted[member]}`,
      );
    }
    if (found.maxEntries !== wanted.maxEntries) this.replaced.set(request.name, fd);
    return fd;
  }

  /**
   * Rings of the object are pinned under their own names whoever reads them, so that what the programs of an earlier
   * daemon write until they are swapped is not lost. A ring of another size is left to those programs.
   */
  private prepareRing(object: BpfObject, ring: ObjectMap): void {
    const path = join(this.folder, ring.name);
    const fd = openPin(path);
    if (fd === undefined) return;
    const { type, maxEntries } = mapInfo(fd);
    if (type === ring.type && maxEntries === ring.maxEntries) {
      object.reuseMap(ring.name, fd);
      this.adopted.add(ring.name);
    }
    closeFd(fd);
  }

  private pinRings(object: BpfObject): void {
    for (const { name } of ringsOf(object)) {
      if (!this.adopted.has(name)) pinAtomically(object.mapFd(name), join(this.folder, name));
    }
  }

  private openMap(object: BpfObject, request: MapRequest): KernelMap {
    const shape = { ...request, possibleCpus: this.possibleCpus };
    if (object.layout.maps.has(request.name)) return new KernelMap(shape, duplicateFd(object.mapFd(request.name)));
    const wanted: MapShape = {
      type: KERNEL_MAP_TYPES[request.type],
      keySize: request.keySize,
      valueSize: request.valueSize,
      maxEntries: request.maxEntries,
      flags: ON_DEMAND.has(request.type) ? NO_PREALLOC : 0,
    };
    const pinned = this.findPinned(request, wanted);
    if (pinned !== undefined && !this.replaced.has(request.name)) {
      this.adopted.add(request.name);
      return new KernelMap(shape, pinned);
    }
    const fd = createMap(request.name, wanted);
    if (fd < 0) throw kernelError(`creating map ${request.name}`, -fd);
    return new KernelMap(shape, fd);
  }

  private migrate(request: MapRequest, target: KernelMap | undefined): void {
    const fd = this.replaced.get(request.name);
    if (fd === undefined || !target || request.uncopyable) return;
    const maxEntries = mapInfo(fd).maxEntries;
    const source = new KernelMap({ ...request, maxEntries, possibleCpus: this.possibleCpus }, fd);
    let copied = 0;
    for (const batch of source.batches()) {
      const kept = isArray(request.type) ? keepWithin(batch.keys, batch.values, batch.count, target) : batch;
      if (!kept) throw mapShrink(request.name, maxEntries, request.maxEntries);
      const { errno } = target.updateBatch(kept.keys, kept.values, kept.count);
      if (isFull(errno)) throw mapShrink(request.name, countEntries(source), request.maxEntries);
      if (errno !== 0) throw mapError(request.name, 'write', errno);
      copied += kept.count;
    }
    this.log.info({ map: request.name, from: maxEntries, to: request.maxEntries, copied }, 'table resized');
  }

  private pin(request: MapRequest, map: KernelMap | undefined): void {
    if (map && !this.adopted.has(request.name)) pinAtomically(map.fd, join(this.folder, request.pin));
  }

  /** A plugin that is no longer enabled leaves no table behind. */
  private removeStalePins(object: BpfObject): void {
    const names = [...this.requests.map((request) => request.pin), ...ringsOf(object).map(({ name }) => name)];
    const pins = new Set(names.map((name) => join(this.folder, name)));
    for (const path of listPins(this.folder)) {
      if (pins.has(path)) continue;
      removePin(path);
      this.log.info({ path }, 'removed the table of a plugin that is not enabled');
    }
  }

  private checkVersion(): void {
    const control = this.requests.find((request) => request.name === 'dp_control');
    const path = join(this.folder, control?.pin ?? 'dp_control');
    const fd = openPin(path);
    if (fd === undefined) return;
    const shape = mapInfo(fd);
    const map = new KernelMap({ ...shape, name: 'dp_control', type: 'array', possibleCpus: 1 }, fd);
    const errno = map.lookup();
    const version = errno === 0 ? new DataView(map.value.buffer).getUint32(0, true) : 0;
    map.close();
    if (version === LAYOUT_VERSION) return;
    throw layoutMismatch(
      `the maps in ${this.folder} have layout version ${version}, this daemon has ${LAYOUT_VERSION}`,
    );
  }

  /** Before the first pin, so that no pinned map is without a version. */
  private writeVersion(control: KernelMap | undefined): void {
    if (!control || this.adopted.has('dp_control')) return;
    control.key.fill(0);
    new DataView(control.value.buffer).setUint32(0, LAYOUT_VERSION, true);
    const errno = control.update();
    if (errno !== 0) throw mapError('dp_control', 'write', errno);
  }
}

function ringsOf(object: BpfObject): ObjectMap[] {
  return [...object.layout.maps.values()].filter(({ type }) => type === MapTypeNumber.RINGBUF);
}

/** Entries below the new end, undefined when one beyond it is in use. */
function keepWithin(keys: Uint8Array, values: Uint8Array, count: number, target: KernelMap) {
  const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  let kept = 0;
  while (kept < count && view.getUint32(kept * 4, true) < target.maxEntries) kept++;
  const width = target.value.length;
  if (values.subarray(kept * width).some((byte) => byte !== 0)) return undefined;
  return { keys: keys.subarray(0, kept * 4), values: values.subarray(0, kept * width), count: kept };
}

function countEntries(map: KernelMap): number {
  let count = 0;
  for (const batch of map.batches()) count += batch.count;
  return count;
}
