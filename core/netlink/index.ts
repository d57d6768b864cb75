/** The netlink room: what the core may import from it. */

export { createNetwork } from './create.js';
export * from './types.js';
