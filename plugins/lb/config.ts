import { z } from '@loxilb/sdk';

/** Options of the lb plugin in `loxilb.config.ts`. Sizes are of pinned maps and take effect when the maps are made. */
export const lbConfig = z.strictObject({
  /** Size of the service table. One id is reserved and ids of deleted rules rest until their flows have ended. */
  maxServices: z.int().min(2).max(1_048_576).default(16_384),
  /** Endpoints of all rules together. */
  maxEndpoints: z.int().min(2).max(4_194_304).default(65_536),
  /** Selection slots of all rules together: rr takes one per endpoint, hash and persist 4096 per rule. */
  maxSlots: z.int().min(1_024).max(67_108_864).default(8_388_608),
  /** Clients remembered by rules that select by persist, all rules together. */
  maxAffinities: z.int().min(1_024).max(16_777_216).default(131_072),
  /** Blocks of ports of all rules with port ranges: thirty for a range at most, one or two for most. */
  maxPortBlocks: z.int().min(32).max(16_777_216).default(65_536),
  /** Prefixes of all rules with a list of allowed sources. */
  maxSources: z.int().min(16).max(16_777_216).default(262_144),
  /** Secondary addresses one SCTP rule may have. */
  maxSecondaryIPs: z.int().min(0).max(7).default(3),
  /** Endpoints one rule may have; a span of ports is one. */
  maxEndpointsPerRule: z.int().min(1).max(1_024).default(64),
  /** Idle time in seconds after which persist forgets a client. */
  persistTimeoutSeconds: z.int().min(1).max(86_400).default(10_800),
  /** `lo`: service addresses this machine does not have yet are put on the loopback interface. `off`: none is. */
  vipAddresses: z.enum(['lo', 'off']).default('lo'),
  /** Flows of an endpoint that fails or is taken out of service: go on, are cut, or are cut with a reset to both ends. */
  onEndpointDown: z.enum(['keep', 'cut', 'reset']).default('keep'),
  /** Seconds the flows of an endpoint go on that left its rule, or whose rule was deleted. */
  drainTimeout: z.int().min(0).max(86_400).default(0),
});

export type LbConfig = z.output<typeof lbConfig>;
