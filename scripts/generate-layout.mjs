#!/usr/bin/env node
/**
 * Writes the TypeScript twins of the packet path's C types (`npm run layout`), or tells whether the committed ones are
 * current (`npm run layout -- --check`). A layout is written once, in C: this reads it back from compiled BTF.
 *
 * Structs come from the object of the packet path when it is built, and from its map headers. Enumerations used only
 * as constants leave no trace in an object, so the headers are compiled once more with a pointer to each.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';

const root = fileURLToPath(new URL('..', import.meta.url));
const { parseObject } = await createJiti(import.meta.url).import('../core/dataplane/btf/object-layout.ts');

/** Which names go where: the map's noun is the first word of every type that belongs to it. */
const TARGETS = [
  { file: 'core/dataplane/layout.gen.ts', prefixes: ['dp_', 'intf_'] },
  { file: 'plugins/lb/layout.gen.ts', prefixes: ['lb_'] },
  { file: 'plugins/conntrack/layout.gen.ts', prefixes: ['ct_'] },
  // What it explains belongs to all of them.
  { file: 'plugins/observe/layout.gen.ts', prefixes: ['dp_', 'ct_', 'lb_'] },
];

const headers = [
  ...readdirSync(join(root, 'bpf/maps')).map((name) => `bpf/maps/${name}`),
  'bpf/include/counters.h',
].filter((name) => name.endsWith('.h'));

main();

function main() {
  const check = process.argv.includes('--check');
  const object = join(root, 'bpf/build/loxilb.bpf.o');
  const layouts = [compileHeaders(), ...(existsSync(object) ? [parseObject(readFileSync(object))] : [])];
  refuseDifferences(layouts);
  let stale = 0;
  for (const target of TARGETS) {
    const text = render(layouts, target.prefixes);
    const path = join(root, target.file);
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    stale++;
    if (check) console.error(`layout: ${target.file} does not match the C headers; run npm run layout`);
    else {
      writeFileSync(path, text);
      console.log(`layout: wrote ${target.file}`);
    }
  }
  if (stale === 0) console.log('layout: all files are current');
  process.exitCode = check && stale > 0 ? 1 : 0;
}

