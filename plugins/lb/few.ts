/**
 * A set that mostly has one member, or none. There is one per endpoint, and a real Set takes 200 bytes before it holds
 * anything.
 */
export class Few<T extends object> {
  private only: T | undefined;
  private all: Set<T> | undefined;

  get size(): number {
    return this.all?.size ?? (this.only === undefined ? 0 : 1);
  }

  /** The member that has been there longest. */
  get first(): T | undefined {
    return this.all ? this.all.values().next().value : this.only;
  }

  add(member: T): void {
    if (this.all) this.all.add(member);
    else if (this.only === undefined || this.only === member) this.only = member;
    else this.all = new Set([this.only, member]);
  }

  delete(member: T): void {
    this.all?.delete(member);
    if (this.only === member) this.only = undefined;
  }

  toArray(): T[] {
    if (this.all) return [...this.all];
    return this.only === undefined ? [] : [this.only];
  }
}
