import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { WorkerPools } from './worker-pools.js';

const dir = mkdtempSync(join(tmpdir(), 'loxilb-workers-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('runs tasks in a thread and ends with its owner', async () => {
  const file = join(dir, 'double.mjs');
  writeFileSync(file, 'export default (bytes) => bytes.map((byte) => byte * 2);');
  const pools = new WorkerPools();
  const pool = pools.create('test', { file: pathToFileURL(file) });
  const bytes = new Uint8Array([1, 2, 3]);
  expect(await pool.run<Uint8Array, Uint8Array>(bytes, { transfer: [bytes.buffer] })).toEqual(
    new Uint8Array([2, 4, 6]),
  );
  expect(bytes.length).toBe(0);
  await pools.release('test');
});
