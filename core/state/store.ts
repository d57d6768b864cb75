import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { type Logger, LoxilbError } from '@loxilb/sdk';
import { journalPath, pruneGenerations, snapshotPath } from './generations.js';
import { Journal } from './journal.js';
import { lockStateDir } from './lock.js';
import { type Change, encodeRecord } from './record.js';
import { recover } from './recover.js';
import { type Sections, sectionOf, writeSnapshot } from './snapshot.js';

/** A journal longer than this is folded into a snapshot. */
const COMPACT_BYTES = 16 * 1024 * 1024;

/** What every enabled resource should be. The one thing the daemon must not forget. */
export interface DesiredState {
  section(resource: string): ReadonlyMap<string, unknown>;
  /**
   * Turns changes into bytes ready to store.
   *
   * @throws LoxilbError STATE_UNSERIALIZABLE
   */
  prepare(changes: readonly Change[]): Commit;
  /** Last step of a clean stop. */
  close(): Promise<void>;
}

/** Stores what was prepared: durable against `kill -9` on return, or throws STATE_WRITE and nothing has changed. */
export type Commit = () => void;

export interface StoreOptions {
  readonly dir: string;
  readonly log: Logger;
  readonly compactBytes?: number;
}

/** Journal plus snapshots in a directory. */
export class FileStore implements DesiredState {
  #sections: Sections;
  #sequence: number;
  #journal: Journal;
  #compaction: Promise<void> | undefined;
  readonly #unlock: () => void;
  readonly #dir: string;
  readonly #log: Logger;
  readonly #compactBytes: number;

  constructor(options: StoreOptions) {
    this.#dir = options.dir;
    this.#log = options.log;
    this.#compactBytes = options.compactBytes ?? COMPACT_BYTES;
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    chmodSync(options.dir, 0o700);
    this.#unlock = lockStateDir(options.dir);
    try {
      const recovered = recover(options.dir, options.log);
      this.#sections = recovered.sections;
      this.#sequence = recovered.sequence;
      this.#journal = this.#openJournal(recovered.journal?.base ?? this.#sequence, recovered.journal?.bytes);
    } catch (error) {
      this.#unlock();
      throw error;
    }
  }

  #openJournal(base: number, keepBytes?: number): Journal {
    const path = journalPath(this.#dir, base);
    const journal = Journal.open(
      path,
      (err) => this.#log.error({ err, path }, 'flushing the journal to disk failed'),
      keepBytes,
    );
    syncDirectory(this.#dir);
    return journal;
  }

  section(resource: string): ReadonlyMap<string, unknown> {
    return sectionOf(this.#sections, resource);
  }

  prepare(changes: readonly Change[]): Commit {
    const sequence = this.#sequence + 1;
    const line = serialize(() => encodeRecord({ sequence, changes }));
    return () => {
      this.#journal.append(line);
      this.#sequence = sequence;
      applyChanges(this.#sections, changes);
      if (this.#journal.size > this.#compactBytes) void this.compact();
    };
  }

  /** Folds the journal into a new snapshot, without holding up mutations: they go to a fresh journal meanwhile. */
  compact(): Promise<void> {
    this.#compaction ??= this.#compactOnce().finally(() => {
      this.#compaction = undefined;
    });
    return this.#compaction;
  }

  async #compactOnce(): Promise<void> {
    const sequence = this.#sequence;
    try {
      const frozen = new Map([...this.#sections].map(([name, entries]) => [name, new Map(entries)]));
      if (this.#journal.path !== journalPath(this.#dir, sequence)) {
        const next = this.#openJournal(sequence);
        this.#journal.close();
        this.#journal = next;
      }
      await writeSnapshot(snapshotPath(this.#dir, sequence), sequence, frozen);
      pruneGenerations(this.#dir);
    } catch (err) {
      // Nothing is lost: the older snapshot and the longer chain of journals still say the same.
      this.#log.error({ err, dir: this.#dir }, 'writing a snapshot failed');
    }
  }

  /** Lets go of the directory without tidying it, as a killed process does. */
  abandon(): void {
    this.#journal.close();
    this.#unlock();
  }

  async close(): Promise<void> {
    await this.#compaction;
    if (this.#journal.size > 0) await this.compact();
    this.abandon();
  }
}

/** `--ephemeral`: forgets everything with the process. */
export class EphemeralStore implements DesiredState {
  readonly #sections: Sections = new Map();

  section(resource: string): ReadonlyMap<string, unknown> {
    return sectionOf(this.#sections, resource);
  }

  prepare(changes: readonly Change[]): Commit {
    return () => applyChanges(this.#sections, changes);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function applyChanges(sections: Sections, changes: readonly Change[]): void {
  for (const { resource, key, desired } of changes) {
    if (desired === undefined) sectionOf(sections, resource).delete(key);
    else sectionOf(sections, resource).set(key, desired);
  }
}

function serialize(encode: () => string): string {
  try {
    return encode();
  } catch (cause) {
    throw new LoxilbError('request cannot be stored: it is nested too deeply or refers to itself', {
      code: 'STATE_UNSERIALIZABLE',
      status: 400,
      cause,
    });
  }
}

/** Makes the names of new files durable, not only their contents. */
function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
