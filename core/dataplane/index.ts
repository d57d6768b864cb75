/** The data plane room: what the core may import from it. */
export * from './types.js';
export { createDataPlaneBroker } from './create.js';
export { cleanupDataPlane } from './kernel/cleanup.js';
export { followNetwork, selectInterfaces } from './interfaces.js';
export { testRun, type TestRunContext, type TestRunResult } from './kernel/test-run.js';
