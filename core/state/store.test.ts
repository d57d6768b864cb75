import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordingLog } from '../testing/silent-log.js';
import { type DesiredState, EphemeralStore, FileStore } from './store.js';

let dir: string;
const opened: FileStore[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'loxilb-store-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
  rmSync(dir, { recursive: true, force: true });
});

function open(log = recordingLog(), compactBytes?: number): FileStore {
  const store = new FileStore({ dir, log, ...(compactBytes !== undefined && { compactBytes }) });
  opened.push(store);
  return store;
}

function put(store: DesiredState, key: string, desired: unknown): void {
  store.prepare([{ resource: 'rule', key, desired }])();
}

/** What is on disk now, as a daemon sees it that starts after `kill -9`: the lock is the only difference. */
function crash(store: FileStore): void {
  opened.splice(opened.indexOf(store), 1);
  store.abandon();
}

const entries = (store: DesiredState) => Object.fromEntries(store.section('rule'));
const files = (kind: string) => readdirSync(dir).filter((name) => name.startsWith(kind));

describe('FileStore', () => {
  it('keeps what was committed without a clean stop', () => {
    const store = open();
    put(store, 'a', { port: 1 });
    put(store, 'b', { port: 2 });
    put(store, 'a', { port: 3 });
    put(store, 'b', undefined);
    crash(store);
    expect(entries(open())).toEqual({ a: { port: 3 } });
  });

  it('folds the journal into a snapshot at a clean stop', async () => {
    const store = open();
    put(store, 'a', 1);
    await store.close();
    opened.length = 0;
    expect(files('snapshot')).toHaveLength(1);
    expect(entries(open())).toEqual({ a: 1 });
  });

  it('changes nothing until the prepared commit runs', () => {
    const store = open();
    store.prepare([{ resource: 'rule', key: 'a', desired: 1 }]);
    expect(entries(store)).toEqual({});
  });

  it('drops a torn last record and goes on after it', () => {
    const store = open();
    put(store, 'a', 1);
    put(store, 'b', 2);
    crash(store);
    const journal = join(dir, files('journal')[0] as string);
    truncateSync(journal, statSync(journal).size - 3);
    const log = recordingLog();
    const again = open(log);
    expect(entries(again)).toEqual({ a: 1 });
    expect(log.lines.map(({ text }) => text)).toContain('journal ends in a torn record, which was never confirmed');
    put(again, 'c', 3);
    crash(again);
    expect(entries(open())).toEqual({ a: 1, c: 3 });
  });

  it('survives being cut at any byte of the last record', () => {
    const store = open();
    put(store, 'a', 1);
    const journal = join(dir, files('journal')[0] as string);
    const before = statSync(journal).size;
    put(store, 'b', 'zwei');
    crash(store);
    const whole = readFileSync(journal);
    for (let size = before; size < whole.length; size++) {
      writeFileSync(journal, whole.subarray(0, size));
      const again = open();
      expect(entries(again)).toEqual({ a: 1 });
      crash(again);
    }
  });

  it('skips a damaged record in the middle and says so', () => {
    const store = open();
    for (const key of ['a', 'b', 'c']) put(store, key, key);
    crash(store);
    const journal = join(dir, files('journal')[0] as string);
    writeFileSync(journal, readFileSync(journal, 'utf8').replace('"b","b"', '"b","x"'));
    const log = recordingLog();
    expect(entries(open(log))).toEqual({ a: 'a', c: 'c' });
    expect(log.lines.some(({ level, text }) => level === 'error' && text.startsWith('JOURNAL DAMAGED'))).toBe(true);
  });

  it('falls back to the snapshot before a damaged one, with the journals since', async () => {
    const store = open();
    put(store, 'a', 1);
    await store.compact();
    put(store, 'b', 2);
    await store.compact();
    put(store, 'c', 3);
    crash(store);
    const newest = join(dir, files('snapshot').at(-1) as string);
    writeFileSync(newest, readFileSync(newest, 'utf8').replace('"b",2', '"b",9'));
    const log = recordingLog();
    expect(entries(open(log))).toEqual({ a: 1, b: 2, c: 3 });
    expect(log.lines.some(({ text }) => text.startsWith('SNAPSHOT DAMAGED'))).toBe(true);
  });

  it('refuses to start with nothing when every snapshot is damaged', async () => {
    const store = open();
    for (let round = 0; round < 5; round++) {
      put(store, `k${round}`, round);
      await store.compact();
    }
    crash(store);
    for (const name of files('snapshot')) writeFileSync(join(dir, name), 'rubbish');
    expect(() => new FileStore({ dir, log: recordingLog() })).toThrow(/no snapshot in .* is readable/);
  });

  it('keeps three generations', async () => {
    const store = open();
    for (let round = 0; round < 6; round++) {
      put(store, 'a', round);
      await store.compact();
    }
    expect(files('snapshot')).toHaveLength(3);
    expect(files('journal')).toHaveLength(3);
  });

  it('compacts by itself when the journal grows, while mutations go on', async () => {
    const store = open(recordingLog(), 2_000);
    for (let index = 0; index < 500; index++) put(store, `k${index % 50}`, index);
    await store.compact();
    expect(files('snapshot').length).toBeGreaterThan(0);
    crash(store);
    expect(Object.keys(entries(open()))).toHaveLength(50);
    expect(entries(opened[0] as FileStore).k49).toBe(499);
  });

  it('does not lose a section nobody uses now', async () => {
    const store = open();
    store.prepare([{ resource: 'disabled', key: 'x', desired: 1 }])();
    await store.close();
    opened.length = 0;
    const again = open();
    put(again, 'a', 1);
    await again.close();
    opened.length = 0;
    expect(open().section('disabled').get('x')).toBe(1);
  });

  it('is for one daemon at a time', () => {
    open();
    expect(() => new FileStore({ dir, log: recordingLog() })).toThrow(/in use by process/);
  });

  it('lets nobody else read it', () => {
    const store = open();
    put(store, 'a', 1);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077).toBe(0);
  });

  it('refuses what cannot be written down', () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(() => put(open(), 'a', loop)).toThrow(/cannot be stored/);
  });

  it('appends fast enough for thousands of mutations a second', () => {
    const store = open();
    const rule = { serviceArguments: { externalIP: '20.20.20.1', port: 80 }, endpoints: Array(4).fill({ weight: 1 }) };
    // The least of some: others use this machine, too.
    const times = Array.from({ length: 3 }, (_, round) => {
      const start = performance.now();
      for (let index = 0; index < 2_000; index++) put(store, `rule-${round}-${index}`, rule);
      return performance.now() - start;
    });
    expect(Math.min(...times), `milliseconds: ${times}`).toBeLessThan(1_000);
  });
});

describe('EphemeralStore', () => {
  it('remembers within the process and writes nothing', () => {
    const store = new EphemeralStore();
    put(store, 'a', 1);
    expect(entries(store)).toEqual({ a: 1 });
    expect(readdirSync(dir)).toEqual([]);
  });
});
