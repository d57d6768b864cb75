import type { MapSlice, MapSpec, RawBatch } from '@loxilb/sdk';

/** What the operations of all maps of a world have in common. */
export interface MapControl {
  /** Map operations so far; a batch is one. */
  operations: number;
  /** The n-th write from now on fails, 1 is the next. Undefined: none does. */
  failWrite: number | undefined;
}

export class FakeMapError extends Error {}

/** A map in memory that keeps bytes, as the kernel does: what a codec refuses or loses shows. */
export class FakeMap<K, V> implements MapSlice<K, V> {
  private readonly values = new Map<string, Uint8Array>();
  private readonly isArray: boolean;

  constructor(
    readonly spec: MapSpec<K, V>,
    private readonly control: MapControl = { operations: 0, failWrite: undefined },
  ) {
    this.isArray = spec.type.endsWith('array');
  }

  get(key: K): V | undefined {
    this.control.operations++;
    const bytes = this.values.get(this.encodeKey(key));
    if (bytes) return this.spec.value.decode(view(bytes), 0);
    return this.isArray && this.inRange(key) ? this.blank() : undefined;
  }

  getPerCpu(key: K): V[] {
    const value = this.get(key);
    return value === undefined ? [] : [value];
  }

  *entries(): Iterable<[K, V]> {
    this.control.operations++;
    if (this.isArray) {
      for (let index = 0; index < this.spec.maxEntries; index++) {
        const bytes = this.values.get(this.encodeKey(index as K));
        yield [index as K, bytes ? this.spec.value.decode(view(bytes), 0) : this.blank()];
      }
      return;
    }
    for (const [key, bytes] of [...this.values]) {
      yield [this.spec.key.decode(view(Buffer.from(key, 'latin1')), 0), this.spec.value.decode(view(bytes), 0)];
    }
  }

  *entriesPerCpu(): Iterable<[K, V[]]> {
    for (const [key, value] of this.entries()) yield [key, [value]];
  }

  set(key: K, value: V): void {
    this.write([[key, value]]);
  }

  delete(key: K): boolean {
    this.step();
    return this.values.delete(this.encodeKey(key));
  }

  setMany(entries: readonly (readonly [K, V])[]): void {
    this.write(entries);
  }

  deleteMany(keys: readonly K[]): void {
    this.step();
    for (const key of keys) this.values.delete(this.encodeKey(key));
  }

  sync(): never {
    throw new Error('not used by this plugin');
  }

  /** Bytes of every entry, to compare states. */
  snapshot(): Map<string, string> {
    const filled = [...this.values].filter(([, bytes]) => !this.isArray || bytes.some((byte) => byte !== 0));
    return new Map(filled.map(([key, bytes]) => [key, Buffer.from(bytes).toString('hex')]));
  }

  *rawBatches(): Iterable<RawBatch> {
    const batch = 4096;
    for (let start = 0; start < this.spec.maxEntries; start += batch) {
      const count = Math.min(batch, this.spec.maxEntries - start);
      const keys = new Uint8Array(count * this.spec.key.size);
      const values = new Uint8Array(count * this.spec.value.size);
      for (let index = 0; index < count; index++) {
        this.spec.key.encode((start + index) as K, view(keys), index * this.spec.key.size);
        const bytes = this.values.get(this.encodeKey((start + index) as K));
        if (bytes) values.set(bytes, index * this.spec.value.size);
      }
      yield { keys, values, count };
    }
  }

  private write(entries: readonly (readonly [K, V])[]): void {
    this.step();
    const encoded = entries.map(([key, value]): [string, Uint8Array] => {
      if (this.isArray && !this.inRange(key)) throw new FakeMapError(`${this.spec.name}: index ${String(key)}`);
      const bytes = new Uint8Array(this.spec.value.size);
      this.spec.value.encode(value, view(bytes), 0);
      return [this.encodeKey(key), bytes];
    });
    const added = encoded.filter(([key]) => !this.values.has(key)).length;
    if (!this.isArray && this.values.size + added > this.spec.maxEntries) {
      throw new FakeMapError(`${this.spec.name} is full`);
    }
    for (const [key, bytes] of encoded) this.values.set(key, bytes);
  }

  private step(): void {
    this.control.operations++;
    if (this.control.failWrite === undefined) return;
    if (--this.control.failWrite === 0) {
      this.control.failWrite = undefined;
      throw new FakeMapError(`${this.spec.name}: injected`);
    }
  }

  private inRange(key: K): boolean {
    return Number(key) < this.spec.maxEntries;
  }

  private encodeKey(key: K): string {
    const bytes = Buffer.alloc(this.spec.key.size);
    this.spec.key.encode(key, view(bytes), 0);
    return bytes.toString('latin1');
  }

  private blank(): V {
    return this.spec.value.decode(new DataView(new ArrayBuffer(this.spec.value.size)), 0);
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
