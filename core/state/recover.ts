import { readFileSync } from 'node:fs';
import { type Logger, LoxilbError } from '@loxilb/sdk';
import { journalPath, listGenerations, snapshotPath } from './generations.js';
import { decodeRecord, type JournalRecord } from './record.js';
import { readSnapshot, type Sections, sectionOf } from './snapshot.js';

export interface Recovered {
  readonly sections: Sections;
  /** Number of the last mutation that is part of it. */
  readonly sequence: number;
  /** The journal to go on with, and how much of it is good. */
  readonly journal: { readonly base: number; readonly bytes: number } | undefined;
}

/** Newest readable snapshot, then every journal after it. */
export function recover(dir: string, log: Logger): Recovered {
  const { snapshots, journals } = listGenerations(dir);
  const start = newestSnapshot(dir, snapshots, journals, log);
  const sections = start.sections;
  let sequence = start.sequence;
  let last: Recovered['journal'];
  for (const base of journals.filter((number) => number >= start.sequence)) {
    const replayed = readJournal(journalPath(dir, base), base === journals.at(-1), log);
    for (const record of replayed.records) {
      if (record.sequence <= sequence) continue;
      warnOfGap(sequence, record, log);
      applyRecord(sections, record);
      sequence = record.sequence;
    }
    last = { base, bytes: replayed.goodBytes };
  }
  return { sections, sequence, journal: last };
}

function newestSnapshot(
  dir: string,
  snapshots: readonly number[],
  journals: readonly number[],
  log: Logger,
): { sections: Sections; sequence: number } {
  for (const sequence of [...snapshots].reverse()) {
    const path = snapshotPath(dir, sequence);
    try {
      return readSnapshot(path);
    } catch (error) {
      log.error({ err: error, path }, 'SNAPSHOT DAMAGED: falling back to the generation before it and its journals');
    }
  }
  // Without any snapshot a journal that starts at zero is still the whole story.
  if (snapshots.length + journals.length === 0 || journals[0] === 0) return { sections: new Map(), sequence: 0 };
  throw new LoxilbError(`no snapshot in ${dir} is readable (${snapshots.length} tried)`, {
    code: 'STATE_UNREADABLE',
    status: 500,
    remedy: 'restore the directory from a backup, or move it away to start with nothing; pinned maps still forward',
  });
}

function warnOfGap(sequence: number, record: JournalRecord, log: Logger): void {
  if (record.sequence === sequence + 1) return;
  log.error({ from: sequence + 1, to: record.sequence - 1 }, 'MUTATIONS LOST: the journal has a gap');
}

function applyRecord(sections: Sections, record: JournalRecord): void {
  for (const { resource, key, desired } of record.changes) {
    if (desired === undefined) sectionOf(sections, resource).delete(key);
    else sectionOf(sections, resource).set(key, desired);
  }
}

/**
 * Records of one journal. A damaged last line is a write that a crash cut short: its client never got an answer, so it
 * is dropped. A damaged line before others is disk damage: records are absolute, so the rest still counts.
 */
function readJournal(path: string, isNewest: boolean, log: Logger): { records: JournalRecord[]; goodBytes: number } {
  const text = readFileSync(path, 'utf8');
  const records: JournalRecord[] = [];
  const lines = text.split('\n');
  const torn = lines.pop() ?? '';
  let goodBytes = Buffer.byteLength(text) - Buffer.byteLength(torn);
  if (torn !== '') log.warn({ path, bytes: torn.length }, 'journal ends in a torn record, which was never confirmed');
  lines.forEach((line, index) => {
    try {
      records.push(decodeRecord(line));
    } catch (error) {
      log.error({ err: error, path, line: index + 1 }, 'JOURNAL DAMAGED: one record is skipped');
    }
  });
  if (!isNewest) goodBytes = Buffer.byteLength(text);
  return { records, goodBytes };
}
