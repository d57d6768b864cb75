import { MemoryNetwork } from './memory-network.js';
import type { ClosableNetwork, NetworkOptions } from './types.js';

/** Subscribes and reads everything once; resolves when links, addresses, routes and neighbours are known. */
export async function createNetwork(options: NetworkOptions): Promise<ClosableNetwork> {
  if (options.backend === 'memory') return new MemoryNetwork();
  // Only here: the memory backend runs where the native libraries do not.
  const { KernelNetwork } = await import('./kernel-network.js');
  return new KernelNetwork(options.log);
}
