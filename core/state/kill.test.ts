import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { expectedAfter } from '../testing/mutate-until-killed.js';
import { recordingLog } from '../testing/silent-log.js';
import { FileStore } from './store.js';

const ROUNDS = 5;
const dir = mkdtempSync(join(tmpdir(), 'loxilb-kill-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs the TypeScript source in a process of its own, which can be killed without killing the test. */
const jiti = pathToFileURL(createRequire(import.meta.url).resolve('jiti')).href;
const program = fileURLToPath(new URL('../testing/mutate-until-killed.ts', import.meta.url));
const sdk = fileURLToPath(new URL('../../sdk/src/index.ts', import.meta.url));
const script = `const { default: jiti } = await import('${jiti}');
const load = jiti.createJiti ?? jiti;
const run = await load('file://${program}', { alias: { '@loxilb/sdk': '${sdk}' }, fsCache: false }).import('${program}', { default: true });
await run(process.argv[1], Number(process.argv[2]));`;

/** Lets it run for a while, then kills it; the last number it confirmed. */
async function runAndKill(first: number, confirmations: number): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dir, String(first)]);
  let output = '';
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
  });
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
    if (output.split('\n').length > confirmations) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  const confirmed = output.split('\n').slice(0, -1).map(Number);
  expect(confirmed.length, errors).toBeGreaterThan(0);
  return confirmed.at(-1) as number;
}

it('has everything that was confirmed, whenever it is killed', async () => {
  let next = 1;
  for (let round = 0; round < ROUNDS; round++) {
    const confirmed = await runAndKill(next, 20 + Math.floor(Math.random() * 300));
    const log = recordingLog();
    const store = new FileStore({ dir, log });
    const stored = Object.fromEntries(store.section('rule')) as Record<string, number>;
    store.abandon();
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    // The very last mutations may have been stored without the confirmation having left the process.
    const last = Math.max(confirmed, ...Object.values(stored));
    const candidates = [last, last + 1, last + 2].map(expectedAfter);
    const match = candidates.findIndex((candidate) => isSame(candidate, stored));
    expect(match, `stored after ${confirmed}: ${JSON.stringify(stored)}`).toBeGreaterThanOrEqual(0);
    next = last + match + 1;
  }
}, 60_000);

function isSame(a: Record<string, number>, b: Record<string, number>): boolean {
  const sorted = (entries: Record<string, number>) => JSON.stringify(Object.entries(entries).sort());
  return sorted(a) === sorted(b);
}
