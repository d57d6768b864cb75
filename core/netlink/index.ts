/** The netlink room: what the core may import from it. */

export { createNetwork, createRawSender } from './create.js';
export * from './types.js';