function compileHeaders() {
  const clang = process.env.CLANG ?? ['clang-14', 'clang'].find(isInstalled);
  if (!clang || !isInstalled(clang)) {
    console.error('layout: clang-14 is not installed; run scripts/install-deps.sh, or set CLANG');
    process.exit(1);
  }
  const folder = mkdtempSync(join(tmpdir(), 'loxilb-layout-'));
  try {
    const output = join(folder, 'layout.o');
    const include = `-I/usr/include/${arch() === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
    const flags = ['-g', '-O2', '-target', 'bpf', '-mcpu=v3', include, '-x', 'c', '-c', '-', '-o', output];
    execFileSync(clang, flags, { cwd: root, input: sourceNamingEveryType() });
    return parseObject(readFileSync(output));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function isInstalled(command) {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function sourceNamingEveryType() {
  const lines = headers.map((header) => `#include "${header}"`);
  for (const header of headers) {
    const text = readFileSync(join(root, header), 'utf8');
    for (const [, kind, name] of text.matchAll(/^(enum|struct) (\w+) \{/gm))
      lines.push(`${kind} ${name} *layout_${name};`);
  }
  return `${lines.join('\n')}\n`;
}

/** A stale object must not win over the headers, nor lose silently. */
function refuseDifferences([fromHeaders, fromObject]) {
  if (!fromObject) return;
  for (const type of structsOf(fromObject)) {
    const twin = structsOf(fromHeaders).find((candidate) => candidate.name === type.name);
    if (twin && describe(fromHeaders, twin) !== describe(fromObject, type)) {
      console.error(
        `layout: struct ${type.name} differs between the headers and bpf/build/loxilb.bpf.o; run npm run build:bpf`,
      );
      process.exit(1);
    }
  }
}

function describe(layout, type) {
  return JSON.stringify(fieldsOf(layout, type));
}

function structsOf(layout) {
  return layout.types.filter((type) => type.kind === 'struct' && type.name !== '');
}

function enumsOf(layout) {
  return layout.types.filter((type) => type.kind === 'enum' && type.name !== '');
}

function render(layouts, prefixes) {
  const wanted = (name) => prefixes.some((prefix) => name.startsWith(prefix));
  const seen = new Set();
  const blocks = [];
  const imports = new Set();
  for (const layout of layouts) {
    for (const type of enumsOf(layout))
      if (wanted(type.name) && once(seen, `enum ${type.name}`)) blocks.push(renderEnum(type));
    for (const type of structsOf(layout)) {
      const renderable = wanted(type.name) && isFlat(layout, type);
      if (renderable && once(seen, type.name)) blocks.push(renderStruct(layout, type, imports));
    }
  }
  const values = [...imports].sort();
  return [
    '// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.',
    `import { ${['type Codec', ...values, 'struct'].join(', ')} } from '@loxilb/sdk';`,
    '',
    `${blocks.join('\n\n')}\n`,
  ].join('\n');
}

function once(seen, name) {
  if (seen.has(name)) return false;
  seen.add(name);
  return true;
}

/** Structs of the program itself hold pointers; they never cross into user space. */
function isFlat(layout, type) {
  try {
    return fieldsOf(layout, type).length > 0;
  } catch {
    return false;
  }
}

function renderEnum(type) {
  const members = type.values.map((value) => `  ${value.name}: ${value.value},`);
  return [`/** C: enum ${type.name} */`, `export const ${pascal(type.name)} = {`, ...members, '} as const;'].join('\n');
}

function renderStruct(layout, type, imports) {
  const fields = fieldsOf(layout, type);
  for (const field of fields) for (const name of field.imports) imports.add(name);
  const name = camel(type.name);
  return [
    `/** C: struct ${type.name} */`,
    `export interface ${pascal(type.name)} {`,
    ...fields.map((field) => `  ${field.name}: ${field.type};`),
    '}',
    `export const ${name}: Codec<${pascal(type.name)}> = struct(`,
    `  {`,
    ...fields.map((field) => `    ${field.name}: ${field.codec},`),
    `  },`,
    `  {`,
    `    size: ${type.size},`,
    `    offsets: {`,
    ...fields.map((field) => `      ${field.name}: ${field.offset},`),
    `    },`,
    `  },`,
    `);`,
  ].join('\n');
}

/** Fields but padding, which codecs zero. */
function fieldsOf(layout, type) {
  return type.members
    .filter((member) => !/^_*pad\d*$/.test(member.name))
    .map((member) => {
      if (member.bitWidth > 0) throw new RangeError(`bit field ${type.name}.${member.name}`);
      return { name: camel(member.name), offset: member.bitOffset / 8, ...codecOf(layout, member.type) };
    });
}

function codecOf(layout, id) {
  const type = layout.types[id];
  switch (type.kind) {
    case 'typedef': {
      if (type.name === '__be16') return scalar('be16', 'number');
      if (type.name === '__be32') return scalar('be32', 'number');
      return codecOf(layout, type.target);
    }
    case 'const':
    case 'volatile':
      return codecOf(layout, type.target);
    case 'int':
      return type.size === 8 ? scalar('u64', 'bigint') : scalar(`u${type.size * 8}`, 'number');
    case 'enum':
      return scalar('u32', 'number');
    case 'struct':
      if (type.name === 'ip_addr') return scalar('ipAddress', 'string');
      // The kernel's own: user space reads zeroes and may not write.
      if (type.name === 'bpf_timer') return { codec: `bytes(${type.size})`, type: 'Uint8Array', imports: ['bytes'] };
      return { codec: camel(type.name), type: pascal(type.name), imports: [] };
    case 'array': {
      const element = codecOf(layout, type.element);
      if (element.codec === 'u8') return { codec: `bytes(${type.count})`, type: 'Uint8Array', imports: ['bytes'] };
      return {
        codec: `array(${element.codec}, ${type.count})`,
        type: `${element.type}[]`,
        imports: ['array', ...element.imports],
      };
    }
    default:
      throw new RangeError(`no codec for a ${type.kind}`);
  }
}

function scalar(codec, type) {
  return { codec, type, imports: [codec] };
}

function camel(name) {
  return name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
}

function pascal(name) {
  const text = camel(name);
  return text[0].toUpperCase() + text.slice(1);
}
