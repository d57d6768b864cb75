import { existsSync, readdirSync } from 'node:fs';
import { cleanupDataPlane } from '../dataplane/index.js';
import { lockStateDir } from '../state/lock.js';
import { Daemon, type DaemonOptions } from './daemon.js';

/**
 * `loxilb --cleanup`: takes everything of ours out of the kernel. Plugins first take back what they put elsewhere, such
 * as service addresses; then programs are detached and pins removed. What is stored stays, for the next start.
 *
 * @throws LoxilbError STATE_LOCKED while a daemon runs
 */
export async function cleanUp(options: DaemonOptions): Promise<void> {
  const { stateDir, dataplane } = options.config;
  const log = options.log('cleanup');
  const unlock = existsSync(stateDir) ? lockStateDir(stateDir) : undefined;
  try {
    if (isPinned(dataplane.bpfDir)) await retract(options);
    cleanupDataPlane({ bpfDir: dataplane.bpfDir, log });
  } finally {
    unlock?.();
  }
}

function isPinned(bpfDir: string): boolean {
  return existsSync(bpfDir) && readdirSync(bpfDir).length > 0;
}

/** Pins must go even when the plugins cannot be brought up to say goodbye. */
async function retract(options: DaemonOptions): Promise<void> {
  const config = { ...options.config, ephemeral: true };
  try {
    await new Daemon({ ...options, config }).retract();
  } catch (err) {
    options.log('cleanup').warn({ err }, 'plugins could not take back what they set up outside the data plane');
  }
}
