/** The data plane room: what the core may import from it. */

export { createDataPlaneBroker } from './create.js';
export { followNetwork, selectInterfaces } from './interfaces.js';
export { cleanupDataPlane } from './kernel/cleanup.js';
export { type TestRunContext, type TestRunResult, testRun } from './kernel/test-run.js';
export * from './types.js';
