import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseBtf } from './btf.js';
import { parseElf } from './elf.js';
import { parseObject } from './object-layout.js';

const file = readFileSync(new URL('testdata/sample.bpf.o', import.meta.url));

describe('parseObject', () => {
  const layout = parseObject(file);

  it('reads a map with the sizes of its key and value', () => {
    expect(layout.maps.get('sample_map')).toEqual({
      name: 'sample_map',
      type: 1,
      keySize: 12,
      valueSize: 24,
      maxEntries: 100,
      flags: 1,
    });
  });

  it('finds constants where the loader will look for them', () => {
    const rodata = parseElf(file).section('.rodata');
    const number = layout.constants.get('cfg_number');
    const first = layout.constants.get('cfg_first');
    expect(first).toMatchObject({ size: 1, boolean: true });
    expect(number).toMatchObject({ size: 4, boolean: false });
    expect(rodata?.[first?.offset ?? -1]).toBe(1);
    expect(rodata?.[number?.offset ?? -1]).toBe(7);
    expect(rodata?.[layout.constants.get('cfg_second')?.offset ?? -1]).toBe(0);
  });

  it('reads members, bit fields and negative enumerators', () => {
    const value = layout.types.find((type) => type.kind === 'struct' && type.name === 'sample_value');
    expect(
      value?.kind === 'struct' && value.members.map((member) => [member.name, member.bitOffset, member.bitWidth]),
    ).toEqual([
      ['packets', 0, 0],
      ['parts', 64, 0],
      ['low', 160, 3],
      ['high', 163, 5],
    ]);
    const color = layout.types.find((type) => type.kind === 'enum' && type.name === 'sample_color');
    expect(color?.kind === 'enum' && color.values).toEqual([
      { name: 'SAMPLE_RED', value: 1 },
      { name: 'SAMPLE_NONE', value: -1 },
    ]);
  });
});

describe('broken files', () => {
  it('are refused', () => {
    expect(() => parseElf(new Uint8Array(10))).toThrow('not a 64-bit little-endian ELF file');
    expect(() => parseElf(new Uint8Array(100))).toThrow('not a 64-bit little-endian ELF file');
    expect(() => parseBtf(new Uint8Array(32))).toThrow('not BTF');
  });
});
