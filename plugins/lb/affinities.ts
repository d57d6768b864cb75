import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataPlane, MapSlice, RawBatch } from '@loxilb/sdk';
import { type LbAffinity, type LbAffinityKey, lbAffinityKey } from './layout.gen.js';

/** Where a key has it: behind the client's address. */
const SERVICE_ID_OFFSET = 16;

/**
 * What persist remembers of clients. Packets write it; here it is taken out before the id of a service goes to another,
 * whose clients would be sent where they went with the old one.
 */
export class Affinities {
  /** Services that may have clients in the table. */
  private readonly remembered = new Set<number>();

  constructor(
    private readonly map: MapSlice<LbAffinityKey, LbAffinity>,
    private readonly dataplane: Pick<DataPlane, 'rawBatches'>,
  ) {}

  /** The service selects by persist. */
  note(serviceId: number): void {
    this.remembered.add(serviceId);
  }

  /** At start: forgets the clients of services that are not among these. Returns how many. */
  keepOnly(serviceIds: { has(id: number): boolean }): number {
    let forgotten = 0;
    for (const batch of this.batches()) {
      const stale = keysOf(batch, (id) => {
        this.note(id);
        return !serviceIds.has(id);
      });
      this.map.deleteMany(stale);
      forgotten += stale.length;
    }
    return forgotten;
  }

  /** In turns of the event loop, when there is anything to do. */
  async forget(serviceIds: readonly number[]): Promise<void> {
    const ids = new Set(serviceIds.filter((id) => this.remembered.has(id)));
    if (ids.size === 0) return;
    for (const batch of this.batches()) {
      const stale = keysOf(batch, (id) => ids.has(id));
      if (stale.length > 0) this.map.deleteMany(stale);
      await nextTurn();
    }
    for (const id of ids) this.remembered.delete(id);
  }

  private batches(): Iterable<RawBatch> {
    return this.dataplane.rawBatches(this.map.spec.name);
  }
}

function keysOf({ keys, count }: RawBatch, isWanted: (serviceId: number) => boolean): LbAffinityKey[] {
  const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  const { size } = lbAffinityKey;
  const found: LbAffinityKey[] = [];
  for (let at = 0; at < count * size; at += size) {
    if (isWanted(view.getUint32(at + SERVICE_ID_OFFSET, true))) found.push(lbAffinityKey.decode(view, at));
  }
  return found;
}
