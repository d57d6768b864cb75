import type { Writable } from 'node:stream';

/** Where a command prints. Tests pass their own streams. */
export interface Terminal {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

export type Output = 'narrow' | 'wide' | 'json' | 'yaml';

export function printLine(stream: Writable, line: string): void {
  stream.write(`${line}\n`);
}

/** Bad use of the command line itself: goes to stderr with the command's usage, exit status 1. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Neither a verb nor anything else. */
export class UnknownVerbError extends Error {
  override name = 'UnknownVerbError';

  constructor(readonly verb: string) {
    super(`unknown command "${verb}" for "loxicmd"`);
  }
}

/** An object word nobody knows; the daemon may, since it can run plugins this client was not built with. */
export class UnknownObjectError extends Error {
  override name = 'UnknownObjectError';

  constructor(
    readonly verb: string,
    readonly words: readonly string[],
  ) {
    super(`unknown command "[${words.join(' ')}]"for "loxicmd" `);
  }
}
