/** The data plane room: what the core may import from it. */
export { createDataPlaneBroker } from './create.js';
export { followNetwork } from './interfaces.js';
export { cleanupDataPlane } from './kernel/cleanup.js';
export { testRun } from './kernel/test-run.js';
export * from './types.js';
