import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Files of a state directory. A generation is named by the sequence number it starts from: `snapshot-<n>` holds
 * everything up to and including mutation n, `journal-<n>` the mutations after it. The newest readable snapshot plus
 * every journal from its number on give the desired state, so an older snapshot works as well, only slower.
 */
const NAME = /^(snapshot|journal)-(\d{15})$/;

/** Snapshots kept, with the journals they need. */
export const KEPT_GENERATIONS = 3;

export function snapshotPath(dir: string, sequence: number): string {
  return join(dir, `snapshot-${pad(sequence)}`);
}

export function journalPath(dir: string, sequence: number): string {
  return join(dir, `journal-${pad(sequence)}`);
}

function pad(sequence: number): string {
  return String(sequence).padStart(15, '0');
}

export interface Generations {
  /** Sequence numbers, ascending. */
  readonly snapshots: readonly number[];
  readonly journals: readonly number[];
}

export function listGenerations(dir: string): Generations {
  const snapshots: number[] = [];
  const journals: number[] = [];
  for (const name of readdirSync(dir).sort()) {
    const match = NAME.exec(name);
    if (match) (match[1] === 'snapshot' ? snapshots : journals).push(Number(match[2]));
  }
  return { snapshots, journals };
}

/** Removes what no kept snapshot needs. */
export function pruneGenerations(dir: string): void {
  const { snapshots, journals } = listGenerations(dir);
  if (snapshots.length === 0) return;
  const oldestKept = snapshots.slice(-KEPT_GENERATIONS)[0] as number;
  for (const sequence of snapshots) if (sequence < oldestKept) rmSync(snapshotPath(dir, sequence));
  for (const sequence of journals) if (sequence < oldestKept) rmSync(journalPath(dir, sequence));
}
