/**
 * Ids 1 to capacity - 1; 0 means none in the data plane. Fresh ids are given before used ones come round again, so that
 * whatever still carries an old id has had its time.
 */
export class IdPool {
  private readonly taken: Uint8Array;
  private cursor = 1;
  private used = 0;

  constructor(readonly capacity: number) {
    this.taken = new Uint8Array(capacity);
    this.taken[0] = 1;
  }

  get inUse(): number {
    return this.used;
  }

  /** Undefined when all are taken. */
  take(): number | undefined {
    if (this.used >= this.capacity - 1) return undefined;
    let id = this.taken.indexOf(0, this.cursor);
    if (id < 0) id = this.taken.indexOf(0, 1);
    this.taken[id] = 1;
    this.used++;
    this.cursor = id + 1;
    return id;
  }

  /** Takes the very id. False when it is out of range or taken. */
  reserve(id: number): boolean {
    if (id < 1 || id >= this.capacity || this.taken[id] === 1) return false;
    this.taken[id] = 1;
    this.used++;
    return true;
  }

  release(id: number): void {
    if (this.taken[id] !== 1 || id === 0) return;
    this.taken[id] = 0;
    this.used--;
  }
}
