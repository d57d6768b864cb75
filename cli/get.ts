import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { CommandSpec, FlagValue, GetCommand, RenderedTable, TableSpec } from '@loxilb/sdk/command';
import type { Client } from './client.js';
import { readEntries } from './json-entries.js';
import { JsonIndent } from './json-indent.js';
import { errorStream, printFailure } from './result.js';
import { Table } from './table.js';
import { type Output, printLine, type Terminal } from './terminal.js';

/** Lines written at once: fewer are slow, all of them are one huge string. */
const LINES_PER_WRITE = 2000;

const OPEN_BRACE = 0x7b;
const NEWLINE = 0x0a;

export interface Session {
  readonly terminal: Terminal;
  readonly client: Client;
  readonly output: Output;
}

type Flags = Readonly<Record<string, FlagValue>>;

/** `get <object>`. True when it was a success. */
export async function runGet(session: Session, spec: CommandSpec, flags: Flags): Promise<boolean> {
  const { get } = spec;
  const { client, terminal, output } = session;
  const rendered = get === undefined && output !== 'json' && output !== 'yaml';
  const path = rendered ? renderedPath(spec, output) : pathOf(spec, flags, output);
  const response = await client.open('GET', path);
  if (response.statusCode !== 200) {
    const text = await client.read('GET', path, response);
    printFailure(terminal, output, spec, { status: response.statusCode ?? 0, text });
    return false;
  }
  try {
    if (rendered) await showRendered(session, response);
    else if (get?.single) await showSingle(session, get, response);
    else await showList(session, spec, response, flags);
    return true;
  } catch (error) {
    const stream = errorStream(terminal, output);
    if (error instanceof SyntaxError) {
      printLine(stream, `Error: Failed to unmarshal HTTP response: (${error.message})`);
    } else throw client.explain('GET', path, error);
    return false;
  }
}

function pathOf({ path, get }: CommandSpec, flags: Flags, output: Output): string {
  const query = new URLSearchParams(get?.query?.(flags) ?? {});
  if (get?.indents && output === 'json') query.set('indent', '4');
  return `${get?.path ?? `${path}/all`}${query.size > 0 ? `?${query}` : ''}`;
}

function renderedPath({ name }: CommandSpec, output: Output): string {
  return `/commands/${encodeURIComponent(name)}/table?wide=${output === 'wide'}`;
}

async function showSingle(session: Session, get: GetCommand, response: Readable): Promise<void> {
  if (session.output === 'json') return indented(session, response);
  const body: unknown = JSON.parse(await textOf(response));
  if (session.output === 'yaml') return printYaml(session, [body]);
  const list = new ListedTable(tableFor(session, get), get);
  list.add(body);
  await list.print(session);
}

/** Entries are taken one by one as they arrive; JSON without a filter is not even parsed. */
async function showList(session: Session, spec: CommandSpec, response: Readable, flags: Flags): Promise<void> {
  const { get } = spec;
  const { output, terminal } = session;
  const narrowing = Object.values(flags).some((value) => value !== undefined);
  if (output === 'json' && (!narrowing || get?.query !== undefined)) return indented(session, response);
  const keep = (entry: unknown): boolean => get?.filter?.(entry as never, flags) ?? true;
  if (get && output !== 'json' && output !== 'yaml') {
    const list = new ListedTable(tableFor(session, get), get);
    await readEntries(response, spec.envelope, (entry) => {
      if (keep(entry)) list.add(entry);
    });
    return list.print(session);
  }
  const entries: unknown[] = [];
  await readEntries(response, spec.envelope, (entry) => {
    if (keep(entry)) entries.push(entry);
  });
  if (output === 'json') printLine(terminal.stdout, JSON.stringify({ [spec.envelope]: entries }, null, 4));
  else await printYaml(session, yamlDocuments(spec, entries));
}

