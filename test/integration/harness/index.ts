export * from './daemon.js';
export * from './lab.js';
export * from './namespace.js';
export * from './network.js';
export * from './nginx.js';
export * from './run.js';
export * from './services.js';
export * from './traffic.js';
