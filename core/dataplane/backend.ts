/** What the broker asks of a backend. */
import type { AttachedInterface, KernelProgram, KernelWalk, MapType, NetworkLink } from '@loxilb/sdk';
import type { ObjectLayout } from './btf/object-layout.js';
import type { RawMap } from './raw-map.js';
import type { AttachmentProblem, ProgramInfo } from './types.js';

/** A claimed map, as bytes. */
export interface MapRequest {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** File name of the pin. */
  readonly pin: string;
}

export type LinkName = Pick<NetworkLink, 'ifindex' | 'name'>;

export interface Backend {
  readonly kind: 'kernel' | 'memory';
  /** The compiled packet path, undefined when the memory backend runs without one. */
  readonly layout: ObjectLayout | undefined;
  /** Once. `constants` are names of the layout with their values. Failing, it leaves pins as they were. */
  load(requests: readonly MapRequest[], constants: ReadonlyMap<string, number | boolean>): ReadonlyMap<string, RawMap>;
  program(name: string): KernelProgram;
  walk(program: string, map: string): KernelWalk;
  attach(link: LinkName): void;
  detach(ifindex: number): void;
  /** Detaches from every interface that is not among these, whoever attached. */
  retain(ifindexes: ReadonlySet<number>): void;
  attached(): readonly AttachedInterface[];
  verifyAttached(): readonly AttachmentProblem[];
  programInfo(): readonly ProgramInfo[];
  close(): void;
}
