/** The netlink room: what the core may import from it. */
export * from './types.js';
export { createNetwork } from './create.js';
