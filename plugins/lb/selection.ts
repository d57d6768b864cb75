import { buildMaglev, maglevSize } from './maglev.js';
import { SELECTION } from './model.js';
import { weightedSequence } from './weighted.js';

export interface Candidate {
  readonly id: number;
  readonly addr: string;
  readonly port: number;
  readonly weight: number;
  readonly active: boolean;
}

/**
 * The endpoint ids of a service's slots, in the order and number its selection wants. Only active endpoints of a weight
 * are in it; none at all means the data plane refuses new flows.
 */
export function selectionSlots(sel: number, candidates: readonly Candidate[]): number[] {
  const active = candidates.filter((candidate) => candidate.active && candidate.weight > 0);
  const pick = (index: number): number => (active[index] as Candidate).id;
  switch (sel) {
    case SELECTION.priority:
      return weightedSequence(active.map(({ weight }) => weight)).map(pick);
    case SELECTION.hash:
    case SELECTION.persist:
      return Array.from(buildMaglev(active.map(maglevEndpoint), maglevSize(candidates.length)), pick);
    default:
      return active.map(({ id }) => id);
  }
}

function maglevEndpoint({ addr, port, weight }: Candidate): { key: string; weight: number } {
  return { key: `${addr}|${port}`, weight };
}
