import { crc32 } from 'node:zlib';

/** One entry's new desired state; `desired` undefined means the entry is gone. */
export interface Change {
  /** Name of the resource, which is the section of the store. */
  readonly resource: string;
  readonly key: string;
  readonly desired: unknown;
}

/** What one mutation did. It becomes visible after a crash as a whole or not at all. */
export interface JournalRecord {
  readonly sequence: number;
  readonly changes: readonly Change[];
}

/** Why a line is not a record. */
export class RecordError extends Error {
  override name = 'RecordError';
}

/**
 * One line: CRC-32 of the rest as eight hex digits, a space, JSON. A line break inside the JSON is impossible, so a
 * torn write is always the last line.
 */
export function encodeRecord(record: JournalRecord): string {
  const changes = record.changes.map(({ resource, key, desired }) =>
    desired === undefined ? [resource, key] : [resource, key, desired],
  );
  const body = JSON.stringify([record.sequence, changes]);
  return `${checksum(body)} ${body}\n`;
}

/** @throws RecordError when the line is torn or damaged */
export function decodeRecord(line: string): JournalRecord {
  const body = verifyLine(line);
  const [sequence, changes] = JSON.parse(body) as [number, [string, string, unknown?][]];
  return {
    sequence,
    changes: changes.map(([resource, key, desired]) => ({ resource, key, desired })),
  };
}

/** The part of a line after its checksum. */
export function verifyLine(line: string): string {
  const body = line.slice(9);
  if (line.charAt(8) !== ' ' || line.slice(0, 8) !== checksum(body)) throw new RecordError('checksum does not match');
  return body;
}

export function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
