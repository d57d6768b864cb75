import { existsSync, readFileSync, statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LoxilbError } from '@loxilb/sdk';
import { importDefault } from './import-file.js';
import { type Config, configError, parseConfig } from './schema.js';
import { checkTrusted } from './trust.js';

const SYSTEM_FILES = ['ts', 'js', 'yaml', 'yml', 'json'].map((extension) => `/etc/loxilb/loxilb.config.${extension}`);

const OWN_FILES = ['loxilb.config.ts', 'loxilb.config.js'].map(packageFile);

export interface LoadedConfig {
  readonly file: string;
  readonly config: Config;
}

/**
 * Reads the named file, else the system's, else the one that ships with the package.
 *
 * @throws LoxilbError CONFIG_MISSING, CONFIG_UNSAFE, CONFIG_INVALID
 */
export async function loadConfig(named: string | undefined): Promise<LoadedConfig> {
  const file = named === undefined ? defaultFile() : resolve(named);
  if (!existsSync(file)) {
    throw new LoxilbError(`config file ${file} does not exist`, { code: 'CONFIG_MISSING', status: 404, value: file });
  }
  // The file that ships with the package is as trustworthy as the code that reads it, whoever owns the checkout.
  if (!OWN_FILES.includes(file)) checkTrusted(file);
  return { file, config: parseConfig(await readConfigFile(file), file) };
}

function defaultFile(): string {
  return [...SYSTEM_FILES, ...OWN_FILES].find((file) => existsSync(file)) ?? (OWN_FILES[0] as string);
}

/** The package's own file has been compiled with the package; a later edit of it counts all the same. */
function compiledTwin(file: string): string {
  const twin = packageFile('dist/loxilb.config.js');
  const hasTwin = file === packageFile('loxilb.config.ts') && existsSync(twin);
  return hasTwin && statSync(twin).mtimeMs >= statSync(file).mtimeMs ? twin : file;
}

/** A file of the package the running code belongs to: source tree and `dist` differ by one level. */
export function packageFile(name: string): string {
  const here = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(here.includes('/dist/core/') ? `../../../${name}` : `../../${name}`, import.meta.url));
}

async function readConfigFile(file: string): Promise<unknown> {
  const extension = extname(file);
  try {
    if (extension === '.json') return JSON.parse(readFileSync(file, 'utf8'));
    if (extension === '.yaml' || extension === '.yml') {
      const { parse } = await import('yaml');
      return parse(readFileSync(file, 'utf8'));
    }
    return await importDefault(compiledTwin(file));
  } catch (error) {
    throw configError(file, [error instanceof Error ? error.message : String(error)]);
  }
}
