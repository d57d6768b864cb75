import type { CommandDescriptor } from './descriptor.js';

/**
 * What `loxicmd` needs to know of a resource. It is data and pure functions, so the CLI can import it without the
 * daemon; for plugins the CLI does not have, the daemon serves the same facts (`GET /netlox/v1/commands`) and renders
 * tables itself (`GET /netlox/v1/commands/<name>/table`).
 */
export interface CommandSpec {
  /** Canonical object word after `get`/`create`/`delete`. */
  readonly name: string;
  readonly aliases?: readonly string[];
  /** Other words YAML files may use as `kind`, exact case; the resource's kind is always accepted. */
  readonly kindAliases?: readonly string[];
  readonly kind?: string;
  /** Plugin that serves it, named in the "not enabled" answer. */
  readonly plugin: string;
  readonly path: string;
  readonly envelope: string;
  readonly get?: GetCommand;
  readonly create?: WriteCommand;
  readonly delete?: WriteCommand;
  /** Turns a YAML `spec` (and `metadata`) into the POST body. Default: the spec as it is. */
  fromYaml?(spec: unknown, metadata: Record<string, unknown>): unknown;
  /** Turns a POST body into the DELETE request of `delete -f`: path below the base path, query included. */
  deletePath?(body: unknown): string;
  /** The same command as data, served to a `loxicmd` that lacks this plugin. `defaultCommand` fills it in. */
  readonly descriptor?: CommandDescriptor;
}

export interface TableSpec {
  readonly columns: readonly Column[];
  /** Print titles even when there are no rows. */
  readonly titlesWhenEmpty?: boolean;
  /**
   * Rows of one listed entry: one per line group, a cell per column. Cells may hold line breaks.
   * Absent: one row, each cell by its column's `value`.
   */
  rows?(entry: never): readonly (readonly string[])[];
}

export interface Column {
  readonly title: string;
  /** Dotted path into the entry, or a function of it. */
  readonly value?: string | ((entry: never) => string);
}

export interface GetCommand {
  readonly summary: string;
  /** The object word and its aliases after `get`, when they differ from the other verbs'. */
  readonly name?: string;
  readonly aliases?: readonly string[];
  readonly long?: string;
  readonly narrow: TableSpec;
  readonly wide?: TableSpec;
  /** Tables are sorted by this text, byte order (numbers: numeric). */
  sortKey?(entry: never): string | number;
  /** Entries tables hide, e.g. internal rules. */
  hide?(entry: never): boolean;
  readonly flags?: readonly Flag[];
  /** Keeps an entry under the given flags. */
  filter?(entry: never, flags: Readonly<Record<string, FlagValue>>): boolean;
  /** Query parameters the daemon narrows its answer by. */
  query?(flags: Readonly<Record<string, FlagValue>>): Readonly<Record<string, string>>;
  /** The daemon indents its JSON itself when asked with `indent=4`: for lists of millions. */
  readonly indents?: boolean;
  /** GET path when it is not `<path>/all`. */
  readonly path?: string;
  /** The reply is one object instead of an enveloped list. */
  readonly single?: boolean;
}

export type FlagValue = string | number | boolean | string[] | undefined;

export interface Flag {
  readonly name: string;
  readonly short?: string;
  /** `strings`: comma list that may repeat, in order. */
  readonly type: 'string' | 'strings' | 'bool' | 'uint32' | 'int';
  readonly help: string;
  readonly default?: string | number;
}

/** One HTTP request a command makes. */
export interface CommandRequest {
  readonly method: 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** Lines printed just before the request is sent. */
  readonly before?: readonly string[];
  /** Printed before the reason when no answer came. */
  readonly transportError?: string;
}

export interface WriteCommand {
  readonly summary: string;
  /** e.g. `lb IP [--tcp=<port>:<targetPort>] ...` */
  readonly usage: string;
  readonly long?: string;
  readonly flags: readonly Flag[];
  /**
   * Checks the line and plans the requests. Throw `CommandError` with the exact text to print on bad input.
   * `print` writes a line to stdout at once, errors that follow come after it.
   */
  plan(
    args: readonly string[],
    flags: Readonly<Record<string, FlagValue>>,
    print: (line: string) => void,
  ): CommandRequest[];
  /** `quiet` prints only the result, `debug` a status line before it, `policy` the status line alone on success. */
  readonly output: 'quiet' | 'debug' | 'policy';
  /** With no argument at all the help is shown. Default true. */
  readonly helpWithoutArgs?: boolean;
}

/** Bad input on the command line; `message` is printed as it is. */
export class CommandError extends Error {
  override name = 'CommandError';
}
