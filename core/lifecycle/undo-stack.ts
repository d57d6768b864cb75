import type { Logger } from '@loxilb/sdk';

interface Undo {
  readonly what: string;
  readonly run: () => void | Promise<void>;
}

/** What was brought up, to be brought down in reverse. One step that fails does not keep the others from running. */
export class UndoStack {
  readonly #steps: Undo[] = [];

  push(what: string, run: () => void | Promise<void>): void {
    this.#steps.push({ what, run });
  }

  /** @returns what failed */
  async unwind(log: Logger): Promise<readonly unknown[]> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.run();
      } catch (err) {
        log.error({ err }, `${step.what} failed`);
        failures.push(err);
      }
    }
    return failures;
  }
}
