/**
 * `@loxilb/sdk/command`: the part of the contract that `loxicmd` and the plugins' `command.ts` need. It stays apart
 * from the main entry because loading zod would take longer than everything else a command does.
 */
export * from './command.js';
export * from './descriptor.js';
