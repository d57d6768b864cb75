import { encodeBytes } from '../codec.js';
import type { RawBatch } from '../context.js';
import { LoxilbError } from '../errors.js';
import type { MapSlice, MapSpec } from '../maps.js';

export type MapOperation = 'get' | 'set' | 'delete' | 'entries' | 'setMany' | 'deleteMany' | 'sync';

/** The bytes of a map. They outlive a plugin, as pinned maps outlive the daemon. */
export type MapBytes = Map<string, Uint8Array>;

/**
 * A map slice in memory, over real bytes: codecs are exercised, sizes are limited, and each call is counted. An error
 * may be injected to see what a plugin leaves behind when the kernel refuses.
 */
export class MemorySlice<K, V> implements MapSlice<K, V> {
  readonly calls: Record<MapOperation, number> = {
    get: 0,
    set: 0,
    delete: 0,
    entries: 0,
    setMany: 0,
    deleteMany: 0,
    sync: 0,
  };

  constructor(
    readonly spec: MapSpec<K, V>,
    readonly bytes: MapBytes = new Map(),
    private readonly beforeWrite: (map: string) => void = () => undefined,
  ) {}

  /** Calls that may have changed the map. */
  get writes(): number {
    const { set, delete: deleted, setMany, deleteMany, sync } = this.calls;
    return set + deleted + setMany + deleteMany + sync;
  }

  get(key: K): V | undefined {
    this.calls.get++;
    const found = this.bytes.get(this.#keyText(key));
    if (found) return this.#decodeValue(found);
    return this.#isArray ? this.#decodeValue(new Uint8Array(this.spec.value.size)) : undefined;
  }

  getPerCpu(key: K): V[] {
    const value = this.get(key);
    return value === undefined ? [] : [value];
  }

  *entries(): Iterable<[K, V]> {
    this.calls.entries++;
    for (const [key, value] of [...this.bytes]) yield [this.#decodeKey(key), this.#decodeValue(value)];
  }

  *entriesPerCpu(): Iterable<[K, V[]]> {
    for (const [key, value] of this.entries()) yield [key, [value]];
  }

  set(key: K, value: V): void {
    this.calls.set++;
    this.beforeWrite(this.spec.name);
    this.#write(this.#keyText(key), encodeBytes(this.spec.value, value));
  }

  delete(key: K): boolean {
    this.calls.delete++;
    this.beforeWrite(this.spec.name);
    return this.bytes.delete(this.#keyText(key));
  }

  setMany(entries: readonly (readonly [K, V])[]): void {
    this.calls.setMany++;
    this.beforeWrite(this.spec.name);
    const encoded = entries.map(([key, value]) => [this.#keyText(key), encodeBytes(this.spec.value, value)] as const);
    const before: (readonly [string, Uint8Array | undefined])[] = [];
    try {
      for (const [key, value] of encoded) {
        before.push([key, this.bytes.get(key)]);
        this.#write(key, value);
      }
    } catch (error) {
      for (const [key, value] of before.reverse()) {
        if (value) this.bytes.set(key, value);
        else this.bytes.delete(key);
      }
      throw error;
    }
  }

  deleteMany(keys: readonly K[]): void {
    this.calls.deleteMany++;
    this.beforeWrite(this.spec.name);
    for (const key of keys) this.bytes.delete(this.#keyText(key));
  }

  sync(desired: readonly (readonly [K, V])[]): { written: number; removed: number; kept: number } {
    this.calls.sync++;
    this.beforeWrite(this.spec.name);
    const wanted: MapBytes = new Map(
      desired.map(([key, value]) => [this.#keyText(key), encodeBytes(this.spec.value, value)]),
    );
    const kept = [...wanted].filter(([key, value]) => equal(this.bytes.get(key), value)).length;
    const removed = [...this.bytes.keys()].filter((key) => !wanted.has(key)).length;
    replace(this.bytes, wanted);
    return { written: wanted.size - kept, removed, kept };
  }

  /** All entries as one packed batch. */
  rawBatch(): RawBatch {
    return this.#pack([...this.bytes]);
  }

  /** The entries of these keys that there are. */
  rawEntries(keys: readonly Uint8Array[]): RawBatch {
    const texts = new Set(keys.map((key) => Buffer.from(key).toString('hex')));
    return this.#pack([...this.bytes].filter(([text]) => texts.has(text)));
  }

  #pack(entries: readonly (readonly [string, Uint8Array])[]): RawBatch {
    const { key, value } = this.spec;
    const keys = new Uint8Array(entries.length * key.size);
    const values = new Uint8Array(entries.length * value.size);
    entries.forEach(([text, bytes], index) => {
      keys.set(Buffer.from(text, 'hex'), index * key.size);
      values.set(bytes, index * value.size);
    });
    return { keys, values, count: entries.length };
  }

  #write(key: string, value: Uint8Array): void {
    if (
      this.#isArray &&
      Number.parseInt(Buffer.from(key, 'hex').reverse().toString('hex'), 16) >= this.spec.maxEntries
    ) {
      throw mapFull(this.spec.name);
    }
    if (!this.bytes.has(key) && this.bytes.size >= this.spec.maxEntries) {
      if (this.spec.type !== 'lru_hash') throw mapFull(this.spec.name);
      this.bytes.delete(this.bytes.keys().next().value ?? '');
    }
    this.bytes.set(key, value);
  }

  get #isArray(): boolean {
    return this.spec.type === 'array' || this.spec.type === 'percpu_array';
  }

  #keyText(key: K): string {
    return Buffer.from(encodeBytes(this.spec.key, key)).toString('hex');
  }

  #decodeKey(text: string): K {
    const bytes = Buffer.from(text, 'hex');
    return this.spec.key.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  }

  #decodeValue(bytes: Uint8Array): V {
    return this.spec.value.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  }
}

function mapFull(name: string): LoxilbError {
  return new LoxilbError(`map ${name} is full`, { code: 'DP_MAP_FULL', status: 507, value: name });
}

function equal(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}

function replace(target: MapBytes, source: MapBytes): void {
  target.clear();
  for (const [key, value] of source) target.set(key, value);
}