/** The daemon's JSON as it is: indented on the way, unless the daemon has done so itself. */
async function indented({ terminal }: Session, response: Readable): Promise<void> {
  if (await isIndented(response)) await pipeline(response, terminal.stdout, { end: false });
  else await pipeline(response, new JsonIndent(), terminal.stdout, { end: false });
}

/** Tells by the line break behind the first brace. */
async function isIndented(response: Readable): Promise<boolean> {
  if (response.readableLength === 0 && !response.readableEnded) await once(response, 'readable');
  const start = response.read() as Buffer | null;
  if (start === null) return false;
  response.unshift(start);
  return start[0] === OPEN_BRACE && start[1] === NEWLINE;
}

/** What `apply -f` can read back, where the object can be created; the list as it is where not. */
function yamlDocuments(spec: CommandSpec, entries: readonly unknown[]): unknown[] {
  if (!spec.create || !spec.kind) return [{ [spec.envelope]: entries }];
  return entries.map((entry) => ({ apiVersion: 'netlox/v1', kind: spec.kind, spec: entry }));
}

async function printYaml({ terminal }: Session, documents: readonly unknown[]): Promise<void> {
  const { stringify } = await import('yaml');
  terminal.stdout.write(documents.map((document) => stringify(document)).join('---\n'));
}

function tableFor({ output }: Session, get: GetCommand): TableSpec {
  return (output === 'wide' ? get.wide : undefined) ?? get.narrow;
}

/** Rows of the entries that are shown, in the order of the command's key. */
class ListedTable {
  readonly #spec: TableSpec;
  readonly #get: GetCommand;
  readonly #cells: readonly ((entry: never) => string)[];
  readonly #entries: { readonly key: string | number; readonly rows: readonly (readonly string[])[] }[] = [];

  constructor(spec: TableSpec, get: GetCommand) {
    this.#spec = spec;
    this.#get = get;
    this.#cells = spec.columns.map(({ value }) => (typeof value === 'function' ? value : memberReader(value ?? '')));
  }

  add(entry: unknown): void {
    if (this.#get.hide?.(entry as never)) return;
    const rows = this.#spec.rows?.(entry as never) ?? [this.#cells.map((cell) => cell(entry as never))];
    this.#entries.push({ key: this.#get.sortKey?.(entry as never) ?? 0, rows });
  }

  /** Byte order for texts; entries of equal keys keep the daemon's order. */
  async print(session: Session): Promise<void> {
    this.#entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    const table = new Table(this.#spec.columns.map(({ title }) => title));
    for (const { rows } of this.#entries) for (const row of rows) table.add(row);
    this.#entries.length = 0;
    if (table.size > 0 || this.#spec.titlesWhenEmpty) await printTable(session, table);
  }
}

function memberReader(path: string): (entry: never) => string {
  const parts = path.split('.');
  return (entry) => {
    let value: unknown = entry;
    for (const part of parts) value = (value as Record<string, unknown> | null | undefined)?.[part];
    return value === undefined || value === null ? '' : String(value);
  };
}

/** A plugin this client was not built with: the daemon lays out the cells. */
async function showRendered(session: Session, response: Readable): Promise<void> {
  const { columns, rows } = JSON.parse(await textOf(response)) as RenderedTable;
  const table = new Table(columns);
  for (const row of rows) table.add(row);
  if (table.size > 0) await printTable(session, table);
}

async function printTable({ terminal }: Session, table: Table): Promise<void> {
  const measure = table.needsMeasure ? (await import('string-width')).default : undefined;
  let batch: string[] = [];
  for (const line of table.lines(measure && ((text) => measure(text)))) {
    batch.push(line);
    if (batch.length < LINES_PER_WRITE) continue;
    await write(terminal.stdout, `${batch.join('\n')}\n`);
    batch = [];
  }
  if (batch.length > 0) await write(terminal.stdout, `${batch.join('\n')}\n`);
}

/** Waits while the reader of our output is slow. */
async function write(stream: Writable, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain');
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
