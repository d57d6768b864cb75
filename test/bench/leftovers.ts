import { readFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryRun } from './process.js';
import { removeNamespaces, staleNamespaces } from './topology.js';

export const WORK_PREFIX = 'llbbench-';

/** Takes back what runs that were killed outright left: processes, namespaces, mounts and folders. */
export async function removeLeftovers(): Promise<void> {
  await removeNamespaces(await staleNamespaces());
  for (const name of await readdir(tmpdir())) {
    if (name.startsWith(WORK_PREFIX)) await removeFolder(join(tmpdir(), name));
  }
}

async function removeFolder(folder: string): Promise<void> {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`));
  for (const mount of mounts.reverse()) await tryRun(['umount', mount]);
  await rm(folder, { recursive: true, force: true });
}
