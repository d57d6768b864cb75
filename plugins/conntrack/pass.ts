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

const TICKS_PER_SECOND = Math.floor(1e9 / 2 ** 20);
const BUSY_ENTRIES = 32_768;

/**
 * How long closed TCP flows stay, so that a FIN that was lost finds its flow: 10 s, and 1 s when the tables are busy.
 * At thousands of connections a second they would otherwise be most of the table, and walking them most of the work.
 */
export function closingTicks(entries: number): number {
  return (entries > BUSY_ENTRIES ? 1 : 10) * TICKS_PER_SECOND;
}

/** Entries that are left after a pass. */
export function entriesLeft(result: PassResult): number {
  return left(result.confirmed) + left(result.fresh);
}

export function left(table: TableResult): number {
  return table.seen - table.expired;
}

/** Endpoint ids recounted in one go: more would hold the event loop. LB_RECOUNT_MAX of the program. */
const RECOUNT_STEP = 4096;

export interface PassTask {
  /** How long closed TCP flows stay, in ticks of 2^20 ns. */
  readonly closingTicks: number;
  /** Ends the flows of endpoints marked LB_EP_CUT too: one more lookup for each entry. */
  readonly cut: boolean;
}

/**
 * One expiry pass: the kernel walks both tables and ends what is over. Then pending flows per endpoint are recounted,
 * because the half-open table evicts without telling.
 */
export async function runPass(
  dataplane: DataPlane,
  pass: MapSlice<number, CtPass>,
  { closingTicks, cut }: PassTask,
): Promise<PassResult> {
  const start = performance.now();
  const now = ticksNow();
  const order = { seen: 0, expired: 0, now, closingTicks, cut: cut ? 1 : 0 };
  for (const table of Object.values(TABLE)) pass.set(table, order);
  dataplane.program('ct_pass_begin').run(new Uint8Array(8));
  await dataplane.walk('ct_walk', 'ct_flow').run();
  await dataplane.walk('ct_walk_new', 'ct_new').run();
  recountPending(dataplane);
  return {
    confirmed: readTable(pass, TABLE.confirmed),
    fresh: readTable(pass, TABLE.fresh),
    durationMs: performance.now() - start,
  };
}

/** The packet path's clock: CLOCK_MONOTONIC in units of 2^20 ns, 32 bits. Never 0, which would mean "not told". */
function ticksNow(): number {
  return Number((process.hrtime.bigint() >> 20n) & 0xffffffffn) || 1;
}

function readTable(pass: MapSlice<number, CtPass>, table: number): TableResult {
  return pass.get(table) ?? { seen: 0, expired: 0 };
}

/** The program says in `from` where it stopped: short of the step at the end of the table. */
function recountPending(dataplane: DataPlane): void {
  const program = dataplane.program('lb_recount');
  for (let from = 0; ; from += RECOUNT_STEP) {
    const result = program.run(recountContext(from, from + RECOUNT_STEP));
    if (!result || new DataView(result.buffer, result.byteOffset).getUint32(0, true) < from + RECOUNT_STEP) return;
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
