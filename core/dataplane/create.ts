import { Broker } from './broker.js';
import { KernelBackend } from './kernel/kernel-backend.js';
import { MemoryBackend } from './memory/memory-backend.js';
import type { DataPlaneBroker, DataPlaneOptions } from './types.js';

/** Throws `DP_OBJECT_MISSING` when the kernel backend has no compiled packet path. */
export function createDataPlaneBroker(options: DataPlaneOptions): DataPlaneBroker {
  if (options.backend === 'kernel') return new Broker(new KernelBackend(options));
  options.log.warn('data plane is in memory only: no packet is forwarded');
  return new Broker(new MemoryBackend(options.objectFile));
}
