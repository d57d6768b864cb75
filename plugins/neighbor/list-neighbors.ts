import type { Network } from '@loxilb/sdk';

export interface WireNeighbor {
  readonly ipAddress: string;
  readonly dev: string;
  readonly macAddress: string;
}

/** NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT: the neighbour's address is known and was resolved. */
const NUD_RESOLVED = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/** Neighbours the kernel knows a link-layer address of, learned ones too. */
export function listNeighbors(network: Pick<Network, 'links' | 'neighbors'>): WireNeighbor[] {
  const names = new Map(network.links().map((link) => [link.ifindex, link.name]));
  return network.neighbors().flatMap(({ ifindex, address, mac, state }) => {
    const dev = names.get(ifindex);
    if (!dev || !mac || (state & NUD_RESOLVED) === 0) return [];
    return [{ ipAddress: address, dev, macAddress: mac }];
  });
}
