/** Map elements, by bpf(2). */
import type { Codec } from '@loxilb/sdk';
import { addressOf, bpf } from '../../core/dataplane/sys/libc.js';

const LOOKUP = 1;
const UPDATE = 2;
const DELETE = 3;
const NEXT_KEY = 4;

export class TestMap<K, V> {
  readonly fd: number;
  readonly name: string;
  private readonly key: Codec<K>;
  private readonly value: Codec<V>;
  /** Values per element: 1, or the number of possible CPUs. */
  private readonly copies: number;

  constructor(name: string, fd: number, key: Codec<K>, value: Codec<V>, copies = 1) {
    this.name = name;
    this.fd = fd;
    this.key = key;
    this.value = value;
    this.copies = copies;
  }

  get(key: K): V | undefined {
    return this.getAll(key)?.[0];
  }

  /** The copies of every CPU. */
  getAll(key: K): V[] | undefined {
    const buffer = new Uint8Array(this.stride() * this.copies);
    if (this.call(LOOKUP, this.encode(this.key, key), buffer) < 0) return undefined;
    const view = new DataView(buffer.buffer);
    return Array.from({ length: this.copies }, (_, index) => this.value.decode(view, index * this.stride()));
  }

  /** Like `get`, for a key that must be there. */
  need(key: K): V {
    const value = this.get(key);
    if (value === undefined) throw new Error(`${this.name} has no ${JSON.stringify(key)}`);
    return value;
  }

  set(key: K, value: V): void {
    const buffer = new Uint8Array(this.stride() * this.copies);
    this.value.encode(value, new DataView(buffer.buffer), 0);
    const result = this.call(UPDATE, this.encode(this.key, key), buffer);
    if (result < 0) throw new Error(`${this.name}: update of ${JSON.stringify(key)} refused, errno ${-result}`);
  }

  /** Every byte of the element, of every CPU, becomes zero. */
  zero(key: K): void {
    const result = this.call(UPDATE, this.encode(this.key, key), new Uint8Array(this.stride() * this.copies));
    if (result < 0) throw new Error(`${this.name}: update of ${JSON.stringify(key)} refused, errno ${-result}`);
  }

  /** Changes some fields of an element that is there. */
  change(key: K, fields: Partial<V>): void {
    this.set(key, { ...this.need(key), ...fields });
  }

  delete(key: K): void {
    this.call(DELETE, this.encode(this.key, key));
  }

  entries(): [K, V][] {
    return this.keys().flatMap((key) => {
      const value = this.get(key);
      return value === undefined ? [] : [[key, value]];
    });
  }

  keys(): K[] {
    const keys: K[] = [];
    let last: Uint8Array | undefined;
    for (;;) {
      const next = new Uint8Array(this.key.size);
      if (this.call(NEXT_KEY, last, next) < 0) return keys;
      keys.push(this.key.decode(new DataView(next.buffer), 0));
      last = next;
    }
  }

  /** Removes every element; not for arrays. */
  clear(): void {
    for (const key of this.keys()) this.delete(key);
  }

  private stride(): number {
    return this.copies === 1 ? this.value.size : Math.ceil(this.value.size / 8) * 8;
  }

  private encode<T>(codec: Codec<T>, value: T): Uint8Array {
    const out = new Uint8Array(codec.size);
    codec.encode(value, new DataView(out.buffer), 0);
    return out;
  }

  private call(command: number, key: Uint8Array | undefined, value?: Uint8Array): number {
    const attribute = new Uint8Array(32);
    const view = new DataView(attribute.buffer);
    view.setUint32(0, this.fd, true);
    if (key) view.setBigUint64(8, addressOf(key), true);
    if (value) view.setBigUint64(16, addressOf(value), true);
    return bpf(command, attribute);
  }
}
