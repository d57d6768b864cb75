import type { LbMaps } from './maps.js';
import type { Place } from './places.js';
import type { ServiceState } from './state.js';
import type { Undo } from './undo.js';

type Named = { readonly places: readonly Place[]; readonly endpoints: readonly { readonly entry: { addr: string } }[] };

/** Every address of a service and of its endpoints, once; with those that left and whose flows have not ended. */
export function addressesOf({ places, endpoints }: Named, leaving: ServiceState['leaving']): string[] {
  const addresses = new Set(places.map(({ addr }) => addr));
  for (const { entry } of endpoints) addresses.add(entry.addr);
  for (const { entry } of leaving?.values() ?? []) addresses.add(entry.addr);
  return [...addresses];
}

/**
 * Whose fragments packets wait for: `lb_address`, with the number of services that name an address. It is there before
 * the service is, and goes after it.
 */
export class AddressTable {
  private readonly uses = new Map<string, number>();

  constructor(private readonly maps: Pick<LbMaps, 'address'>) {}

  /** Counts what `after` has and the service had not. */
  admit({ addresses }: ServiceState, after: readonly string[], undo: Undo): void {
    this.count(missing(after, addresses), 1, undo);
  }

  /** Counts no more what the service had and `after` has not. */
  exclude({ addresses }: ServiceState, after: readonly string[], undo: Undo): void {
    this.count(missing(addresses, after), -1, undo);
  }

  /** Both, after places of the service have changed or an endpoint that left is gone for good. */
  follow(service: ServiceState, undo: Undo): void {
    const { addresses: before } = service;
    const after = addressesOf(service, service.leaving);
    this.admit(service, after, undo);
    this.exclude(service, after, undo);
    undo.add(() => {
      service.addresses = before;
    });
    service.addresses = after;
  }

  /** Nobody needs these any more. On failure entries too many stay until the next start. */
  release(addresses: readonly string[]): void {
    this.add(addresses, -1);
    this.write(addresses);
  }

  /** At start: one list per service. Returns the number of entries written or removed. */
  reconcile(lists: Iterable<readonly string[]>): number {
    for (const list of lists) this.add(list, 1);
    const there = new Map([...this.maps.address.entries()].map(([address, { uses }]) => [address, uses]));
    const wrong = [...new Set([...there.keys(), ...this.uses.keys()])].filter(
      (address) => there.get(address) !== this.uses.get(address),
    );
    this.write(wrong);
    return wrong.length;
  }

  private count(addresses: readonly string[], step: 1 | -1, undo: Undo): void {
    if (addresses.length === 0) return;
    undo.add(() => {
      this.add(addresses, step === 1 ? -1 : 1);
      this.write(addresses);
    });
    this.add(addresses, step);
    this.write(addresses);
  }

  private add(addresses: readonly string[], step: 1 | -1): void {
    for (const address of addresses) {
      const uses = (this.uses.get(address) ?? 0) + step;
      if (uses > 0) this.uses.set(address, uses);
      else this.uses.delete(address);
    }
  }

  private write(addresses: readonly string[]): void {
    const used = addresses.flatMap((address) => {
      const uses = this.uses.get(address);
      return uses === undefined ? [] : [[address, { uses }] as const];
    });
    const gone = addresses.filter((address) => !this.uses.has(address));
    if (used.length > 0) this.maps.address.setMany(used);
    if (gone.length > 0) this.maps.address.deleteMany(gone);
  }
}

function missing(addresses: readonly string[], from: readonly string[]): string[] {
  const there = new Set(from);
  return addresses.filter((address) => !there.has(address));
}
