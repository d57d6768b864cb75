/** Maps in this process: for tests, plugin authors and machines without privilege. It forwards no packet. */
import { existsSync, readFileSync } from 'node:fs';
import type { AttachedInterface, KernelProgram, KernelWalk } from '@loxilb/sdk';
import type { Backend, MapRequest } from '../backend.js';
import { type ObjectLayout, parseObject } from '../btf/object-layout.js';
import type { RawMap } from '../raw-map.js';
import { MemoryMap } from './memory-map.js';

export class MemoryBackend implements Backend {
  readonly kind = 'memory';
  readonly layout: ObjectLayout | undefined;

  /** Sizes and features are checked against the object when it is there. */
  constructor(objectFile: string) {
    this.layout = existsSync(objectFile) ? parseObject(readFileSync(objectFile)) : undefined;
  }

  load(requests: readonly MapRequest[]): ReadonlyMap<string, RawMap> {
    return new Map(requests.map((request) => [request.name, new MemoryMap(request)]));
  }

  program(): KernelProgram {
    return { run: () => undefined };
  }

  walk(): KernelWalk {
    return { run: () => Promise.resolve() };
  }

  attach(): void {}

  detach(): void {}

  retain(): void {}

  attached(): readonly AttachedInterface[] {
    return [];
  }

  verifyAttached(): readonly never[] {
    return [];
  }

  programInfo(): readonly never[] {
    return [];
  }

  close(): void {}
}
