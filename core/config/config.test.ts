import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadPlugins } from '../lifecycle/load-plugins.js';
import { loadConfig } from './load-config.js';
import { applyCommandLine, CommandLineExit, parseCommandLine } from './options.js';
import { parseConfig } from './schema.js';
import { closest } from './suggestion.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'loxilb-config-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
  vi.restoreAllMocks();
});

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text, { mode: 0o644 });
  return path;
}

const typescript = `import { defineConfig } from '@loxilb/sdk';
const port: number = 12000;
export default defineConfig({ plugins: { version: {} }, api: { port } });`;

describe('loadConfig', () => {
  it.each([
    ['loxilb.config.ts', typescript],
    ['loxilb.config.yaml', 'plugins:\n  version: {}\napi:\n  port: 12000\n'],
    ['loxilb.config.json', '{"plugins":{"version":{}},"api":{"port":12000}}'],
  ])('reads %s from a folder without node_modules', async (name, text) => {
    const { config } = await loadConfig(file(name, text));
    expect(config.plugins).toEqual({ version: {} });
    expect(config.api).toEqual({ enabled: true, host: '127.0.0.1', port: 12000, dialect: 'current' });
    expect(config.dataplane.bpfDir).toBe('/opt/loxilb/dp/bpf');
  });

  it('takes the package file when nothing is named and nothing is installed', async () => {
    const { config } = await loadConfig(undefined);
    expect(Object.keys(config.plugins)).toContain('lb');
  });

  it('refuses a file others may write', async () => {
    const path = file('c.json', '{"plugins":{}}');
    chmodSync(path, 0o664);
    await expect(loadConfig(path)).rejects.toMatchObject({ code: 'CONFIG_UNSAFE', remedy: `chmod go-w ${path}` });
  });

  it.skipIf(process.getuid?.() !== 0)('refuses a file of another user', async () => {
    const path = file('c.json', '{"plugins":{}}');
    chownSync(path, 65534, 65534);
    await expect(loadConfig(path)).rejects.toMatchObject({ code: 'CONFIG_UNSAFE' });
  });

  it('says what is wrong in a file that cannot be read', async () => {
    await expect(loadConfig(file('c.json', '{'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(loadConfig(join(dir, 'none.ts'))).rejects.toMatchObject({ code: 'CONFIG_MISSING' });
  });
});

describe('parseConfig', () => {
  it.each([
    [{ plugins: {}, api: { prot: 1 } }, 'f: unknown option api.prot, did you mean port'],
    [{ plugins: {}, dataplane: { bpfdir: '/x' } }, 'f: unknown option dataplane.bpfdir, did you mean bpfDir'],
    [{ plugins: {}, zzz: 1 }, 'f: unknown option zzz'],
    [{ plugins: {}, api: { port: 70000 } }, 'f: api.port: Too big: expected number to be <=65535'],
  ])('%j: %s', (value, text) => {
    expect(() => parseConfig(value, 'f')).toThrow(text);
  });
});

describe('closest', () => {
  it.each([
    ['contrack', 'conntrack'],
    ['PORT', 'port'],
    ['xyz', undefined],
  ])('%s -> %s', (word, expected) => {
    expect(closest(word, ['conntrack', 'port', 'lb'])).toBe(expected);
  });
});

describe('parseCommandLine', () => {
  it('wins over the file', () => {
    const line = parseCommandLine(
      [
        '--port',
        '12345',
        '--interfaces',
        'eth0,veth*',
        '--dataplane',
        'memory',
        '--loglevel',
        'debug',
        '--xdp',
        'native',
        '-a',
        '--ephemeral',
      ],
      '1',
    );
    const config = applyCommandLine(parseConfig({ plugins: {}, api: { host: '::1' } }, 'f'), line);
    expect(config.api).toEqual({ enabled: false, host: '::1', port: 12345, dialect: 'current' });
    expect(config.dataplane).toMatchObject({ backend: 'memory', interfaces: ['eth0', 'veth*'], xdp: 'native' });
    expect([config.ephemeral, config.logLevel]).toEqual([true, 'debug']);
  });

  it.each([
    [['--prot', '1'], 2, '(Did you mean --port?)'],
    [['--port', '99999'], 2, 'A port is a number'],
    [['--dataplane', 'xdp'], 2, 'Allowed choices are kernel, memory'],
    [['--xdp', 'fast'], 2, 'Allowed choices are auto, off, native, generic'],
    [['surplus'], 2, 'too many arguments'],
  ])('refuses %j', (args, exitCode, text) => {
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => written.push(String(chunk)) > 0);
    expect(() => parseCommandLine(args, '1')).toThrow(CommandLineExit);
    expect(written.join('')).toContain(text);
    try {
      parseCommandLine(args, '1');
    } catch (error) {
      expect((error as CommandLineExit).exitCode).toBe(exitCode);
    }
  });

  it('takes host and port from the environment', () => {
    vi.stubEnv('PORT', '2222');
    expect(parseCommandLine([], '1').port).toBe(2222);
    vi.unstubAllEnvs();
  });
});

describe('loadPlugins', () => {
  const source = `import { definePlugin, z } from '@loxilb/sdk';
export default definePlugin({ name: 'mine', sdk: '^0.1.0', summary: 'x', config: z.strictObject({}), setup() {} });`;

  it('takes a TypeScript file, a folder, and a package', async () => {
    file('mine.ts', source);
    mkdirSync(join(dir, 'folder'));
    file('folder/index.ts', source.replace("'mine'", "'folder'"));
    mkdirSync(join(dir, 'node_modules/some-plugin/lib'), { recursive: true });
    file('node_modules/some-plugin/package.json', '{"type":"module","exports":{".":{"import":"./lib/main.js"}}}');
    file('node_modules/some-plugin/lib/main.js', source.replace("'mine'", "'packed'"));
    const sources = { './mine.ts': {}, './folder': { a: 1 }, 'some-plugin': {} };
    const loaded = await loadPlugins(sources, join(dir, 'loxilb.config.ts'));
    expect(loaded.map(({ plugin, options }) => [plugin.name, options])).toEqual([
      ['mine', {}],
      ['folder', { a: 1 }],
      ['packed', {}],
    ]);
  });

  it('tells every one that cannot be found', async () => {
    file('empty.ts', 'export default 5;');
    await expect(loadPlugins({ verison: {}, './none': {}, './empty.ts': {} }, join(dir, 'c.ts'))).rejects.toThrow(
      /plugin verison failed at load: .*did you mean version.*\nplugin .\/none failed at load: .*does not exist\n.*has no plugin/,
    );
  });
});
