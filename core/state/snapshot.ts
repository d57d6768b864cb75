import { readFileSync } from 'node:fs';
import writeFileAtomic from 'write-file-atomic';
import { checksum, RecordError } from './record.js';

/** Desired state by resource, then key. */
export type Sections = Map<string, Map<string, unknown>>;

const FORMAT = 1;

interface Header {
  readonly format: number;
  readonly sequence: number;
  readonly entries: number;
  readonly checksum: string;
}

/** A header line, then one line per entry: `["loadbalancer","key",{...}]`. */
export function encodeSnapshot(sequence: number, sections: Sections): string {
  const lines: string[] = [];
  for (const [resource, entries] of sections) {
    for (const [key, desired] of entries) lines.push(JSON.stringify([resource, key, desired]));
  }
  const body = lines.map((line) => `${line}\n`).join('');
  const header: Header = { format: FORMAT, sequence, entries: lines.length, checksum: checksum(body) };
  return `${JSON.stringify(header)}\n${body}`;
}

/** @throws RecordError when the text is not a complete snapshot of a format this version reads */
export function decodeSnapshot(text: string): { sequence: number; sections: Sections } {
  const end = text.indexOf('\n');
  const header = parseHeader(text.slice(0, Math.max(end, 0)));
  const body = text.slice(end + 1);
  if (header.format !== FORMAT) throw new RecordError(`format ${header.format} is not ${FORMAT}`);
  if (checksum(body) !== header.checksum) throw new RecordError('checksum does not match');
  const sections: Sections = new Map();
  for (const line of body.split('\n')) {
    if (line === '') continue;
    const [resource, key, desired] = JSON.parse(line) as [string, string, unknown];
    sectionOf(sections, resource).set(key, desired);
  }
  return { sequence: header.sequence, sections };
}

function parseHeader(line: string): Header {
  try {
    return JSON.parse(line) as Header;
  } catch (cause) {
    throw new RecordError('header is not readable', { cause });
  }
}

export function sectionOf(sections: Sections, resource: string): Map<string, unknown> {
  let section = sections.get(resource);
  if (!section) {
    section = new Map();
    sections.set(resource, section);
  }
  return section;
}

export function readSnapshot(path: string): { sequence: number; sections: Sections } {
  return decodeSnapshot(readFileSync(path, 'utf8'));
}

/** Flushed to disk and renamed into place: a crash leaves the whole new file or none. */
export async function writeSnapshot(path: string, sequence: number, sections: Sections): Promise<void> {
  await writeFileAtomic(path, encodeSnapshot(sequence, sections), { mode: 0o600 });
}
