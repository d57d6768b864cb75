import type { CpuMeter } from './cpu.js';
import type { RowId } from './rows.js';
import type { Runner, Slice, SliceResult } from './slices.js';
import { shuffled } from './statistics.js';

/** Figures of one round by contender. */
export type Round = Map<string, Partial<Record<RowId, number>>>;

export interface RoundsOptions {
  /** No further round begins when so many have run ... */
  readonly maxRounds: number;
  /** ... or when the next one would likely end after this moment (ms of `performance.now`). */
  readonly deadline: number;
  /** A slice with more foreign CPUs in use than this is measured again, up to `retries` times. */
  readonly foreignLimit: number;
  readonly retries: number;
  progress(text: string): void;
}

export interface RoundsResult {
  readonly rounds: readonly Round[];
  /** Foreign CPUs in use, one figure per slice. */
  readonly foreign: readonly number[];
  readonly errors: ReadonlyMap<string, number>;
}

/** Measures all contenders in turn, slice by slice, each round and slice in another random order. */
export async function playRounds(
  runners: readonly Runner[],
  slices: readonly Slice[],
  meter: CpuMeter,
  options: RoundsOptions,
): Promise<RoundsResult> {
  const rounds: Round[] = [];
  const foreign: number[] = [];
  const errors = new Map<string, number>();
  let longest = 0;
  while (rounds.length < options.maxRounds && performance.now() + longest < options.deadline) {
    const begin = performance.now();
    const round: Round = new Map(runners.map((runner) => [runner.name, {}]));
    for (const slice of shuffled(slices)) {
      for (const runner of shuffled(runners.filter((candidate) => slice.applies(candidate)))) {
        options.progress(`round ${rounds.length + 1}: ${slice.name} ${runner.name}`);
        const result = await quietSlice(slice, runner, meter, options);
        Object.assign(round.get(runner.name) as object, result.values);
        foreign.push(result.cpu.foreignSeconds / result.seconds);
        if (result.errors) errors.set(runner.name, (errors.get(runner.name) ?? 0) + result.errors);
      }
    }
    rounds.push(round);
    longest = Math.max(longest, performance.now() - begin);
  }
  options.progress('');
  return { rounds, foreign, errors };
}

/** A slice on a machine others use little: measured again when they used too much. */
async function quietSlice(slice: Slice, runner: Runner, meter: CpuMeter, options: RoundsOptions): Promise<SliceResult> {
  let best = await slice.measure(runner, meter);
  for (let retry = 0; retry < options.retries && share(best) > options.foreignLimit; retry++) {
    const again = await slice.measure(runner, meter);
    if (share(again) < share(best)) best = again;
  }
  return best;
}

function share(result: SliceResult): number {
  return result.cpu.foreignSeconds / result.seconds;
}
