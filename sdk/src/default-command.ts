import type { z } from 'zod';
import type { Column, CommandSpec, TableSpec } from './command.js';
import {
  type CommandDescriptor,
  commandFromDescriptor,
  type DescribedArgument,
  type DescribedFlag,
} from './descriptor.js';
import type { ResourceDefinition } from './resource.js';

/** The members of a resource a command is made from. */
export type CommandBase = Pick<
  ResourceDefinition<never, unknown>,
  'kind' | 'name' | 'path' | 'envelope' | 'summary' | 'schema'
>;

export interface DefaultCommandOptions {
  /** Name of the plugin that declares the resource. */
  readonly plugin: string;
  /** Members of the body that are plain words after the command, in order. Together they name one entry. */
  readonly args: readonly string[];
  /** Path of the DELETE form that takes these args, below the resource's path: `/name/:name`. */
  readonly deletePath?: string;
  readonly aliases?: readonly string[];
  readonly kindAliases?: readonly string[];
  /** Table columns by title: dotted path into a listed entry, or a function of it. Default: the body's members. */
  readonly columns?: Readonly<Record<string, NonNullable<Column['value']>>>;
  readonly wideColumns?: Readonly<Record<string, NonNullable<Column['value']>>>;
}

/**
 * Commands of a resource, from its schema: `create` with one flag per member, `get` with a table, `delete` by the args.
 * Members of nested objects become flags too; lists of objects are for YAML files.
 *
 * @example
 * command: defaultCommand(base, { plugin: 'hello', args: ['name'], deletePath: '/name/:name' })
 */
export function defaultCommand(base: CommandBase, options: DefaultCommandOptions): CommandSpec {
  const members = describeMembers(base.schema, '');
  const narrow = table(options.columns ?? defaultColumns(members));
  const wide = options.wideColumns && table(options.wideColumns);
  const descriptor = describe(base, options, members, narrow, wide);
  const [first = ''] = options.args;
  return {
    ...commandFromDescriptor(descriptor),
    descriptor,
    get: {
      summary: `Get ${base.name}s`,
      narrow,
      ...(wide && { wide }),
      sortKey: (entry) => String((entry as Record<string, unknown>)[first] ?? ''),
    },
  };
}

function describe(
  base: CommandBase,
  options: DefaultCommandOptions,
  members: readonly Member[],
  narrow: TableSpec,
  wide: TableSpec | undefined,
): CommandDescriptor {
  const args = options.args.map((name) => argument(name, members));
  const flags = members.filter(({ path }) => !options.args.includes(path)).flatMap(flag);
  const words = args.map(({ name }) => name.toUpperCase()).join(' ');
  return {
    name: base.name,
    aliases: options.aliases ?? [],
    kind: base.kind,
    kindAliases: options.kindAliases ?? [],
    plugin: options.plugin,
    path: base.path,
    envelope: base.envelope,
    summary: base.summary,
    columns: titles(narrow),
    ...(wide && { wideColumns: titles(wide) }),
    create: { usage: [base.name, words, ...flags.map(flagUsage)].join(' '), args, flags },
    ...(options.deletePath !== undefined && {
      delete: { usage: `${base.name} ${words}`, args, flags: [], pathTemplate: `${base.path}${options.deletePath}` },
    }),
  };
}

function titles({ columns }: TableSpec): string[] {
  return columns.map(({ title }) => title);
}

function table(columns: Readonly<Record<string, NonNullable<Column['value']>>>): TableSpec {
  return { columns: Object.entries(columns).map(([title, value]) => ({ title, value })) };
}

function defaultColumns(members: readonly Member[]): Record<string, string> {
  return Object.fromEntries(members.map(({ path }) => [lastPart(path).toUpperCase(), path]));
}

function argument(name: string, members: readonly Member[]): DescribedArgument {
  const member = members.find(({ path }) => path === name);
  if (!member) throw new Error(`argument ${name} is not a member of the schema`);
  const numeric = member.type === 'int' || member.type === 'uint32';
  return { name: lastPart(name), member: name, ...(numeric && { type: 'number' as const }) };
}

function flag(member: Member): DescribedFlag[] {
  if (member.type === undefined) return [];
  return [
    {
      name: kebab(lastPart(member.path)),
      type: member.type,
      help: member.help,
      member: member.path,
      ...(member.required && { required: true }),
    },
  ];
}

function flagUsage({ name, type, required }: DescribedFlag): string {
  const text = type === 'bool' ? `--${name}` : `--${name}=<${name}>`;
  return required ? text : `[${text}]`;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

function kebab(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();
}

interface Member {
  readonly path: string;
  /** Undefined where a command line has no words for it. */
  readonly type: DescribedFlag['type'] | undefined;
  readonly required: boolean;
  readonly help: string;
}

/** zod's description of a schema, as far as flags need it. */
interface SchemaDef {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly innerType?: z.ZodType;
  readonly entries?: Readonly<Record<string, string | number>>;
  readonly checks?: readonly { readonly _zod: { readonly def: { readonly format?: string } } }[];
  readonly format?: string;
}

function describeMembers(schema: z.ZodType, prefix: string): Member[] {
  const { def } = unwrap(schema);
  return Object.entries(def.shape ?? {}).flatMap(([key, member]) => {
    const path = `${prefix}${key}`;
    const inner = unwrap(member);
    if (inner.def.type === 'object') return describeMembers(member, `${path}.`);
    return [{ path, type: flagType(inner.def), required: inner.required, help: helpOf(member, inner.def) }];
  });
}

function unwrap(schema: z.ZodType): { def: SchemaDef; required: boolean } {
  const def = schema._zod.def as unknown as SchemaDef;
  if (!def.innerType) return { def, required: true };
  const inner = unwrap(def.innerType);
  return { def: inner.def, required: inner.required && ['readonly', 'nonoptional'].includes(def.type) };
}

function flagType(def: SchemaDef): Member['type'] {
  if (def.type === 'string' || def.type === 'enum') return 'string';
  if (def.type === 'boolean') return 'bool';
  if (def.type === 'array' && def.element && unwrap(def.element).def.type === 'string') return 'strings';
  if (def.type !== 'number') return undefined;
  const formats = [def.format, ...(def.checks ?? []).map((check) => check._zod.def.format)];
  return formats.includes('uint32') ? 'uint32' : 'int';
}

function helpOf(schema: z.ZodType, def: SchemaDef): string {
  const choices = def.entries ? `one of ${Object.values(def.entries).join(', ')}` : '';
  return [schema.description ?? '', choices].filter((text) => text !== '').join(': ');
}
