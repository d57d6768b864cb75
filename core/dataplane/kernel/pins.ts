/** Files of the bpf file system: what is pinned outlives the daemon. Names there must not contain a dot. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, statfsSync, statSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { kernelError } from '../errors.js';
import { getPinned, pinObject } from '../sys/bpf.js';
import { Errno } from '../sys/errno.js';
import { mountBpffs, unmount } from '../sys/libc.js';

/** f_type of bpffs; statfs gives it as a signed or unsigned number, by architecture. */
const BPFFS_MAGIC = 0xcafe4a11;

export function isBpffs(folder: string): boolean {
  return existsSync(folder) && (statfsSync(folder).type & 0xffffffff) === (BPFFS_MAGIC | 0);
}

/** Creates the folder and mounts a bpffs there, unless it is inside one. */
export function ensureBpffs(folder: string): void {
  mkdirSync(folder, { recursive: true });
  if (isBpffs(folder)) return;
  const result = mountBpffs(folder);
  if (result < 0) throw kernelError(`mounting a bpf file system at ${folder}`, -result);
}

/** Pins beside the target and renames: whoever opens `path` gets the old object or the new one. */
export function pinAtomically(fd: number, path: string): void {
  const beside = `${path}_new`;
  removePin(beside);
  const result = pinObject(fd, beside);
  if (result < 0) throw kernelError(`pinning ${path}`, -result);
  renameSync(beside, path);
}

/** A descriptor of the pinned object, undefined when there is none. */
export function openPin(path: string): number | undefined {
  const fd = getPinned(path);
  if (fd === -Errno.ENOENT) return undefined;
  if (fd < 0) throw kernelError(`opening ${path}`, -fd);
  return fd;
}

export function removePin(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Paths of the pins in a folder, without its subfolders and the kernel's own `maps.debug` and `progs.debug`. */
export function listPins(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && !entry.name.includes('.'))
    .map((entry) => join(folder, entry.name));
}

/** Removes the folder; when a file system is mounted there, unmounts it first. False when something is left in it. */
export function removePinFolder(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) rmdirSync(join(folder, entry.name));
    }
    if (statSync(folder).dev !== statSync(dirname(folder)).dev) unmount(folder);
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

/** A name the bpf file system takes: interface names may have dots. */
export function pinName(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('.', '%2E');
}

/**
 * Gives a pin another name when its name is needed for another interface: pinning over it would take the program off the
 * interface it belongs to. Returns the new path. The percent sign keeps it apart from what `pinName` makes.
 */
export function setAside(path: string, ifindex: number, suffix: string): string {
  const aside = join(dirname(path), `%${ifindex}${suffix}`);
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return aside;
}
