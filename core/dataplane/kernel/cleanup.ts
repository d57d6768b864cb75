import type { CleanupOptions } from '../types.js';

/** Detaches our programs everywhere and removes every pin and, when empty, the folder. Traffic through services ends. */
export declare function cleanupDataPlane(options: CleanupOptions): void;
