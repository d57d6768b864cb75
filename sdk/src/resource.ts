import type { z } from 'zod';
import type { CommandSpec, TableSpec } from './command.js';

/** One of possibly several DELETE forms of a resource. */
export interface DeleteForm<S> {
  /** Below the resource's `path`, with `:name` parameters: `/name/:lb_name`. */
  readonly path: string;
  readonly summary: string;
  /** Types of path parameters that are not plain strings. Checked before `select` (framework error 601). */
  readonly numbers?: readonly string[];
  /** Query parameters, with the go-openapi type the framework error names. */
  readonly query?: Readonly<Record<string, 'string' | 'boolean' | 'int64'>>;
  /**
   * Keys of the entries this request removes. Throw a coded error when the arguments are malformed or nothing
   * matches and that is an error for this form; return an empty list when no match is a success.
   */
  select(args: DeleteArguments, stored: ReadonlyMap<string, S>): readonly string[];
}

export interface DeleteArguments {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}

/** The request behind a change, for what it says about the change itself and not about the entry. One of the two. */
export interface Asked<W> {
  /** Of a POST. */
  readonly request?: W;
  /** Of a DELETE. */
  readonly args?: DeleteArguments;
}

/**
 * A resource: data plus a few functions. From this one definition come the REST operations, the OpenAPI page, the
 * stored desired state, the YAML kind of `apply`, and the CLI verbs and tables.
 *
 * `S` is the desired state that is stored, `W` the wire form a client POSTs and GETs. They are the same for regular
 * resources.
 */
export interface ResourceDefinition<S, W = S> {
  /** YAML kind, e.g. `Loadbalancer`. */
  readonly kind: string;
  /** Noun: log name, store section, metric label. kebab-case. */
  readonly name: string;
  /** POST path below `/netlox/v1`, e.g. `/config/loadbalancer`. GET is `<path>/all`. */
  readonly path: string;
  /** Member that wraps the GET list, e.g. `lbAttr`. */
  readonly envelope: string;
  readonly summary: string;
  /** Wire schema of a POST body: types, units, defaults, limits, descriptions. */
  readonly schema: z.ZodType<W>;
  /** Name of the body in framework errors (`attr in body is required`). Default `attr`. */
  readonly bodyName?: string;
  /** Identity of an entry: two POSTs with one key are about one entry. */
  key(desired: S): string;
  /**
   * Pure: what the entry should be after this POST. Throws a coded error when the request makes no sense or changes
   * nothing; returns undefined when the request removes the entry. Default: the wire form replaces what was there.
   */
  merge?(request: W, stored: ReadonlyMap<string, S>): { key: string; desired: S | undefined };
  /**
   * Intent to data plane. Succeeds completely, or throws a coded error and has changed nothing. `asked` is there when a
   * client asked for it, and not when a change is taken back or comes from a stored state.
   */
  apply(desired: S, previous: S | undefined, asked?: Asked<W>): void;
  /** Takes the entry out of the data plane. */
  remove(previous: S, asked?: Asked<W>): void;
  /**
   * At start, once, with everything stored: makes the pinned maps equal to it. Entries that are right stay untouched.
   * Default: `apply` for each.
   */
  reconcile?(desired: readonly S[]): void;
  /** What GET shows: read from the data plane, not remembered. Called once per list for all entries. */
  status(desired: readonly S[]): readonly unknown[];
  readonly deletes: readonly DeleteForm<S>[];
  /** CLI verbs and tables. `defaultCommand` builds one from the schema. */
  readonly command: CommandSpec;
}

/** What the plugin itself may do with its resource besides serving it. */
export interface ResourceHandle<S> {
  /** The stored desired state. */
  list(): ReadonlyMap<string, S>;
}

/** Identity function that infers the types. */
export function defineResource<S, W = S>(definition: ResourceDefinition<S, W>): ResourceDefinition<S, W> {
  return definition;
}

export type { CommandSpec, TableSpec };
