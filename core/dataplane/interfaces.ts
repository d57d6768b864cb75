import type { Logger, Network, NetworkLink } from '@loxilb/sdk';
import type { DataPlaneBroker } from './types.js';

/** Links the packet path can hang on: Ethernet or loopback, up to the operator's allow list (`*` matches any text). */
export declare function selectInterfaces(
  links: readonly NetworkLink[],
  allowed: readonly string[] | undefined,
): NetworkLink[];

/**
 * Keeps the data plane in step with the kernel: attaches to interfaces that appear, forgets those that vanish, rewrites
 * `intf_map`, raises the generation. Attaches to everything there is before it returns. Returns the stop function.
 */
export declare function followNetwork(options: {
  readonly broker: DataPlaneBroker;
  readonly network: Network;
  readonly allowed: readonly string[] | undefined;
  readonly log: Logger;
}): () => void;
