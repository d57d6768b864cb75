import type { ClosableNetwork, NetworkOptions } from './types.js';

/** Reads everything once and subscribes; resolves when links, addresses, routes and neighbours are known. */
export declare function createNetwork(options: NetworkOptions): Promise<ClosableNetwork>;
