/** The contract a loxilb plugin is written against. Nothing here imports the daemon. */

export { z } from 'zod';
export * from './codec.js';
export * from './command.js';
export * from './config.js';
export * from './context.js';
export * from './contracts.js';
export * from './default-command.js';
export * from './delete-by-key.js';
export * from './descriptor.js';
export * from './errors.js';
export * from './ip.js';
export * from './maps.js';
export * from './operation.js';
export * from './plugin.js';
export * from './resource.js';
export * from './token.js';
