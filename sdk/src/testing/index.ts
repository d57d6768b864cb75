/** Test kit for plugin authors: fakes with visible effects, a bench, and the conformance suite. Needs no framework. */
export * from './conformance.js';
export * from './fake-network.js';
export * from './memory-map.js';
export * from './plugin-bench.js';
export * from './recorder.js';
export * from './test-context.js';
