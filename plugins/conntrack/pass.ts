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
  /** From the beginning of the pass to the end of the first flow it left, if no packet comes; Infinity: it left none. */
  readonly restMs: number;
  readonly durationMs: number;
}

const TICKS_PER_SECOND = Math.floor(1e9 / 2 ** 20);
const MS_PER_TICK = 2 ** 20 / 1e6;
/** The greatest 32-bit number: no flow is left. */
const NO_NEXT = 0xffff_ffff;
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
  task: PassTask,
): Promise<PassResult> {
  const start = performance.now();
  const now = ticksNow();
  const { closingTicks: lingering } = task;
  const order = { seen: 0, expired: 0, now, closingTicks: lingering, cut: task.cut ? 1 : 0, next: NO_NEXT };
  for (const table of Object.values(TABLE)) pass.set(table, order);
  dataplane.program('ct_pass_begin').run(new Uint8Array(8));
  await dataplane.walk('ct_walk', 'ct_flow').run();
  await dataplane.walk('ct_walk_new', 'ct_new').run();
  recountPending(dataplane);
  const confirmed = pass.get(TABLE.confirmed) ?? order;
  const fresh = pass.get(TABLE.fresh) ?? order;
  const durationMs = performance.now() - start;
  // More flows than before: closed ones are to linger for less than this pass has reckoned with.
  const isTooLong = lingering > closingTicks(left(confirmed) + left(fresh));
  return { confirmed, fresh, restMs: isTooLong ? 0 : restOf([confirmed.next, fresh.next]), durationMs };
}

/** The flow is over when its time has run out: a tick later. */
function restOf(next: readonly number[]): number {
  const ticks = Math.min(...next);
  return ticks === NO_NEXT ? Infinity : (ticks + 1) * MS_PER_TICK;
}

/** The packet path's clock: CLOCK_MONOTONIC in units of 2^20 ns, 32 bits. Never 0, which would mean "not told". */
function ticksNow(): number {
  return Number((process.hrtime.bigint() >> 20n) & 0xffffffffn) || 1;
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
