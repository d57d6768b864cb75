import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, loxicmdProgram, startLab } from '../integration/harness/index.js';

interface Example {
  /** Namespace it runs in: what follows `sh` in the fence. */
  readonly where: 'lb' | 'client';
  readonly script: string;
  readonly line: number;
}

const text = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');

/** Fenced blocks marked `sh lb` or `sh client`, in the order of the page. */
function examples(): Example[] {
  return [...text.matchAll(/^```sh (lb|client)\n(.*?)^```$/gms)].map((match) => ({
    where: match[1] === 'client' ? 'client' : 'lb',
    script: match[2] ?? '',
    line: text.slice(0, match.index).split('\n').length + 1,
  }));
}

/** The page's commands do what the page says, in its order, on one daemon. */
describe('README.md', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());

  it('has examples', () => {
    expect(examples().length).toBeGreaterThanOrEqual(4);
  });

  it.each(examples())('line $line works ($where)', async ({ where, script }) => {
    const netns = where === 'lb' ? lab.network.lb : lab.network.client.netns;
    const path = `${dirname(loxicmdProgram)}:${process.env.PATH}`;
    const { code, stdout, stderr } = await netns.run('bash', ['-euo', 'pipefail', '-c', script], {
      env: { PATH: path },
    });
    expect(code, stdout + stderr).toBe(0);
  });

  it('names only files that exist', () => {
    const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? '');
    for (const link of links) expect(() => readFileSync(join(root, link)), link).not.toThrow();
  });
});
