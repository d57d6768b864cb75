import { be16, type Codec, ipAddress, type Logger, type MapSlice, struct, u8, u32 } from '@loxilb/sdk';

/** A drain as it is noted. What it belongs to is noted too: the rule may be gone. */
export interface DrainNote {
  /** Address of the service. */
  addr: string;
  /** Deadline, seconds of Unix time. */
  until: number;
  mark: number;
  port: number;
  portMax: number;
  /** IPPROTO_*. */
  proto: number;
  /** 1: flows that are cut at the deadline are told by a reset. */
  reset: number;
  /** 1: the address is on this machine for the service. */
  ownsAddress: number;
}

/** User space only. */
export const drainNote: Codec<DrainNote> = struct({
  addr: ipAddress,
  until: u32,
  mark: u32,
  port: be16,
  portMax: be16,
  proto: u8,
  reset: u8,
  ownsAddress: u8,
});

export function secondsNow(): number {
  return Math.ceil(Date.now() / 1000);
}

/**
 * Endpoints whose flows go on for a while though nothing chooses them any more, by endpoint id. In a pinned map: as long as
 * there are flows there is the note, whatever becomes of the daemon.
 */
export class DrainTable {
  private readonly notes = new Map<number, DrainNote>();
  /** Ids whose note is over and may be in the map yet: a later daemon would take it for a drain. */
  private readonly over = new Set<number>();

  constructor(
    private readonly map: MapSlice<number, DrainNote>,
    private readonly log: Logger,
  ) {}

  get size(): number {
    return this.notes.size;
  }

  entries(): Iterable<[number, DrainNote]> {
    return this.notes.entries();
  }

  get(id: number): DrainNote | undefined {
    return this.notes.get(id);
  }

  /** At start: what an earlier daemon noted. */
  adopt(): void {
    this.notes.clear();
    this.over.clear();
    for (const [id, note] of this.map.entries()) this.notes.set(id, note);
  }

  /** A drain that cannot be noted takes place all the same, and is cut short by a restart. */
  begin(ids: readonly number[], note: DrainNote): void {
    for (const id of ids) {
      this.notes.set(id, note);
      this.over.delete(id);
    }
    try {
      this.map.setMany(ids.map((id) => [id, note]));
    } catch (error) {
      this.log.warn({ err: error, endpoints: ids.length }, 'drain could not be noted: a restart would end it');
    }
  }

  /** A note that cannot be removed keeps nobody from what it was about: it goes with the next one, or by `tidy`. */
  end(ids: Iterable<number>): void {
    for (const id of ids) if (this.notes.delete(id)) this.over.add(id);
    this.tidy();
  }

  /** Something is to be tidied yet. */
  get isUntidy(): boolean {
    return this.over.size > 0;
  }

  tidy(): void {
    if (this.over.size === 0) return;
    try {
      this.map.deleteMany([...this.over]);
      this.over.clear();
    } catch (error) {
      this.log.warn({ err: error, endpoints: this.over.size }, 'notes of drains could not be removed yet');
    }
  }

  /** Ids whose deadline has come. */
  due(now: number): number[] {
    return [...this.notes].filter(([, { until }]) => until <= now).map(([id]) => id);
  }

  /** The earliest deadline, undefined when nothing drains. */
  get next(): number | undefined {
    let next: number | undefined;
    for (const { until } of this.notes.values()) if (next === undefined || until < next) next = until;
    return next;
  }
}
