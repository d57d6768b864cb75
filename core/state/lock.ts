import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LoxilbError } from '@loxilb/sdk';
import koffi from 'koffi';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Keeps two daemons off one state directory. The kernel drops a `flock` with its process, so a killed daemon leaves
 * nothing behind that would have to be recognised as stale.
 *
 * @returns the function that gives the lock back
 * @throws LoxilbError STATE_LOCKED
 */
export function lockStateDir(dir: string): () => void {
  const path = join(dir, 'lock');
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const holder = readFileSync(path, 'utf8').trim();
    closeSync(fd);
    throw new LoxilbError(`state directory ${dir} is in use${holder ? ` by process ${holder}` : ''}`, {
      code: 'STATE_LOCKED',
      status: 409,
      value: dir,
      remedy: 'stop the other daemon, or give this one its own --state-dir',
    });
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
  return () => closeSync(fd);
}

let flockFunction: ((fd: number, operation: number) => number) | undefined;

function flock(fd: number, operation: number): number {
  flockFunction ??= koffi.load('libc.so.6').func('int flock(int fd, int operation)') as (
    fd: number,
    operation: number,
  ) => number;
  return flockFunction(fd, operation);
}
