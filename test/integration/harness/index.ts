export * from './daemon.js';
export * from './namespace.js';
export * from './network.js';
export * from './run.js';
export * from './services.js';
export * from './traffic.js';
