import { MemoryNetwork } from './memory-network.js';
import { MemoryRawSender } from './memory-raw-sender.js';
import type { ClosableNetwork, ClosableRawSender, NetworkOptions } from './types.js';

/** Subscribes and reads everything once; resolves when links, addresses, routes and neighbours are known. */
export async function createNetwork(options: NetworkOptions): Promise<ClosableNetwork> {
  if (options.backend === 'memory') return new MemoryNetwork();
  // Only here: the memory backend runs where the native libraries do not.
  const { KernelNetwork } = await import('./kernel-network.js');
  return new KernelNetwork(options.log);
}

/** Opens nothing until something is sent. */
export async function createRawSender(options: NetworkOptions): Promise<ClosableRawSender> {
  if (options.backend === 'memory') return new MemoryRawSender();
  const { KernelRawSender } = await import('./raw-sender.js');
  return new KernelRawSender(options.log);
}
