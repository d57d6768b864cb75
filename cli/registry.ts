import type { CommandSpec } from '@loxilb/sdk/command';
import { command as conntrack } from '../plugins/conntrack/command.js';
import { command as endpoint } from '../plugins/endpoint/command.js';
import { command as lb } from '../plugins/lb/command.js';
import { command as neighbor } from '../plugins/neighbor/command.js';
import { command as drops } from '../plugins/observe/command.js';
import { command as port } from '../plugins/port/command.js';
import { command as route } from '../plugins/route/command.js';
import { command as version } from '../plugins/version/command.js';

/** Commands this client was built with. Those of other plugins come from the daemon. */
export const COMMANDS: readonly CommandSpec[] = [lb, conntrack, endpoint, port, route, neighbor, drops, version];

/** YAML kinds are exact words; `name` and the aliases of the command line are accepted as well. */
export function findKind(specs: readonly CommandSpec[], kind: string): CommandSpec | undefined {
  return specs.find(
    (spec) =>
      spec.create && [spec.kind, ...(spec.kindAliases ?? []), spec.name, ...(spec.aliases ?? [])].includes(kind),
  );
}

/** The words after a verb that mean this command, the canonical one first. */
export function wordsFor(spec: CommandSpec, verb: string): readonly [string, ...string[]] {
  if (verb !== 'get') return [spec.name, ...(spec.aliases ?? [])];
  return [spec.get?.name ?? spec.name, ...(spec.get?.aliases ?? spec.aliases ?? [])];
}
