/** What a compiled packet path promises: its maps, and the constants that may be set before it is loaded. */
import { type BtfType, parseBtf, resolveType, sizeOfType } from './btf.js';
import { type ElfFile, parseElf } from './elf.js';

export interface ObjectMap {
  readonly name: string;
  /** BPF_MAP_TYPE_*. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface ObjectConstant {
  readonly name: string;
  /** Offset in .rodata. */
  readonly offset: number;
  readonly size: number;
  readonly boolean: boolean;
}

export interface ObjectLayout {
  readonly types: readonly BtfType[];
  readonly maps: ReadonlyMap<string, ObjectMap>;
  readonly constants: ReadonlyMap<string, ObjectConstant>;
}

export function parseObject(file: Uint8Array): ObjectLayout {
  const elf = parseElf(file);
  const section = elf.section('.BTF');
  if (!section) throw new RangeError('object has no BTF: compile it with -g');
  const types = parseBtf(section);
  return { types, maps: readMaps(types), constants: readConstants(types, elf) };
}

function variablesOf(types: readonly BtfType[], section: string): { name: string; target: number }[] {
  const found = types.find((type) => type.kind === 'section' && type.name === section);
  const ids = found?.kind === 'section' ? found.variables : [];
  return ids.flatMap((id) => {
    const variable = types[id];
    return variable?.kind === 'var' ? [variable] : [];
  });
}

function readMaps(types: readonly BtfType[]): Map<string, ObjectMap> {
  const maps = new Map<string, ObjectMap>();
  for (const { name, target } of variablesOf(types, '.maps')) {
    const definition = resolveType(types, target);
    if (definition.kind !== 'struct') continue;
    const member = (wanted: string) => definition.members.find((candidate) => candidate.name === wanted)?.type;
    maps.set(name, {
      name,
      type: numberOf(types, member('type')),
      keySize: pointedSize(types, member('key')) || numberOf(types, member('key_size')),
      valueSize: pointedSize(types, member('value')) || numberOf(types, member('value_size')),
      maxEntries: numberOf(types, member('max_entries')),
      flags: numberOf(types, member('map_flags')),
    });
  }
  return maps;
}

/** `__uint(name, N)` is a pointer to an array of N ints. */
function numberOf(types: readonly BtfType[], id: number | undefined): number {
  const pointer = id === undefined ? undefined : resolveType(types, id);
  if (pointer?.kind !== 'ptr') return 0;
  const target = resolveType(types, pointer.target);
  return target.kind === 'array' ? target.count : 0;
}

/** `__type(name, T)` is a pointer to T. */
function pointedSize(types: readonly BtfType[], id: number | undefined): number {
  const pointer = id === undefined ? undefined : resolveType(types, id);
  return pointer?.kind === 'ptr' ? sizeOfType(types, pointer.target) : 0;
}

/** Offsets come from the symbols: clang leaves those of BTF to the loader. */
function readConstants(types: readonly BtfType[], elf: ElfFile): Map<string, ObjectConstant> {
  const constants = new Map<string, ObjectConstant>();
  for (const { name, target } of variablesOf(types, '.rodata')) {
    const symbol = elf.symbols.find((candidate) => candidate.name === name && candidate.section === '.rodata');
    const type = resolveType(types, target);
    if (!symbol || type.kind !== 'int') continue;
    constants.set(name, { name, offset: symbol.value, size: type.size, boolean: type.encoding === 'bool' });
  }
  return constants;
}
