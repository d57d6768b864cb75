/** The little of ELF that a compiled packet path needs: sections and symbols of a 64-bit little-endian object. */

export interface ElfSymbol {
  readonly name: string;
  /** Offset within the section. */
  readonly value: number;
  readonly section: string;
  /** STT_*: 2 a function, 3 a section. */
  readonly type: number;
}

export interface ElfFile {
  section(name: string): Uint8Array | undefined;
  readonly symbols: readonly ElfSymbol[];
}

interface SectionHeader {
  readonly nameOffset: number;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

const MAGIC = 0x7f454c46;
const CLASS_64_LITTLE = 0x0201;
const TYPE_SYMTAB = 2;
const TYPE_NOBITS = 8;
const SYMBOL_SIZE = 24;

export function parseElf(file: Uint8Array): ElfFile {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.byteLength < 64 || view.getUint32(0) !== MAGIC || view.getUint16(4) !== CLASS_64_LITTLE) {
    throw new RangeError('not a 64-bit little-endian ELF file');
  }
  const headers = readHeaders(view);
  const nameTable = headers[view.getUint16(62, true)];
  if (!nameTable) throw new RangeError('ELF file has no section names');
  const names = headers.map((header) => readText(file, nameTable.offset + header.nameOffset));
  return {
    section(name) {
      const header = headers[names.indexOf(name)];
      if (!header || header.type === TYPE_NOBITS) return undefined;
      return file.subarray(header.offset, header.offset + header.size);
    },
    symbols: readSymbols(file, view, headers, names),
  };
}

function readHeaders(view: DataView): SectionHeader[] {
  const start = Number(view.getBigUint64(40, true));
  const size = view.getUint16(58, true);
  return Array.from({ length: view.getUint16(60, true) }, (_, index) => {
    const at = start + index * size;
    return {
      nameOffset: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      size: Number(view.getBigUint64(at + 32, true)),
      link: view.getUint32(at + 40, true),
    };
  });
}

function readSymbols(
  file: Uint8Array,
  view: DataView,
  headers: readonly SectionHeader[],
  sectionNames: readonly string[],
): ElfSymbol[] {
  const table = headers.find((header) => header.type === TYPE_SYMTAB);
  const strings = table && headers[table.link];
  if (!table || !strings) return [];
  return Array.from({ length: table.size / SYMBOL_SIZE }, (_, index) => {
    const at = table.offset + index * SYMBOL_SIZE;
    return {
      name: readText(file, strings.offset + view.getUint32(at, true)),
      section: sectionNames[view.getUint16(at + 6, true)] ?? '',
      type: view.getUint8(at + 4) & 0xf,
      value: Number(view.getBigUint64(at + 8, true)),
    };
  });
}

/** The zero-terminated text at `offset`. */
export function readText(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, end - offset).toString('latin1');
}
