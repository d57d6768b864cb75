/**
 * Codecs between TypeScript values and the fixed-size byte strings of eBPF map keys and values.
 *
 * Integers without a suffix are in host byte order (little endian on every machine eBPF programs of this product run
 * on); `be16`/`be32` are network byte order on the wire and plain numbers in TypeScript.
 */
export interface Codec<T> {
  /** Bytes one value takes in the map. */
  readonly size: number;
  encode(value: T, target: DataView, offset: number): void;
  decode(source: DataView, offset: number): T;
}

/** What a codec's values look like in TypeScript. */
export type CodecValue<C> = C extends Codec<infer T> ? T : never;

function checkRange(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new RangeError(`${name} out of range: ${value} (0..${max})`);
  }
}

export const u8: Codec<number> = {
  size: 1,
  encode(value, target, offset) {
    checkRange('u8', value, 0xff);
    target.setUint8(offset, value);
  },
  decode: (source, offset) => source.getUint8(offset),
};

export const u16: Codec<number> = {
  size: 2,
  encode(value, target, offset) {
    checkRange('u16', value, 0xffff);
    target.setUint16(offset, value, true);
  },
  decode: (source, offset) => source.getUint16(offset, true),
};

export const be16: Codec<number> = {
  size: 2,
  encode(value, target, offset) {
    checkRange('be16', value, 0xffff);
    target.setUint16(offset, value, false);
  },
  decode: (source, offset) => source.getUint16(offset, false),
};

export const u32: Codec<number> = {
  size: 4,
  encode(value, target, offset) {
    checkRange('u32', value, 0xffffffff);
    target.setUint32(offset, value, true);
  },
  decode: (source, offset) => source.getUint32(offset, true),
};

export const be32: Codec<number> = {
  size: 4,
  encode(value, target, offset) {
    checkRange('be32', value, 0xffffffff);
    target.setUint32(offset, value, false);
  },
  decode: (source, offset) => source.getUint32(offset, false),
};

export const u64: Codec<bigint> = {
  size: 8,
  encode(value, target, offset) {
    if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError(`u64 out of range: ${value}`);
    target.setBigUint64(offset, value, true);
  },
  decode: (source, offset) => source.getBigUint64(offset, true),
};

/** A byte string of exactly `length` bytes. */
export function bytes(length: number): Codec<Uint8Array> {
  return {
    size: length,
    encode(value, target, offset) {
      if (value.length !== length) throw new RangeError(`expected ${length} bytes, got ${value.length}`);
      new Uint8Array(target.buffer, target.byteOffset + offset, length).set(value);
    },
    decode: (source, offset) => new Uint8Array(source.buffer, source.byteOffset + offset, length).slice(),
  };
}

/** `count` values in a row. */
export function array<T>(element: Codec<T>, count: number): Codec<T[]> {
  return {
    size: element.size * count,
    encode(value, target, offset) {
      if (value.length !== count) throw new RangeError(`expected ${count} elements, got ${value.length}`);
      value.forEach((item, index) => {
        element.encode(item, target, offset + index * element.size);
      });
    },
    decode: (source, offset) =>
      Array.from({ length: count }, (_, index) => element.decode(source, offset + index * element.size)),
  };
}

type Fields = Record<string, Codec<never>>;
type StructValue<F> = { [N in keyof F]: F[N] extends Codec<infer T> ? T : never };

/**
 * A C struct. Fields are laid out in order with C's natural alignment (a field's alignment is its size for scalars, 1
 * for byte strings unless given by `at`); the whole is padded to its largest alignment. `at` pins offsets and size
 * where they come from a compiled object, and then nothing is computed.
 */
export function struct<F extends { [N in keyof F]: Codec<F[N] extends Codec<infer T> ? T : never> }>(
  fields: F,
  at?: { readonly size: number; readonly offsets: { readonly [N in keyof F]: number } },
): Codec<StructValue<F>> {
  const names = Object.keys(fields) as (keyof F & string)[];
  const codecs = fields as unknown as Fields;
  const layout = at ?? naturalLayout(names, codecs);
  const offsets = layout.offsets as Record<string, number>;
  const plan = names.map((name) => ({ name, codec: codecs[name] as Codec<unknown>, offset: offsets[name] as number }));
  return {
    size: layout.size,
    encode(value, target, offset) {
      // Padding is part of a hash key: it must be zero whatever the buffer held before.
      new Uint8Array(target.buffer, target.byteOffset + offset, layout.size).fill(0);
      for (const field of plan) {
        field.codec.encode((value as Record<string, unknown>)[field.name], target, offset + field.offset);
      }
    },
    decode(source, offset) {
      const value: Record<string, unknown> = {};
      for (const field of plan) value[field.name] = field.codec.decode(source, offset + field.offset);
      return value as StructValue<F>;
    },
  };
}

function naturalLayout(names: readonly string[], codecs: Fields): { size: number; offsets: Record<string, number> } {
  const offsets: Record<string, number> = {};
  let position = 0;
  let largest = 1;
  for (const name of names) {
    const size = (codecs[name] as Codec<never>).size;
    const alignment = size === 2 || size === 4 || size === 8 ? size : 1;
    largest = Math.max(largest, alignment);
    position = Math.ceil(position / alignment) * alignment;
    offsets[name] = position;
    position += size;
  }
  return { size: Math.ceil(position / largest) * largest, offsets };
}

/** Encodes into fresh bytes. */
export function encodeBytes<T>(codec: Codec<T>, value: T): Uint8Array {
  const out = new Uint8Array(codec.size);
  codec.encode(value, new DataView(out.buffer), 0);
  return out;
}
