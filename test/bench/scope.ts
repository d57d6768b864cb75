/** What a run must take back: released in reverse order, each once, even when one of them fails. */
export class Scope {
  private readonly releases: { what: string; release: () => Promise<void> | void }[] = [];
  private closing: Promise<string[]> | undefined;

  defer(what: string, release: () => Promise<void> | void): void {
    this.releases.push({ what, release });
  }

  /** Releases everything and tells what could not be released. Later calls join the first. */
  close(): Promise<string[]> {
    this.closing ??= this.releaseAll();
    return this.closing;
  }

  private async releaseAll(): Promise<string[]> {
    const failures: string[] = [];
    for (let item = this.releases.pop(); item; item = this.releases.pop()) {
      try {
        await item.release();
      } catch (error) {
        failures.push(`${item.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return failures;
  }
}
