import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { checkLinks, pageText } from './examples.js';

const PAGE = 'docs/behaviour.md';
const root = fileURLToPath(new URL('../..', import.meta.url));

interface Proof {
  readonly file: string;
  readonly title: string;
}

function proofs(): Proof[] {
  const cells = [...pageText(PAGE).matchAll(/`([^`]+\.test\.ts)`: (.+?)(?=<br>| \|$)/gm)];
  return cells.map(([, file = '', title = '']) => ({ file, title }));
}

describe(PAGE, () => {
  it.each(proofs())('$file has: $title', ({ file, title }) => {
    expect(readFileSync(`${root}${file}`, 'utf8')).toContain(title);
  });

  it('has a proof in every line', () => {
    const lines = pageText(PAGE).split('\n');
    const rows = lines.filter((line) => line.startsWith('| ') && !line.startsWith('| behaviour'));
    expect(rows.filter((row) => !/`[^`]+\.test\.ts`: /.test(row))).toEqual([]);
    expect(rows.length).toBeGreaterThan(30);
  });

  it('is linked to, and links to what exists', () => {
    checkLinks('docs/architecture.md');
  });
});
