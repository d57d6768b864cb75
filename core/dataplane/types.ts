/** What the rest of the core knows of the data plane: one interface, whatever backend is behind it. */
import type { AttachedInterface, DataPlane, Logger, MapSlice, MapSpec, MapView, NetworkLink } from '@loxilb/sdk';
import type { XdpChoice } from './xdp-choice.js';

export type { XdpChoice } from './xdp-choice.js';

export type HookChoice = 'auto' | 'tcx' | 'clsact';

export interface DataPlaneOptions {
  /** `memory` keeps maps in this process and forwards no packet. */
  readonly backend: 'kernel' | 'memory';
  /** Folder for pins; a bpffs is mounted there when it is not one. Default /opt/loxilb/dp/bpf. */
  readonly bpfDir: string;
  /** The compiled packet path, `loxilb.bpf.o`. The memory backend reads it only when it is there. */
  readonly objectFile: string;
  readonly hook: HookChoice;
  /** Default off. */
  readonly xdp?: XdpChoice;
  readonly log: Logger;
}

/** Something about an attachment that is not as we left it. */
export interface AttachmentProblem {
  readonly ifindex: number;
  readonly name: string;
  readonly direction: 'ingress' | 'egress' | 'xdp';
  /** Lower case, complete: `program 12 is attached instead of 17`. */
  readonly problem: string;
}

export interface ProgramInfo {
  readonly name: string;
  /** Kernel program id. */
  readonly id: number;
  /** Instructions the verifier walked, over all paths. */
  readonly verifiedInstructions: number;
  /** Instructions of the program after the verifier removed what is switched off. */
  readonly instructions: number;
}

export interface DataPlaneBroker {
  readonly backend: 'kernel' | 'memory';
  /**
   * Gives the map to `owner` ('core' or a plugin name). The slice throws `DP_NOT_LOADED` until `load`.
   * Throws `DP_MAP_CLAIMED` when it has an owner, `DP_MAP_LAYOUT` when sizes differ from the compiled object's.
   */
  claim<K, V>(owner: string, spec: MapSpec<K, V>): MapSlice<K, V>;
  /** Read-only view; the owner may claim before or after. A map without owner is an error at `load`. */
  view<K, V>(owner: string, spec: MapSpec<K, V>): MapView<K, V>;
  /** Sets `cfg_<name>` before the programs are loaded. Booleans nobody asks for are false. `DP_FEATURE_UNKNOWN`. */
  setFeature(owner: string, name: string, value: boolean | number): void;
  /** Once: loads the object (or adopts pinned maps), creates missing maps. Synchronous, 20 to 60 ms. */
  load(): void;
  /** What plugins get as `ctx.dataplane`. */
  readonly dataplane: DataPlane;
  /** Attaches both programs, or swaps the ones of an earlier daemon atomically. Repeating is harmless. */
  attach(link: Pick<NetworkLink, 'ifindex' | 'name'>): void;
  /** Takes the programs off the interface; an interface that is gone is only forgotten. */
  detach(ifindex: number): void;
  /** Takes the programs off every interface that is not among these, also those of an earlier daemon. */
  retain(ifindexes: ReadonlySet<number>): void;
  /**
   * Puts the XDP program on those of these interfaces that are to have it, and takes it off all others. What is refused
   * is logged. To be called again when links change.
   *
   * @param all also those that are not served
   */
  updateXdp(links: readonly NetworkLink[], all: readonly NetworkLink[]): void;
  attached(): readonly AttachedInterface[];
  /** Reads back what hangs on each attached interface. Empty when everything is as it should be. */
  verifyAttached(): readonly AttachmentProblem[];
  /** Makes every cached way out be looked up again. */
  bumpGeneration(): void;
  /** Makes `intf_map` equal to these links. */
  writeInterfaces(links: readonly NetworkLink[]): void;
  /** Counters of the packet path that are not zero, by name in lower case (`drop_no_endpoint`), summed over CPUs. */
  counters(): Record<string, number>;
  programInfo(): readonly ProgramInfo[];
  /** Closes file descriptors. Pinned maps, programs and links stay: traffic goes on. */
  close(): void;
}

export interface CleanupOptions {
  readonly bpfDir: string;
  readonly log: Logger;
}
