import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const ownRequire = createRequire(import.meta.url);

/**
 * Imports a TypeScript or JavaScript file from anywhere and gives its default export. The sdk is ours unless the file
 * finds one of its own, so a config in /etc needs no node_modules beside it.
 */
export async function importDefault(file: string): Promise<unknown> {
  const alias = sdkAlias(file);
  const plain = ['.js', '.mjs'].includes(extname(file));
  if (plain && Object.keys(alias).length === 0) {
    const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
    return module.default;
  }
  // Loaded only here: it is the largest part of a start that needs it.
  const { createJiti } = await import('jiti');
  // No cache on disk: its place would be writable by others, and what lies there would run as root.
  const jiti = createJiti(file, { alias, fsCache: false, interopDefault: false });
  return jiti.import(file, { default: true });
}

function sdkAlias(file: string): Record<string, string> {
  try {
    createRequire(join(dirname(file), 'noop.js')).resolve('@loxilb/sdk');
    return {};
  } catch {
    return {
      '@loxilb/sdk/testing': ownRequire.resolve('@loxilb/sdk/testing'),
      '@loxilb/sdk': ownRequire.resolve('@loxilb/sdk'),
    };
  }
}
