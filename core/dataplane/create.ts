import type { DataPlaneBroker, DataPlaneOptions } from './types.js';

export declare function createDataPlaneBroker(options: DataPlaneOptions): DataPlaneBroker;
