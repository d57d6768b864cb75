/** Keeps the packet path where the interfaces are. */
import { isLoxilbError, type Logger, type Network, type NetworkLink } from '@loxilb/sdk';
import type { DataPlaneBroker } from './types.js';

/** Links the packet path can hang on: Ethernet or loopback, within the operator's allow list (`*` matches any text). */
export function selectInterfaces(links: readonly NetworkLink[], allowed: readonly string[] | undefined): NetworkLink[] {
  const patterns = allowed?.map(patternOf);
  return links.filter((link) => link.ethernet && (patterns?.some((pattern) => pattern.test(link.name)) ?? true));
}

function patternOf(text: string): RegExp {
  const parts = text.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}

export interface FollowOptions {
  readonly broker: DataPlaneBroker;
  readonly network: Network;
  /** Allow list of interface names; undefined: all. */
  readonly allowed: readonly string[] | undefined;
  readonly log: Logger;
}

/**
 * Attaches to interfaces that are there and that appear, forgets those that vanish, rewrites `intf_map`, and raises the
 * generation after any change that may move a way out. The first round is done when this returns. Returns the stop
 * function, which leaves everything attached.
 */
export function followNetwork(options: FollowOptions): () => void {
  const { broker, network } = options;
  const known = new Map<number, NetworkLink>();
  reconcileInterfaces(options, known);
  broker.bumpGeneration();
  return network.onChange((kinds) => {
    if (kinds.has('link')) reconcileInterfaces(options, known);
    broker.bumpGeneration();
  });
}

function reconcileInterfaces({ broker, network, allowed, log }: FollowOptions, known: Map<number, NetworkLink>): void {
  const wanted = selectInterfaces(network.links(), allowed);
  const indexes = new Set(wanted.map((link) => link.ifindex));
  // First what is gone: its name may be another's by now.
  broker.retain(indexes);
  for (const ifindex of known.keys()) if (!indexes.has(ifindex)) known.delete(ifindex);
  // Then what the programs know of an interface, then its packets.
  broker.writeInterfaces(wanted);
  for (const link of wanted) attachTo(link, { broker, known, log });
  // Only beside tc, which does what XDP passes on.
  broker.updateXdp(
    wanted.filter((link) => known.has(link.ifindex)),
    network.links(),
  );
}

/**
 * Again whenever the kernel has said something about the link: one that was in another namespace for a moment comes back
 * with its name and its index, but without our programs.
 */
function attachTo(
  link: NetworkLink,
  { broker, known, log }: Pick<FollowOptions, 'broker' | 'log'> & { known: Map<number, NetworkLink> },
): void {
  const before = known.get(link.ifindex);
  if (before === link) return;
  try {
    broker.attach(link);
    known.set(link.ifindex, link);
    if (before?.name !== link.name) log.info({ interface: link.name, ifindex: link.ifindex }, 'attached');
  } catch (error) {
    if (!isLoxilbError(error)) throw error;
    log.warn({ interface: link.name, code: error.code, remedy: error.remedy }, `not attached: ${error.message}`);
  }
}
