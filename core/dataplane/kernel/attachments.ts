/** Which interfaces carry the packet path, and whether they really do. */
import type { AttachedInterface } from '@loxilb/sdk';
import type { LinkName } from '../backend.js';
import type { AttachmentProblem } from '../types.js';
import { DIRECTIONS, type Direction, type Hook } from './hook.js';

export interface AttachedProgram {
  readonly fd: number;
  readonly id: number;
}

export class Attachments {
  private readonly links = new Map<number, LinkName>();

  /** `other` is the hook that is not used: an earlier daemon may have used it. */
  constructor(
    private readonly hook: Hook,
    private readonly other: Hook | undefined,
    private readonly programs: Readonly<Record<Direction, AttachedProgram>>,
  ) {}

  attach(link: LinkName): void {
    const done: Direction[] = [];
    try {
      for (const direction of DIRECTIONS) {
        this.hook.attach(link, direction, this.programs[direction].fd);
        done.push(direction);
      }
    } catch (error) {
      // Half a path would translate requests and not their answers. A link we only swapped stays as it is.
      if (!this.links.has(link.ifindex)) for (const direction of done) this.hook.detach(link.ifindex, direction);
      throw error;
    }
    for (const direction of DIRECTIONS) this.other?.detach(link.ifindex, direction);
    this.links.set(link.ifindex, { ifindex: link.ifindex, name: link.name });
  }

  detach(ifindex: number): void {
    for (const direction of DIRECTIONS) this.hook.detach(ifindex, direction);
    this.links.delete(ifindex);
  }

  retain(ifindexes: ReadonlySet<number>): void {
    for (const hook of [this.hook, this.other]) {
      for (const ifindex of hook?.interfaces() ?? []) {
        if (ifindexes.has(ifindex)) continue;
        for (const direction of DIRECTIONS) hook?.detach(ifindex, direction);
      }
    }
    for (const ifindex of this.links.keys()) if (!ifindexes.has(ifindex)) this.links.delete(ifindex);
  }

  attached(): AttachedInterface[] {
    return [...this.links.values()]
      .filter((link) => DIRECTIONS.every((direction) => this.problem(link, direction) === undefined))
      .map((link) => ({ ...link, hook: this.hook.name }));
  }

  verify(): AttachmentProblem[] {
    return [...this.links.values()].flatMap((link) =>
      DIRECTIONS.flatMap((direction) => {
        const problem = this.problem(link, direction);
        return problem === undefined ? [] : [{ ...link, direction, problem }];
      }),
    );
  }

  private problem(link: LinkName, direction: Direction): string | undefined {
    const expected = this.programs[direction].id;
    const found = this.hook.programId(link.ifindex, direction);
    if (found === expected) return undefined;
    return found === undefined
      ? 'no program of ours is attached'
      : `program ${found} is attached instead of ${expected}`;
  }
}
