/**
 * Runs in the packet namespace: sets many flows up by packets, and prints what they take. With an object of its own it
 * also walks the table as an expiry pass does. Argument: a JSON object of type FillInput.
 */
import { readSync } from 'node:fs';
import { LoadedObject, mapMemory, openPinned, openWalk } from '../packet/bpf.js';
import { conversation, establish } from '../packet/cases.js';
import { writeServices } from '../packet/service.js';
import { Wrapper } from '../packet/wrapper.js';
import { readDevice } from '../packet/world.js';

export interface FillInput {
  readonly wrapper: string;
  readonly object?: string;
  /** Folder of a daemon's pins. */
  readonly bpfDir?: string;
  readonly flows: number;
}

export interface FillResult {
  readonly flows: number;
  readonly seconds: number;
  /** Kernel memory of the flow table per entry, one entry for each direction. */
  readonly bytesPerDirection: number;
  readonly walk?: WalkResult;
}

export interface WalkResult {
  /** Best of several walks, per million entries. */
  readonly msPerMillion: number;
  readonly longestSliceMs: number;
}

/** Elements per read(2). */
const SLICE = 4096;
const WALKS = 5;
const PORTION = 1 << 16;

function walkTable(program: number, map: number): WalkResult {
  const buffer = Buffer.alloc(SLICE);
  let best = Number.POSITIVE_INFINITY;
  let longest = 0;
  for (let walk = 0; walk < WALKS; walk++) {
    const fd = openWalk(program, map);
    let entries = 0;
    let total = 0;
    for (let got = -1; got !== 0; entries += got) {
      const begin = performance.now();
      got = readSync(fd, buffer);
      const took = performance.now() - begin;
      total += took;
      longest = Math.max(longest, took);
    }
    best = Math.min(best, (total / entries) * 1e6);
  }
  return { msPerMillion: best, longestSliceMs: longest };
}

function openTable(input: FillInput): { target: number; table: number; walk?: () => WalkResult } {
  if (input.bpfDir) {
    return { target: openPinned(`${input.bpfDir}/programs/tc_ingress`), table: openPinned(`${input.bpfDir}/ct_v4_map`) };
  }
  if (!input.object) throw new Error('neither an object nor pins');
  const object = new LoadedObject(input.object);
  writeServices(object);
  const table = object.map('ct_flow');
  return { target: object.program('tc_ingress'), table, walk: () => walkTable(object.program('ct_walk'), table) };
}

const input = JSON.parse(process.argv[2] ?? '{}') as FillInput;
const devices = { client: await readDevice('c0'), server: await readDevice('s1') };
const { target, table, walk } = openTable(input);
const wrapper = new Wrapper(new LoadedObject(input.wrapper), target);
const tcp = conversation(devices, 4, 'tcp');
const before = mapMemory(table);
const begin = performance.now();
// In portions, because the table of half-open flows is small.
for (let first = 0; first < input.flows; first += PORTION) {
  establish(wrapper, tcp, first, Math.min(PORTION, input.flows - first));
}
const seconds = (performance.now() - begin) / 1e3;
const bytesPerDirection = (mapMemory(table) - before) / (input.flows * 2);
process.stdout.write(
  JSON.stringify({ flows: input.flows, seconds, bytesPerDirection, ...(walk ? { walk: walk() } : {}) } satisfies FillResult),
);
