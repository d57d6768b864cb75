/** One way to hang programs on an interface. */
import type { LinkName } from '../backend.js';

export type Direction = 'ingress' | 'egress';
export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

export interface Hook {
  readonly name: 'tcx' | 'clsact';
  /** Attaches, or replaces ours without a gap. Throws a coded error. */
  attach(link: LinkName, direction: Direction, programFd: number): void;
  /** Takes ours off; nothing there, or no such interface, is fine. */
  detach(ifindex: number, direction: Direction): void;
  /** Id of our program on the interface, undefined when there is none. */
  programId(ifindex: number, direction: Direction): number | undefined;
  /** Interfaces that ours hang on, as far as known. */
  interfaces(): readonly number[];
}
