/** `loxilb --cleanup`: takes everything of ours out of the kernel. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readLinks } from '../../netlink/dump.js';
import type { CleanupOptions } from '../types.js';
import { ClsactHook } from './clsact-hook.js';
import { DIRECTIONS } from './hook.js';
import { isBpffs, listPins, removePin, removePinFolder } from './pins.js';
import { detachPin } from './tcx-hook.js';

/**
 * Detaches our programs everywhere and removes every pin, then the folder. Traffic through services ends. A daemon must
 * not be running. Addresses it added to interfaces are not its business: the desired state names them.
 */
export function cleanupDataPlane({ bpfDir, log }: CleanupOptions): void {
  removeFilters();
  if (!existsSync(bpfDir) || !isBpffs(bpfDir)) {
    log.info({ bpfDir }, 'nothing is pinned');
    return;
  }
  for (const path of listPins(join(bpfDir, 'links'))) detachPin(path);
  const pins = [...listPins(join(bpfDir, 'programs')), ...listPins(bpfDir)];
  for (const path of pins) removePin(path);
  const gone = removePinFolder(bpfDir);
  log.info({ bpfDir, pins: pins.length }, 'programs detached, pins removed');
  if (!gone) log.warn({ bpfDir }, 'the folder is in use or holds files of others, and stays');
}

/** tc filters have no pin: every interface is looked at. */
function removeFilters(): void {
  const hook = new ClsactHook();
  for (const { ifindex } of readLinks()) for (const direction of DIRECTIONS) hook.detach(ifindex, direction);
}
