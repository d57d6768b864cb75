/** Maps in this process: for tests, plugin authors and machines without privilege. It forwards no packet. */
import { existsSync, readFileSync } from 'node:fs';
import type { AttachedInterface, KernelProgram, KernelWalk, RingReader } from '@loxilb/sdk';
import type { Backend, MapRequest } from '../backend.js';
import { type ObjectLayout, parseObject } from '../btf/object-layout.js';
import { ringTaken } from '../errors.js';
import type { RawMap } from '../raw-map.js';
import { MemoryMap } from './memory-map.js';

export class MemoryBackend implements Backend {
  readonly kind = 'memory';
  readonly layout: ObjectLayout | undefined;
  private readonly readers = new Map<string, (record: Uint8Array) => void>();

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

  ring(name: string, onRecord: (record: Uint8Array) => void): RingReader {
    if (this.readers.has(name)) throw ringTaken(name);
    this.readers.set(name, onRecord);
    return { close: () => void (this.readers.get(name) === onRecord && this.readers.delete(name)) };
  }

  /** For tests: the ring's reader gets the record; without one it is lost. */
  feedRing(name: string, record: Uint8Array): void {
    this.readers.get(name)?.(record.slice());
  }

  openTrace(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  attach(): void {}

  detach(): void {}

  retain(): void {}

  updateXdp(): void {}

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
