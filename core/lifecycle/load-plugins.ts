import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isPlugin, LoxilbError, type Plugin } from '@loxilb/sdk';
import { importDefault } from '../config/import-file.js';
import { hint } from '../config/suggestion.js';
import { type Failure, LifecycleError } from './failures.js';

export interface LoadedPlugin {
  readonly plugin: Plugin;
  /** What the config calls it. */
  readonly source: string;
  /** Options as the config gives them, unchecked. */
  readonly options: unknown;
}

const BUILT_IN_DIR = fileURLToPath(new URL('../../plugins/', import.meta.url));
const ENTRY_FILES = ['index.js', 'index.mjs', 'index.ts'];

/**
 * Imports every plugin the config names.
 *
 * @param plugins options by source
 * @param configFile paths among the sources are relative to it
 * @throws LifecycleError with every source that could not be loaded
 */
export async function loadPlugins(
  plugins: Readonly<Record<string, unknown>>,
  configFile: string,
): Promise<LoadedPlugin[]> {
  const failures: Failure[] = [];
  const loaded: LoadedPlugin[] = [];
  for (const [source, options] of Object.entries(plugins)) {
    try {
      loaded.push({ plugin: await loadPlugin(source, dirname(configFile)), source, options });
    } catch (error) {
      failures.push({ plugin: source, phase: 'load', error });
    }
  }
  if (failures.length > 0) throw new LifecycleError(failures);
  return loaded;
}

async function loadPlugin(source: string, base: string): Promise<Plugin> {
  const file = locate(source, base);
  const plugin = await importDefault(file);
  if (isPlugin(plugin)) return plugin;
  throw new LoxilbError(`${file} has no plugin as its default export`, {
    code: 'PLUGIN_INVALID',
    status: 500,
    remedy: 'export default definePlugin({...})',
  });
}

function locate(source: string, base: string): string {
  if (source.startsWith('.') || source.startsWith('/')) return locatePath(resolve(base, source), source);
  const builtIn = entryFile(join(BUILT_IN_DIR, source));
  if (builtIn) return builtIn;
  const installed = installedPackage(source, base);
  if (installed) return locatePath(installed, source);
  throw notFound(source, `no built-in plugin${hint(source, builtInNames())}, and no package of that name is installed`);
}

/** Looked up as Node does, but by folder: a package for `import` alone is one `require.resolve` does not see. */
function installedPackage(name: string, base: string): string | undefined {
  for (let dir = base; ; dir = dirname(dir)) {
    const candidate = join(dir, 'node_modules', name);
    if (existsSync(candidate)) return candidate;
    if (dir === dirname(dir)) return undefined;
  }
}

function locatePath(path: string, source: string): string {
  if (!existsSync(path)) throw notFound(source, `${path} does not exist`);
  if (!statSync(path).isDirectory()) return path;
  const file = packageEntry(path) ?? entryFile(path);
  if (!file)
    throw notFound(source, `${path} has neither a package.json with an entry nor one of ${ENTRY_FILES.join(', ')}`);
  return file;
}

function packageEntry(dir: string): string | undefined {
  const manifestFile = join(dir, 'package.json');
  if (!existsSync(manifestFile)) return undefined;
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8')) as { exports?: unknown; main?: string };
  const entry = exportsEntry(manifest.exports) ?? manifest.main;
  return entry === undefined ? undefined : join(dir, entry);
}

/** The `.` entry of a package's exports, as far as a plugin folder needs it. */
function exportsEntry(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return undefined;
  const conditions = exports as Record<string, unknown>;
  return exportsEntry(conditions['.'] ?? conditions.import ?? conditions.default);
}

function entryFile(dir: string): string | undefined {
  return ENTRY_FILES.map((name) => join(dir, name)).find((file) => existsSync(file));
}

function builtInNames(): string[] {
  return existsSync(BUILT_IN_DIR) ? readdirSync(BUILT_IN_DIR) : [];
}

function notFound(source: string, why: string): LoxilbError {
  return new LoxilbError(`plugin ${source} not found: ${why}`, {
    code: 'PLUGIN_NOT_FOUND',
    status: 500,
    value: source,
  });
}
