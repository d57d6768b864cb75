import type { Logger } from '@loxilb/sdk';
import type { CatalogResource } from '../router/catalog.js';
import type { DesiredState } from '../state/store.js';
import { type Failure, LifecycleError } from './failures.js';

/**
 * Makes the data plane equal to what is stored, one resource after the other. An entry that cannot be programmed any
 * more is told loudly and stays stored; it must not keep the others from working.
 *
 * @throws LifecycleError when a resource's own reconcile fails
 */
export function reconcileResources(resources: readonly CatalogResource[], store: DesiredState, log: Logger): void {
  const failures: Failure[] = [];
  for (const { plugin, definition } of resources) {
    const desired = [...store.section(definition.name).values()];
    try {
      if (definition.reconcile) definition.reconcile(desired);
      else for (const entry of desired) applyOne(definition, entry, log);
    } catch (error) {
      failures.push({ plugin, phase: 'reconcile', error });
    }
    if (desired.length > 0)
      log.info({ resource: definition.name, entries: desired.length }, 'desired state programmed');
  }
  if (failures.length > 0) throw new LifecycleError(failures);
}

function applyOne(definition: CatalogResource['definition'], entry: unknown, log: Logger): void {
  try {
    definition.apply(entry, undefined);
  } catch (err) {
    log.error({ err, resource: definition.name, key: definition.key(entry) }, 'STORED ENTRY NOT PROGRAMMED');
  }
}
