import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { loxicmdProgram, type Namespace } from '../integration/harness/index.js';

export interface Example {
  /** `sh` is run; others are configurations of a program. */
  readonly language: string;
  /** Whose: what follows the language in the fence. */
  readonly where: string;
  /** Further words of the fence. */
  readonly more: readonly string[];
  readonly text: string;
  /** What it has to print: the fence `output` behind it. */
  readonly output: string | undefined;
  readonly line: number;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

export const pageText = (page: string): string => readFileSync(join(root, page), 'utf8');

/** Fenced blocks with a language and a place, like `sh lb`, in the order of the page. */
export function examplesOf(page: string): Example[] {
  const text = pageText(page);
  const fence = /^```(\w+) (\w+)([\w ]*)\n(.*?)^```\n(?:\n```output\n(.*?)^```$)?/gms;
  return [...text.matchAll(fence)].map((match) => {
    const [, language = '', where = '', more = '', script = '', output] = match;
    const line = text.slice(0, match.index).split('\n').length + 1;
    return { language, where, more: more.split(' ').filter(Boolean), text: script, output, line };
  });
}

/** Runs it as a reader would; it has to succeed, and to print what the page says. */
export async function runExample(netns: Namespace, { text, output }: Example): Promise<void> {
  const env = { PATH: `${dirname(loxicmdProgram)}:${process.env.PATH}` };
  const { code, stdout, stderr } = await netns.run('bash', ['-euo', 'pipefail', '-c', text], { env });
  expect(code, stdout + stderr).toBe(0);
  if (output !== undefined) expect(stdout).toBe(output);
}

/** Links of the page to files and to headings of its own; each has to exist. */
export function checkLinks(page: string): void {
  const text = pageText(page);
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => anchorOf(title));
  for (const [, file = '', anchor] of text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)) {
    const path = join(root, dirname(page), file);
    if (file) expect(() => readFileSync(path), file).not.toThrow();
    else expect(anchors).toContain(anchor);
  }
}

/** As GitHub makes them. */
function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-');
}
