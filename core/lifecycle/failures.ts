import { isLoxilbError } from '@loxilb/sdk';

export type Phase = 'load' | 'check' | 'config' | 'setup' | 'start' | 'reconcile' | 'stop';

export interface Failure {
  readonly plugin: string;
  readonly phase: Phase;
  readonly error: unknown;
}

/** Everything that went wrong in one step, not only the first thing. */
export class LifecycleError extends Error {
  override name = 'LifecycleError';

  constructor(readonly failures: readonly Failure[]) {
    super(failures.map(describe).join('\n'), { cause: failures[0]?.error });
  }
}

function describe({ plugin, phase, error }: Failure): string {
  const message = error instanceof Error ? error.message : String(error);
  const remedy = isLoxilbError(error) && error.remedy ? ` (${error.remedy})` : '';
  return `plugin ${plugin} failed at ${phase}: ${message}${remedy}`;
}
