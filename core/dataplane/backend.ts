/** What the broker asks of a backend. */
import type {
  AttachedInterface,
  KernelProgram,
  KernelWalk,
  MapType,
  NetworkLink,
  RingReader,
  TraceInstance,
  TraceOptions,
} from '@loxilb/sdk';
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
  /** Entries are not copied to a table of another size. */
  readonly uncopyable: boolean;
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
  /** Throws `DP_RING_TAKEN` when the ring is being read, `DP_RING_UNKNOWN` when the packet path has no such ring. */
  ring(name: string, onRecord: (record: Uint8Array) => void): RingReader;
  openTrace(options: TraceOptions): Promise<TraceInstance | undefined>;
  attach(link: LinkName): void;
  detach(ifindex: number): void;
  /** Detaches from every interface that is not among these, whoever attached. */
  retain(ifindexes: ReadonlySet<number>): void;
  updateXdp(links: readonly NetworkLink[], all: readonly NetworkLink[]): void;
  attached(): readonly AttachedInterface[];
  verifyAttached(): readonly AttachmentProblem[];
  programInfo(): readonly ProgramInfo[];
  close(): void;
}
