import type { DirectoryService, ServiceDirectory } from '@loxilb/sdk';
import { serviceAddress } from './model.js';
import type { LbState, ServiceState } from './state.js';

/** Rules as others name them, by the id the packet path knows them by. */
export class ServiceBook implements ServiceDirectory {
  private readonly listeners = new Set<(ids: readonly number[]) => void>();

  constructor(private readonly state: Pick<LbState, 'byId'>) {}

  list(): DirectoryService[] {
    return [...this.state.byId.values()].map(describe);
  }

  find(id: number): DirectoryService | undefined {
    const found = this.state.byId.get(id);
    return found && describe(found);
  }

  onFreed(listener: (ids: readonly number[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Told by the owner of the ids, before it gives them to others. */
  freed(ids: readonly number[]): void {
    for (const listener of this.listeners) listener(ids);
  }
}

function describe({ id, rule }: ServiceState): DirectoryService {
  const { name, port, protocol, block } = rule;
  return { id, name, address: serviceAddress(rule), port, lastPort: rule.portMax ?? port, protocol, mark: block };
}
