import type { Asked, DeleteArguments, DeleteForm, Logger } from '@loxilb/sdk';
import type { AnyResource } from '../router/catalog.js';
import type { DesiredState } from './store.js';

interface Step {
  readonly key: string;
  readonly previous: unknown;
  /** undefined: the entry goes. */
  readonly desired: unknown;
  /** Absent when a step is taken back. */
  readonly asked?: Asked<unknown>;
}

/**
 * The one way desired state changes. Everything here is synchronous, so mutations are serialised by nature: data plane
 * first, then the journal, and if either refuses, what was done is taken back.
 */
export class Mutations {
  constructor(
    private readonly store: DesiredState,
    private readonly log: Logger,
  ) {}

  /** @returns keys of the entries concerned */
  post(resource: AnyResource, request: unknown): string[] {
    const stored = this.store.section(resource.name);
    const outcome = resource.merge ? resource.merge(request, stored) : { key: resource.key(request), desired: request };
    return this.#execute(resource, [{ ...outcome, previous: stored.get(outcome.key), asked: { request } }]);
  }

  remove(resource: AnyResource, form: DeleteForm<unknown>, args: DeleteArguments): string[] {
    const stored = this.store.section(resource.name);
    const steps = form
      .select(args, stored)
      .map((key) => ({ key, previous: stored.get(key), desired: undefined, asked: { args } }));
    return this.#execute(resource, steps);
  }

  #execute(resource: AnyResource, wanted: readonly Step[]): string[] {
    const steps = wanted.filter((step) => step.desired !== undefined || step.previous !== undefined);
    if (steps.length === 0) return [];
    const commit = this.store.prepare(steps.map(({ key, desired }) => ({ resource: resource.name, key, desired })));
    const done: Step[] = [];
    try {
      for (const step of steps) {
        perform(resource, step);
        done.push(step);
      }
      commit();
    } catch (error) {
      this.#takeBack(resource, done);
      throw error;
    }
    return steps.map(({ key }) => key);
  }

  #takeBack(resource: AnyResource, done: readonly Step[]): void {
    for (const step of [...done].reverse()) {
      try {
        perform(resource, { key: step.key, previous: step.desired, desired: step.previous });
      } catch (err) {
        this.log.error({ err, resource: resource.name, key: step.key }, 'TAKING BACK FAILED: restart to reconcile');
      }
    }
  }
}

function perform(resource: AnyResource, step: Step): void {
  if (step.desired === undefined) resource.remove(step.previous, step.asked);
  else resource.apply(step.desired, step.previous, step.asked);
}
