import { z } from '@loxilb/sdk';

export const conntrackConfig = z.strictObject({
  /** Confirmed flows the table holds. A flow takes two entries of 192 bytes, allocated with the table. */
  maxFlows: z.int().min(1024).max(16_777_216).default(524_288),
  /** Flows not yet confirmed by both sides: the least recently used goes when there are more. */
  newFlows: z.int().min(1024).max(1_048_576).default(65_536),
  /** Shortest time between two expiry passes, ms. Passes never take more than about 5 % of one CPU. */
  passIntervalMs: z.int().min(100).max(60_000).default(1000),
});

export type ConntrackConfig = z.output<typeof conntrackConfig>;

const HALF_OPEN_FLOWS = 16_384;

/** Flows nobody has confirmed that may be in the flow table at a time: a flood gets an eighth of a small one. */
export function halfOpenFlows(maxFlows: number): number {
  return Math.min(HALF_OPEN_FLOWS, Math.floor(maxFlows / 8));
}
