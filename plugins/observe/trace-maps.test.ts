import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BEGUN_MAPS, COPIED_MAPS, EMPTY_MAPS, FETCHED_MAPS, SHARED_MAPS, SMALL_MAPS } from './trace-maps.js';

const bpf = new URL('../../bpf/', import.meta.url);

function mapsOfTheSources(): string[] {
  const files = readdirSync(bpf, { recursive: true }).map(String);
  const texts = files.filter((name) => /\.[ch]$/.test(name)).map((name) => readFileSync(new URL(name, bpf), 'utf8'));
  return texts.flatMap((text) => [...text.matchAll(/^\} (\w+) SEC\("\.maps"\);/gm)].map(([, name = '']) => name));
}

it('says of every map of the packet path how a trace treats it, once', () => {
  const all = [...SHARED_MAPS, ...FETCHED_MAPS, ...COPIED_MAPS, ...BEGUN_MAPS, ...EMPTY_MAPS];
  expect(all.toSorted()).toEqual(mapsOfTheSources().sort());
  expect(Object.keys(SMALL_MAPS).every((name) => EMPTY_MAPS.includes(name))).toBe(true);
});

it('shares no map that a program updates or deletes from', () => {
  const files = readdirSync(bpf, { recursive: true }).map(String);
  const text = files.filter((name) => /\.[ch]$/.test(name)).map((name) => readFileSync(new URL(name, bpf), 'utf8'));
  const written = [...text.join('\n').matchAll(/bpf_map_(?:update|delete)_elem\(&(\w+)/g)].map(([, name = '']) => name);
  expect(written.length).toBeGreaterThan(5);
  expect(SHARED_MAPS.filter((name) => written.includes(name))).toEqual([]);
});
