import { CommandError, type CommandRequest, type CommandSpec, type Flag, type FlagValue } from './command.js';

/**
 * A resource's commands as plain JSON: what the daemon answers to `GET /netlox/v1/commands` (`{"commands": [...]}`), so
 * that `loxicmd` can serve plugins it was not built with. `commandFromDescriptor` turns it back into a command.
 */
export interface CommandDescriptor {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly kind: string;
  readonly kindAliases: readonly string[];
  readonly plugin: string;
  /** POST path below `/netlox/v1`. */
  readonly path: string;
  readonly envelope: string;
  readonly summary: string;
  /** Table titles; the cells come from `GET /netlox/v1/commands/<name>/table?wide=true|false`. */
  readonly columns: readonly string[];
  readonly wideColumns?: readonly string[];
  readonly create?: DescribedCreate;
  readonly delete?: DescribedDelete;
}

export interface DescribedCreate {
  /** e.g. `greeting NAME [--text=<text>]` */
  readonly usage: string;
  readonly args: readonly DescribedArgument[];
  readonly flags: readonly DescribedFlag[];
}

export interface DescribedDelete {
  readonly usage: string;
  /** In the order of the command line; each fills the `:name` of the template. */
  readonly args: readonly DescribedArgument[];
  /** Become query parameters named by `member`; flags that are not given are left out. */
  readonly flags: readonly DescribedFlag[];
  /** Below `/netlox/v1`, e.g. `/config/greeting/name/:name`. */
  readonly pathTemplate: string;
}

export interface DescribedArgument {
  readonly name: string;
  /** Dotted path into the POST body, e.g. `serviceArguments.externalIP`. */
  readonly member: string;
  /** Default `string`. */
  readonly type?: 'string' | 'number';
  readonly optional?: boolean;
}

export interface DescribedFlag extends Flag {
  readonly member: string;
  readonly required?: boolean;
}

/** Answer of `GET /netlox/v1/commands`. */
export interface CommandList {
  readonly commands: readonly CommandDescriptor[];
}

/** Answer of `GET /netlox/v1/commands/<name>/table`. */
export interface RenderedTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The verbs of a described resource. Tables are left to the daemon: there is no `get`. */
export function commandFromDescriptor(descriptor: CommandDescriptor): CommandSpec {
  const { create, delete: remove } = descriptor;
  return {
    name: descriptor.name,
    aliases: descriptor.aliases,
    kind: descriptor.kind,
    kindAliases: descriptor.kindAliases,
    plugin: descriptor.plugin,
    path: descriptor.path,
    envelope: descriptor.envelope,
    ...(create && {
      create: {
        summary: `Create a ${descriptor.name}`,
        usage: create.usage,
        flags: create.flags,
        output: 'debug',
        plan: (args, flags) => [planCreate(descriptor.name, descriptor.path, create, args, flags)],
      },
    }),
    ...(remove && {
      delete: {
        summary: `Delete a ${descriptor.name}`,
        usage: remove.usage,
        flags: remove.flags,
        output: 'debug',
        plan: (args, flags) => [planDelete(descriptor.name, remove, args, flags)],
      },
      deletePath: (body) =>
        fillPath(
          remove,
          remove.args.map((argument) => memberText(body, argument.member)),
        ),
    }),
  };
}

function planCreate(
  name: string,
  path: string,
  create: DescribedCreate,
  args: readonly string[],
  flags: Readonly<Record<string, FlagValue>>,
): CommandRequest {
  checkArguments(`create ${name}`, create.args, args);
  const body: Record<string, unknown> = {};
  create.args.forEach((argument, index) => {
    const text = args[index];
    if (text !== undefined) setMember(body, argument.member, convert(argument, text));
  });
  for (const flag of create.flags) {
    const value = flags[flag.name];
    if (value !== undefined) setMember(body, flag.member, value);
    else if (flag.required) throw new CommandError(`Error: create ${name} need --${flag.name}`);
  }
  return { method: 'POST', path, body };
}

function planDelete(
  name: string,
  remove: DescribedDelete,
  args: readonly string[],
  flags: Readonly<Record<string, FlagValue>>,
): CommandRequest {
  checkArguments(`delete ${name}`, remove.args, args);
  const query = new URLSearchParams();
  for (const flag of remove.flags) {
    const value = flags[flag.name];
    if (value !== undefined) query.append(flag.member, String(value));
  }
  const path = fillPath(remove, args);
  return { method: 'DELETE', path: query.size === 0 ? path : `${path}?${query}` };
}

function checkArguments(command: string, wanted: readonly DescribedArgument[], given: readonly string[]): void {
  if (given.length > wanted.length) throw new CommandError(`Error: ${command} command get so many args`);
  const missing = wanted.slice(given.length).find((argument) => !argument.optional);
  if (missing) throw new CommandError(`Error: ${command} need <${missing.name}> args`);
}

function convert(argument: DescribedArgument, text: string): string | number {
  if (argument.type !== 'number') return text;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new CommandError(`Error: ${argument.name} '${text}' is not a number`);
  }
  return value;
}

function fillPath(remove: DescribedDelete, values: readonly string[]): string {
  return remove.args.reduce(
    (path, argument, index) => path.replace(`:${argument.name}`, () => encodeURIComponent(values[index] ?? '')),
    remove.pathTemplate,
  );
}

function setMember(body: Record<string, unknown>, path: string, value: unknown): void {
  const parts = path.split('.');
  let target = body;
  for (const part of parts.slice(0, -1)) {
    target[part] ??= {};
    target = target[part] as Record<string, unknown>;
  }
  target[parts.at(-1) ?? path] = value;
}

function memberText(body: unknown, path: string): string {
  let value = body;
  for (const part of path.split('.')) value = (value as Record<string, unknown> | null | undefined)?.[part];
  return value === undefined || value === null ? '' : String(value);
}
