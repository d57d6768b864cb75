/** Reader of BTF, the type section clang puts into an eBPF object (Documentation/bpf/btf.rst of the kernel). */
import { readText } from './elf.js';

export type BtfType =
  | { readonly kind: 'void' }
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly size: number;
      readonly encoding: 'unsigned' | 'signed' | 'bool';
    }
  | { readonly kind: 'ptr' | 'const' | 'volatile' | 'restrict'; readonly target: number }
  | { readonly kind: 'typedef'; readonly name: string; readonly target: number }
  | { readonly kind: 'array'; readonly element: number; readonly count: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | { readonly kind: 'enum'; readonly name: string; readonly size: number; readonly values: readonly BtfEnumerator[] }
  | { readonly kind: 'var'; readonly name: string; readonly target: number }
  | { readonly kind: 'section'; readonly name: string; readonly variables: readonly number[] }
  | { readonly kind: 'other'; readonly name: string };

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Offset in bits, and width in bits of a bit field (0: not one). */
  readonly bitOffset: number;
  readonly bitWidth: number;
}

export interface BtfEnumerator {
  readonly name: string;
  readonly value: number;
}

const MAGIC = 0xeb9f;
/** BTF_KIND_*. */
const Kind = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  PROTO: 13,
  VAR: 14,
  SECTION: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

/** Types by id; id 0 is void. */
export function parseBtf(section: Uint8Array): BtfType[] {
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
  if (view.getUint16(0, true) !== MAGIC) throw new RangeError('not BTF');
  const header = view.getUint32(4, true);
  const typesAt = header + view.getUint32(8, true);
  const typesEnd = typesAt + view.getUint32(12, true);
  const stringsAt = header + view.getUint32(16, true);
  const reader = new TypeReader(view, (offset) => readText(section, stringsAt + offset));
  const types: BtfType[] = [{ kind: 'void' }];
  for (let at = typesAt; at < typesEnd; ) {
    const { type, next } = reader.read(at);
    types.push(type);
    at = next;
  }
  return types;
}

class TypeReader {
  constructor(
    private readonly view: DataView,
    private readonly text: (offset: number) => string,
  ) {}

  read(at: number): { type: BtfType; next: number } {
    const name = this.text(this.word(at));
    const info = this.word(at + 4);
    const count = info & 0xffff;
    const body = at + 12;
    const { type, length } = this.body((info >>> 24) & 0x1f, name, this.word(at + 8), body, count, info >>> 31 === 1);
    return { type, next: body + length };
  }

  private word(at: number): number {
    return this.view.getUint32(at, true);
  }

  private body(
    kind: number,
    name: string,
    sizeOrType: number,
    at: number,
    count: number,
    flag: boolean,
  ): { type: BtfType; length: number } {
    switch (kind) {
      case Kind.INT:
        return { type: { kind: 'int', name, size: sizeOrType, encoding: this.encoding(at) }, length: 4 };
      case Kind.PTR:
        return { type: { kind: 'ptr', target: sizeOrType }, length: 0 };
      case Kind.VOLATILE:
        return { type: { kind: 'volatile', target: sizeOrType }, length: 0 };
      case Kind.CONST:
        return { type: { kind: 'const', target: sizeOrType }, length: 0 };
      case Kind.RESTRICT:
        return { type: { kind: 'restrict', target: sizeOrType }, length: 0 };
      case Kind.TYPEDEF:
        return { type: { kind: 'typedef', name, target: sizeOrType }, length: 0 };
      case Kind.ARRAY:
        return { type: { kind: 'array', element: this.word(at), count: this.word(at + 8) }, length: 12 };
      case Kind.STRUCT:
      case Kind.UNION: {
        const members = Array.from({ length: count }, (_, index) => this.member(at + index * 12, flag));
        return {
          type: { kind: kind === Kind.STRUCT ? 'struct' : 'union', name, size: sizeOrType, members },
          length: count * 12,
        };
      }
      case Kind.ENUM: {
        const values = Array.from({ length: count }, (_, index) => ({
          name: this.text(this.word(at + index * 8)),
          value: this.view.getInt32(at + index * 8 + 4, true),
        }));
        return { type: { kind: 'enum', name, size: sizeOrType, values }, length: count * 8 };
      }
      case Kind.VAR:
        return { type: { kind: 'var', name, target: sizeOrType }, length: 4 };
      case Kind.SECTION: {
        const variables = Array.from({ length: count }, (_, index) => this.word(at + index * 12));
        return { type: { kind: 'section', name, variables }, length: count * 12 };
      }
      default:
        return { type: { kind: 'other', name }, length: this.skipped(kind, count) };
    }
  }

  private encoding(at: number): 'unsigned' | 'signed' | 'bool' {
    const bits = (this.word(at) >>> 24) & 0xf;
    if (bits & 4) return 'bool';
    return bits & 1 ? 'signed' : 'unsigned';
  }

  private member(at: number, withWidth: boolean): BtfMember {
    const offset = this.word(at + 8);
    return {
      name: this.text(this.word(at)),
      type: this.word(at + 4),
      bitOffset: withWidth ? offset & 0xffffff : offset,
      bitWidth: withWidth ? offset >>> 24 : 0,
    };
  }

  /** Length of kinds nothing here looks into. */
  private skipped(kind: number, count: number): number {
    if (kind === Kind.PROTO) return count * 8;
    if (kind === Kind.ENUM64) return count * 12;
    if (kind === Kind.DECL_TAG) return 4;
    if (kind === Kind.FWD || kind === Kind.FUNC || kind === Kind.FLOAT || kind === Kind.TYPE_TAG) return 0;
    throw new RangeError(`unknown BTF kind ${kind}`);
  }
}

/** Follows typedefs and qualifiers to the type that has a size. */
export function resolveType(types: readonly BtfType[], id: number): BtfType {
  const type = types[id] ?? { kind: 'void' };
  return 'target' in type && type.kind !== 'ptr' ? resolveType(types, type.target) : type;
}

/** Bytes a value of this type takes. */
export function sizeOfType(types: readonly BtfType[], id: number): number {
  const type = resolveType(types, id);
  if ('size' in type) return type.size;
  if (type.kind === 'ptr') return 8;
  return type.kind === 'array' ? type.count * sizeOfType(types, type.element) : 0;
}
