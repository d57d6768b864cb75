import { isRange, type Place } from './places.js';

export interface Claim<Owner> {
  readonly place: Place;
  readonly owner: Owner;
}

/**
 * Who has which ports of which address. A port of its own comes before a range it is in, so the two do not meet; two
 * ranges that share a port do.
 */
export class Claims<Owner> {
  private readonly single = new Map<string, Claim<Owner>>();
  /** By address, protocol and mark. */
  private readonly ranges = new Map<string, Claim<Owner>[]>();

  get hasRanges(): boolean {
    return this.ranges.size > 0;
  }

  add(place: Place, owner: Owner): void {
    const claim = { place, owner };
    if (!isRange(place)) {
      this.single.set(singleText(place), claim);
      return;
    }
    this.remove(place, owner);
    const text = rangeText(place);
    const there = this.ranges.get(text);
    if (there) there.push(claim);
    else this.ranges.set(text, [claim]);
  }

  remove(place: Place, owner: Owner): void {
    const text = isRange(place) ? rangeText(place) : singleText(place);
    if (!isRange(place)) {
      if (this.single.get(text)?.owner === owner) this.single.delete(text);
      return;
    }
    const left = (this.ranges.get(text) ?? []).filter(
      (claim) => claim.owner !== owner || claim.place.port !== place.port,
    );
    if (left.length > 0) this.ranges.set(text, left);
    else this.ranges.delete(text);
  }

  /** What others than `owner` have of this place. */
  rivals(place: Place, owner?: Owner): readonly Claim<Owner>[] {
    if (isRange(place)) {
      return (this.ranges.get(rangeText(place)) ?? []).filter(
        (claim) => claim.owner !== owner && claim.place.port <= place.portMax && place.port <= claim.place.portMax,
      );
    }
    const claim = this.single.get(singleText(place));
    return claim === undefined || claim.owner === owner ? [] : [claim];
  }
}

function singleText(place: Place): string {
  return `${place.port}|${rangeText(place)}`;
}

function rangeText({ addr, proto, mark }: Place): string {
  return `${addr}|${proto}|${mark}`;
}
