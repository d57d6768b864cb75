/** Hands out map slices, one owner each, and loads the packet path with what its owners asked for. */
import type { AttachedInterface, DataPlane, MapSlice, MapSpec, MapView, NetworkLink } from '@loxilb/sdk';
import type { Backend, LinkName, MapRequest } from './backend.js';
import { CONTROL_MAP, COUNTER_MAP, INTERFACE_MAP, interfaceEntry, sumCounters } from './core-maps.js';
import { mapClaimed, mapLate, mapLayout, mapUnowned, notLoaded } from './errors.js';
import { Features } from './features.js';
import type { DpControl, DpCounterValue, IntfKey, IntfValue } from './layout.gen.js';
import { LAYOUT_VERSION } from './layout-version.js';
import { type RawMap, readEntries } from './raw-map.js';
import { readOnly, TypedMap } from './slice.js';
import type { AttachmentProblem, DataPlaneBroker, ProgramInfo } from './types.js';

interface Claim {
  readonly owner: string;
  readonly request: MapRequest;
  bind(raw: RawMap): void;
}

interface Viewer {
  readonly owner: string;
  readonly name: string;
  bind(raw: RawMap): void;
}

export class Broker implements DataPlaneBroker {
  readonly backend: 'kernel' | 'memory';
  readonly dataplane: DataPlane;
  private readonly claims = new Map<string, Claim>();
  private readonly viewers: Viewer[] = [];
  private readonly features: Features;
  private readonly control: MapSlice<number, DpControl>;
  private readonly counterMap: MapSlice<number, DpCounterValue>;
  private readonly interfaces: MapSlice<IntfKey, IntfValue>;
  private maps: ReadonlyMap<string, RawMap> | undefined;

  constructor(private readonly implementation: Backend) {
    this.backend = implementation.kind;
    this.features = new Features(implementation.layout);
    this.control = this.claim('core', CONTROL_MAP);
    this.counterMap = this.claim('core', COUNTER_MAP);
    this.interfaces = this.claim('core', INTERFACE_MAP);
    this.dataplane = {
      backend: implementation.kind,
      program: (name) => implementation.program(name),
      walk: (program, map) => implementation.walk(program, map),
      rawBatches: (map) => this.raw(map).batches(),
      rawEntries: (map, keys) => readEntries(this.raw(map), keys),
      ring: (name, onRecord) => implementation.ring(name, onRecord),
      openTrace: (options) => implementation.openTrace(options),
      attached: () => implementation.attached(),
    };
  }

  claim<K, V>(owner: string, spec: MapSpec<K, V>): MapSlice<K, V> {
    const present = this.claims.get(spec.name);
    if (present) throw mapClaimed(spec.name, present.owner, owner);
    if (this.maps) throw mapLate(spec.name, owner);
    this.checkSizes(spec);
    const map = new TypedMap(spec);
    this.claims.set(spec.name, { owner, request: requestOf(spec), bind: (raw) => map.bind(raw) });
    return map;
  }

  view<K, V>(owner: string, spec: MapSpec<K, V>): MapView<K, V> {
    this.checkSizes(spec);
    const map = new TypedMap(spec);
    if (this.maps && !this.claims.has(spec.name)) throw mapUnowned(spec.name, owner);
    this.viewers.push({ owner, name: spec.name, bind: (raw) => map.bind(raw) });
    if (this.maps) this.bindTo(this.maps, spec.name, map);
    return readOnly(map);
  }

  setFeature(owner: string, name: string, value: boolean | number): void {
    this.features.set(owner, name, value);
  }

  load(): void {
    const orphan = this.viewers.find((viewer) => !this.claims.has(viewer.name));
    if (orphan) throw mapUnowned(orphan.name, orphan.owner);
    const requests = [...this.claims.values()].map((claim) => claim.request);
    const maps = this.implementation.load(requests, this.features.constants());
    this.maps = maps;
    for (const [name, claim] of this.claims) this.bindTo(maps, name, claim);
    for (const viewer of this.viewers) this.bindTo(maps, viewer.name, viewer);
    this.control.set(0, { layoutVersion: LAYOUT_VERSION, generation: this.control.get(0)?.generation ?? 0 });
  }

  attach(link: LinkName): void {
    this.implementation.attach(link);
  }

  detach(ifindex: number): void {
    this.implementation.detach(ifindex);
  }

  retain(ifindexes: ReadonlySet<number>): void {
    this.implementation.retain(ifindexes);
  }

  updateXdp(links: readonly NetworkLink[], all: readonly NetworkLink[]): void {
    this.implementation.updateXdp(links, all);
  }

  attached(): readonly AttachedInterface[] {
    return this.implementation.attached();
  }

  verifyAttached(): readonly AttachmentProblem[] {
    return this.implementation.verifyAttached();
  }

  bumpGeneration(): void {
    const generation = this.control.get(0)?.generation ?? 0;
    // Entries compare for equality, so wrapping round is fine.
    this.control.set(0, { layoutVersion: LAYOUT_VERSION, generation: (generation + 1) >>> 0 });
  }

  writeInterfaces(links: readonly NetworkLink[]): void {
    this.interfaces.sync(links.map(interfaceEntry));
  }

  counters(): Record<string, number> {
    return sumCounters(this.counterMap.entriesPerCpu());
  }

  programInfo(): readonly ProgramInfo[] {
    return this.implementation.programInfo();
  }

  close(): void {
    this.implementation.close();
    this.maps = undefined;
  }

  private raw(map: string): RawMap {
    const raw = this.maps?.get(map);
    if (!raw) throw notLoaded(`map ${map}`);
    return raw;
  }

  private checkSizes(spec: { name: string; key: { size: number }; value: { size: number } }): void {
    const compiled = this.implementation.layout?.maps.get(spec.name);
    if (!compiled) return;
    if (spec.key.size !== compiled.keySize) throw mapLayout(spec.name, 'key size', spec.key.size, compiled.keySize);
    if (spec.value.size !== compiled.valueSize) {
      throw mapLayout(spec.name, 'value size', spec.value.size, compiled.valueSize);
    }
  }

  private bindTo(maps: ReadonlyMap<string, RawMap>, name: string, target: { bind(raw: RawMap): void }): void {
    const raw = maps.get(name);
    if (raw) target.bind(raw);
  }
}

function requestOf<K, V>(spec: MapSpec<K, V>): MapRequest {
  return {
    name: spec.name,
    type: spec.type,
    keySize: spec.key.size,
    valueSize: spec.value.size,
    maxEntries: spec.maxEntries,
    pin: spec.pin ?? spec.name,
    uncopyable: spec.uncopyable ?? false,
  };
}
