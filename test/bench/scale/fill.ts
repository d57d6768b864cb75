/**
 * Runs in the packet namespace: sets many flows up by packets, and prints what they take. With an object of its own it
 * also walks the table as an expiry pass does. Argument: a JSON object of type FillInput.
 */
import { closeSync, readSync } from 'node:fs';
import { encodeBytes } from '@loxilb/sdk';
import { type CtPass, ctPass } from '../../../plugins/conntrack/layout.gen.js';
import { LoadedObject, mapMemory, openPinned, openWalk, updateMap, word } from '../packet/bpf.js';
import { conversation, establish } from '../packet/cases.js';
import { plainRoute } from '../packet/routes.js';
import { writeServices } from '../packet/service.js';
import { readDevice } from '../packet/world.js';
import { Wrapper } from '../packet/wrapper.js';

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
  /** Kernel memory of the nearly full flow table, buckets included, per entry; each direction has one. */
  readonly bytesPerDirection: number;
  readonly walk?: WalkResult;
}

export interface WalkResult {
  /** CPU time per million entries, best of several walks. */
  readonly msPerMillion: number;
  /** The longest time one read(2) held the CPU, in the walk where that was shortest. */
  readonly longestSliceMs: number;
}

/** Bytes per read(2), as the daemon reads. */
const SLICE = 4096;
/** WALK_ELEMENTS_PER_BYTE of the program. */
const ELEMENTS_PER_BYTE = 4;
const WALKS = 5;

function walkTable(object: LoadedObject, map: number): WalkResult {
  const buffer = Buffer.alloc(SLICE);
  const program = object.program('ct_walk');
  const walks = Array.from({ length: WALKS }, () => {
    updateMap(object.map('ct_pass'), word(0), encodeBytes(ctPass, passOfNow()));
    return walkOnce(openWalk(program, map), buffer);
  });
  return {
    msPerMillion: Math.min(...walks.map(({ entries, slices }) => (sum(slices) / entries) * 1e6)),
    longestSliceMs: Math.min(...walks.map(({ slices }) => Math.max(...slices))),
  };
}

/** As the daemon orders it: no element asks the clock. */
function passOfNow(): CtPass {
  const now = Number((process.hrtime.bigint() >> 20n) & 0xffff_ffffn);
  return { seen: 0, expired: 0, now, closingTicks: 0, cut: 0, next: 0xffff_ffff };
}

/** CPU milliseconds of each read(2); wall time would tell what else ran on the CPU. */
function walkOnce(fd: number, buffer: Buffer): { entries: number; slices: number[] } {
  const slices: number[] = [];
  let entries = 0;
  for (let got = -1; got !== 0; entries += got * ELEMENTS_PER_BYTE) {
    const before = process.cpuUsage();
    got = readSync(fd, buffer);
    const used = process.cpuUsage(before);
    slices.push((used.user + used.system) / 1e3);
  }
  closeSync(fd);
  return { entries, slices };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function openTable(input: FillInput): { target: number; table: number; walk?: () => WalkResult } {
  if (input.bpfDir) {
    return {
      target: openPinned(`${input.bpfDir}/programs/tc_ingress`),
      table: openPinned(`${input.bpfDir}/ct_v4_map`),
    };
  }
  if (!input.object) throw new Error('neither an object nor pins');
  const object = new LoadedObject(input.object);
  writeServices(object);
  const table = object.map('ct_flow');
  return { target: object.program('tc_ingress'), table, walk: () => walkTable(object, table) };
}

/** Beyond the flows of earlier steps, which may be half-open still and are evicted one direction at a time. */
const FIRST_FLOW = 1 << 22;

const input = JSON.parse(process.argv[2] ?? '{}') as FillInput;
const devices = { client: await readDevice('c0'), server: await readDevice('s1') };
const { target, table, walk } = openTable(input);
const wrapper = new Wrapper(new LoadedObject(input.wrapper), target);
const tcp = conversation(devices, plainRoute(4), 'tcp');
const begin = performance.now();
establish(wrapper, tcp, FIRST_FLOW, input.flows);
const seconds = (performance.now() - begin) / 1e3;
const bytesPerDirection = mapMemory(table) / (input.flows * 2);
process.stdout.write(
  JSON.stringify({
    flows: input.flows,
    seconds,
    bytesPerDirection,
    ...(walk ? { walk: walk() } : {}),
  } satisfies FillResult),
);
