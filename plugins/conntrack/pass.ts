import type { DataPlane, MapSlice } from '@loxilb/sdk';
import type { CtPass } from './layout.gen.js';
import { TABLE } from './maps.js';

/** Entries of one table: how many the walk met and how many of them it ended. */
export interface TableResult {
  readonly seen: number;
  readonly expired: number;
}

export interface PassResult {
  readonly confirmed: TableResult;
  readonly fresh: TableResult;
  readonly durationMs: number;
}

/** Entries that are left after a pass. */
export function entriesLeft(result: PassResult): number {
  return left(result.confirmed) + left(result.fresh);
}

export function left(table: TableResult): number {
  return table.seen - table.expired;
}

/** Slots of `lb_ep_flows`, and how many the program recounts in one go: longer ones would hold the event loop. */
const ENDPOINT_SLOTS = 65_536;
const RECOUNT_STEP = 4096;

/**
 * One expiry pass: the kernel walks both tables and ends what is over. Then pending flows per endpoint are recounted,
 * because the half-open table evicts without telling.
 */
export async function runPass(dataplane: DataPlane, pass: MapSlice<number, CtPass>): Promise<PassResult> {
  const start = performance.now();
  for (const table of Object.values(TABLE)) pass.set(table, { seen: 0, expired: 0 });
  await dataplane.walk('ct_walk', 'ct_flow').run();
  await dataplane.walk('ct_walk_new', 'ct_new').run();
  recountPending(dataplane);
  return {
    confirmed: readTable(pass, TABLE.confirmed),
    fresh: readTable(pass, TABLE.fresh),
    durationMs: performance.now() - start,
  };
}

function readTable(pass: MapSlice<number, CtPass>, table: number): TableResult {
  return pass.get(table) ?? { seen: 0, expired: 0 };
}

function recountPending(dataplane: DataPlane): void {
  const program = dataplane.program('lb_recount');
  for (let from = 0; from < ENDPOINT_SLOTS; from += RECOUNT_STEP) {
    if (!program.run(recountContext(from, from + RECOUNT_STEP))) return;
  }
}

/** C: struct { u32 from, to; }, endpoint ids from `from` up to but without `to`. */
function recountContext(from: number, to: number): Uint8Array {
  const context = new Uint8Array(8);
  const view = new DataView(context.buffer);
  view.setUint32(0, from, true);
  view.setUint32(4, to, true);
  return context;
}
