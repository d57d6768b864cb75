import { type Claim, Claims } from './claims.js';
import type { LbService } from './layout.gen.js';
import { LbControlFlags } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { deleteKeys, isHostRule, keysOf, type Place, type PlaceKey, placeText, writeKeys } from './places.js';
import { sameFields } from './same-fields.js';
import type { ServiceState } from './state.js';
import type { Undo } from './undo.js';

type Maps = Pick<LbMaps, 'service' | 'range' | 'control'>;

/** Which packets belong to which service: `lb_service`, `lb_range`, and the flag that says the latter is not empty. */
export class PlaceTable {
  /** Services for all addresses of this machine. */
  readonly hosts = new Set<ServiceState>();
  private readonly claims = new Claims<ServiceState>();
  private hasRanges = false;

  constructor(private readonly maps: Maps) {}

  /** Who has packets of this place and does not step back for `service`. */
  rivals(place: Place, service: ServiceState, isHost: boolean): readonly Claim<ServiceState>[] {
    const rivals = this.claims.rivals(place, service);
    return isHost ? rivals : rivals.filter(({ owner }) => !this.hosts.has(owner));
  }

  /** What a service for all addresses may have: the rest belongs to rules with an address of their own. */
  leftFor(service: ServiceState, places: readonly Place[]): Place[] {
    return places.filter((place) => this.claims.rivals(place, service).every(({ owner }) => this.hosts.has(owner)));
  }

  /** At start: the maps have it already, or will. */
  adopt(service: ServiceState): void {
    for (const place of service.places) this.claims.add(place, service);
    if (isHostRule(service.rule)) this.hosts.add(service);
  }

  /** At start: the flag as it has to be. Tells whether it was not. */
  adoptFlags(): boolean {
    const before = ((this.maps.control.get(0)?.flags ?? 0) & LbControlFlags.LB_HAS_RANGES) !== 0;
    this.hasRanges = before;
    this.switchRanges();
    return before !== this.hasRanges;
  }

  /** Packets of `after` meet `value` from now on, those of other places of the service no longer do. */
  move(service: ServiceState, after: readonly Place[], value: LbService, undo: Undo): void {
    if (isHostRule(service.rule)) this.addHost(service, undo);
    const { places: before, value: oldValue } = service;
    const [wanted, had] = [textsOf(after), textsOf(before)];
    const added = after.filter((place) => !had.has(placeText(place)));
    const removed = before.filter((place) => !wanted.has(placeText(place)));
    const kept = sameFields(oldValue, value) ? [] : after.filter((place) => had.has(placeText(place)));
    if (added.length + removed.length + kept.length === 0) return;
    undo.add(() => this.switchRanges());
    for (const place of added) this.evictHosts(place, service, undo);
    this.write(service, [...kept, ...added], added, value, undo);
    this.switchRanges();
    this.drop(service, removed, undo);
  }

  /** New values of services, written wherever packets find them. */
  rewrite(values: readonly (readonly [ServiceState, LbService])[]): void {
    writeKeys(
      this.maps,
      values.flatMap(([{ places }, value]) => placeKeys(places).map((key) => [key, value] as const)),
    );
  }

  /** No packet meets the service any more. */
  remove(service: ServiceState, undo: Undo): void {
    const isHost = this.hosts.has(service);
    undo.add(() => this.switchRanges());
    this.drop(service, service.places, undo);
    if (!isHost) return;
    this.hosts.delete(service);
    undo.add(() => this.hosts.add(service));
  }

  private addHost(service: ServiceState, undo: Undo): void {
    if (this.hosts.has(service)) return;
    this.hosts.add(service);
    undo.add(() => this.hosts.delete(service));
  }

  private write(
    service: ServiceState,
    places: readonly Place[],
    added: readonly Place[],
    value: LbService,
    undo: Undo,
  ): void {
    const { value: oldValue } = service;
    const kept = places.filter((place) => !added.includes(place));
    undo.add(() => {
      deleteKeys(this.maps, placeKeys(added));
      writeKeys(
        this.maps,
        placeKeys(kept).map((key) => [key, oldValue]),
      );
      for (const place of added) this.claims.remove(place, service);
    });
    writeKeys(
      this.maps,
      placeKeys(places).map((key) => [key, value]),
    );
    for (const place of added) this.claims.add(place, service);
  }

  private drop(service: ServiceState, places: readonly Place[], undo: Undo): void {
    if (places.length > 0) {
      const { value } = service;
      undo.add(() => {
        writeKeys(
          this.maps,
          placeKeys(places).map((key) => [key, value]),
        );
        for (const place of places) this.claims.add(place, service);
      });
      deleteKeys(this.maps, placeKeys(places));
      for (const place of places) this.claims.remove(place, service);
    }
    this.switchRanges();
  }

  private evictHosts(place: Place, service: ServiceState, undo: Undo): void {
    for (const { place: ceded, owner: host } of this.claims.rivals(place, service)) {
      if (!this.hosts.has(host)) continue;
      const { places } = host;
      this.drop(host, [ceded], undo);
      undo.add(() => {
        host.places = places;
      });
      host.places = places.filter((one) => placeText(one) !== placeText(ceded));
    }
  }

  /** While the flag is off, packets do not look for ranges. */
  private switchRanges(): void {
    const { hasRanges } = this.claims;
    if (hasRanges === this.hasRanges) return;
    this.maps.control.set(0, { flags: hasRanges ? LbControlFlags.LB_HAS_RANGES : 0 });
    this.hasRanges = hasRanges;
  }
}

function textsOf(places: readonly Place[]): Set<string> {
  return new Set(places.map(placeText));
}

function placeKeys(places: readonly Place[]): PlaceKey[] {
  return places.flatMap(keysOf);
}
