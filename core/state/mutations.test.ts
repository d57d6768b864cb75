import type { DeleteForm } from '@loxilb/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import type { AnyResource } from '../router/catalog.js';
import { recordingLog } from '../testing/silent-log.js';
import { Mutations } from './mutations.js';
import { type DesiredState, EphemeralStore } from './store.js';

interface Entry {
  readonly name: string;
  readonly value: number;
}

let programmed: Map<string, number>;
let refused: string | undefined;
let inner: EphemeralStore;
let journalFull: boolean;
let log: ReturnType<typeof recordingLog>;
let mutations: Mutations;

const all: DeleteForm<Entry> = { path: '/all', summary: 'all', select: (_args, stored) => [...stored.keys()] };

const resource = {
  name: 'entry',
  key: (entry: Entry) => entry.name,
  apply: (entry: Entry) => {
    if (entry.name === refused) throw new Error('refused');
    programmed.set(entry.name, entry.value);
  },
  remove: (entry: Entry) => {
    if (entry.name === refused) throw new Error('refused');
    programmed.delete(entry.name);
  },
} as unknown as AnyResource;

const store: DesiredState = {
  section: (name) => inner.section(name),
  prepare: (changes) => {
    const commit = inner.prepare(changes);
    return () => {
      if (journalFull) throw new Error('disk full');
      commit();
    };
  },
  close: () => Promise.resolve(),
};

const post = (name: string, value: number) => mutations.post(resource, { name, value });
const stored = () => Object.fromEntries(inner.section('entry'));
const removeAll = () => mutations.remove(resource, all as DeleteForm<unknown>, { params: {}, query: {} });

beforeEach(() => {
  programmed = new Map();
  refused = undefined;
  journalFull = false;
  inner = new EphemeralStore();
  log = recordingLog();
  mutations = new Mutations(store, log);
});

describe('Mutations', () => {
  it('programs, then stores', () => {
    expect(post('a', 1)).toEqual(['a']);
    expect([...programmed]).toEqual([['a', 1]]);
    expect(stored()).toEqual({ a: { name: 'a', value: 1 } });
  });

  it('stores nothing that could not be programmed', () => {
    refused = 'a';
    expect(() => post('a', 1)).toThrow('refused');
    expect(stored()).toEqual({});
  });

  it('takes back what could not be stored', () => {
    post('a', 1);
    journalFull = true;
    expect(() => post('a', 2)).toThrow('disk full');
    expect(() => post('b', 3)).toThrow('disk full');
    expect(() => removeAll()).toThrow('disk full');
    expect([...programmed]).toEqual([['a', 1]]);
    expect(stored()).toEqual({ a: { name: 'a', value: 1 } });
  });

  it('deletes all or nothing', () => {
    for (const name of ['a', 'b', 'c']) post(name, 1);
    refused = 'c';
    expect(() => removeAll()).toThrow('refused');
    expect([...programmed.keys()].sort()).toEqual(['a', 'b', 'c']);
    refused = undefined;
    expect(removeAll()).toEqual(['a', 'b', 'c']);
    expect([programmed.size, stored()]).toEqual([0, {}]);
  });

  it('lets a request remove its entry, and does nothing for one that never was', () => {
    const removing = { ...resource, merge: () => ({ key: 'a', desired: undefined }) } as unknown as AnyResource;
    expect(mutations.post(removing, {})).toEqual([]);
    post('a', 1);
    expect(mutations.post(removing, {})).toEqual(['a']);
    expect(programmed.size).toBe(0);
  });

  it('hands the request along, and nothing when it takes a change back', () => {
    const asked: unknown[] = [];
    const asking = {
      ...resource,
      apply: (_desired: Entry, _previous: Entry | undefined, request: unknown) => void asked.push(request),
      remove: (_previous: Entry, request: unknown) => void asked.push(request),
    } as unknown as AnyResource;
    mutations.post(asking, { name: 'a', value: 1 });
    journalFull = true;
    expect(() => mutations.post(asking, { name: 'a', value: 2 })).toThrow('disk full');
    journalFull = false;
    mutations.remove(asking, all as DeleteForm<unknown>, { params: {}, query: { drain: '5' } });
    expect(asked).toEqual([
      { request: { name: 'a', value: 1 } },
      { request: { name: 'a', value: 2 } },
      undefined,
      { args: { params: {}, query: { drain: '5' } } },
    ]);
  });

  it('says loudly when taking back fails', () => {
    post('a', 1);
    journalFull = true;
    const broken = {
      ...resource,
      remove: () => {
        throw new Error('stuck');
      },
    } as unknown as AnyResource;
    expect(() => mutations.post(broken, { name: 'new', value: 1 })).toThrow('disk full');
    expect(log.lines.map(({ text }) => text)).toEqual(['TAKING BACK FAILED: restart to reconcile']);
  });
});
