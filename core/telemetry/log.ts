import { type Logger, LoxilbError } from '@loxilb/sdk';
import pino from 'pino';

/** Level names of existing loxilb command lines, in pino's words. */
const LEVELS: Readonly<Record<string, pino.LevelWithSilent>> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  notice: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
  fatal: 'fatal',
  alert: 'fatal',
  emergency: 'fatal',
  silent: 'silent',
};

export const LEVEL_NAMES = Object.keys(LEVELS);

/** One JSON object per line on stdout: journald and container runtimes take it from there. */
export function createRootLog(level: string): pino.Logger {
  const mapped = LEVELS[level.toLowerCase()];
  if (!mapped) {
    throw new LoxilbError(`unknown log level ${level}`, {
      code: 'CONFIG_INVALID',
      status: 400,
      field: 'logLevel',
      value: level,
      remedy: `use one of ${LEVEL_NAMES.join(', ')}`,
    });
  }
  // Synchronous writes: the last lines before a crash are the ones that matter.
  return pino({ level: mapped, base: { pid: process.pid } }, pino.destination({ fd: 1, sync: true }));
}

/** The part of a pino logger that the contract promises, under a name of its own. */
export function namedLog(root: pino.Logger, name: string): Logger {
  return root.child({ name }) as Logger;
}
