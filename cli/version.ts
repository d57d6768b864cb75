import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Version of the package this client belongs to, and when and from what it was built: `2026_11_22_main-d755dbf`. */
export function clientVersion(): { version: string; build: string } {
  const folder = packageFolder(dirname(fileURLToPath(import.meta.url)));
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  const built = statSync(fileURLToPath(import.meta.url))
    .mtime.toISOString()
    .slice(0, 10)
    .replaceAll('-', '_');
  return { version, build: `${built}_${commit(folder) ?? 'release'}` };
}

/** The nearest folder above that is a package. */
function packageFolder(folder: string): string {
  try {
    readFileSync(join(folder, 'package.json'));
    return folder;
  } catch {
    return packageFolder(dirname(folder));
  }
}

/** `<branch>-<hash>` of a checkout, undefined in an installed package. */
function commit(folder: string): string | undefined {
  try {
    const head = readFileSync(join(folder, '.git/HEAD'), 'utf8').trim();
    const reference = /^ref: (.*)$/.exec(head)?.[1];
    if (reference === undefined) return `detached-${head.slice(0, 7)}`;
    const hash = readFileSync(join(folder, '.git', reference), 'utf8').slice(0, 7);
    return `${reference.replace('refs/heads/', '')}-${hash}`;
  } catch {
    return undefined;
  }
}
