import { finished } from 'node:stream/promises';
import type { CommandSpec, FlagValue, GetCommand, RenderedTable, TableSpec } from '@loxilb/sdk/command';
import type { Client } from './client.js';
import { JsonIndent } from './json-indent.js';
import { errorStream, printFailure } from './result.js';
import { needsUnicodeWidth, renderTable } from './table.js';
import { type Output, printLine, type Terminal } from './terminal.js';

/** Lines written at once: large tables must not become one huge string. */
const LINES_PER_WRITE = 2000;

export interface Session {
  readonly terminal: Terminal;
  readonly client: Client;
  readonly output: Output;
}

type Flags = Readonly<Record<string, FlagValue>>;

/** `get <object>`. True when it was a success. */
export async function runGet(session: Session, spec: CommandSpec, flags: Flags): Promise<boolean> {
  const { get } = spec;
  const narrowing = Object.values(flags).some((value) => value !== undefined);
  const path = pathOf(spec, flags);
  if (session.output === 'json' && (!narrowing || get?.query !== undefined)) return streamJson(session, spec, path);
  if (get === undefined && session.output !== 'yaml') return showRendered(session, spec);
  const body = await fetchJson(session, spec, path);
  if (body === undefined) return false;
  if (get?.single) await showSingle(session, get, body);
  else await showList(session, spec, body as Record<string, unknown>, flags);
  return true;
}

function pathOf({ path, get }: CommandSpec, flags: Flags): string {
  const query = new URLSearchParams(get?.query?.(flags) ?? {});
  return `${get?.path ?? `${path}/all`}${query.size > 0 ? `?${query}` : ''}`;
}

/** The daemon's JSON as it is, indented on the way. */
async function streamJson({ client, terminal, output }: Session, spec: CommandSpec, path: string): Promise<boolean> {
  const response = await client.open('GET', path);
  if (response.statusCode !== 200) {
    const text = await client.read('GET', path, response);
    printFailure(terminal, output, spec, { status: response.statusCode ?? 0, text });
    return false;
  }
  const indent = new JsonIndent();
  response.on('error', (error) => indent.destroy(error));
  response.pipe(indent).pipe(terminal.stdout, { end: false });
  try {
    await finished(indent);
  } catch (error) {
    printLine(terminal.stderr, `Error: Failed to read HTTP response: (${(error as Error).message})`);
    return false;
  }
  return true;
}

/** Undefined after a failure, which has been printed. */
async function fetchJson(session: Session, spec: CommandSpec, path: string): Promise<unknown> {
  const { client, terminal, output } = session;
  const answer = await client.request('GET', path);
  if (answer.status !== 200) {
    printFailure(terminal, output, spec, answer);
    return undefined;
  }
  try {
    return JSON.parse(answer.text);
  } catch (error) {
    const reason = (error as SyntaxError).message;
    printLine(errorStream(terminal, output), `Error: Failed to unmarshal HTTP response: (${reason})`);
    return undefined;
  }
}

async function showSingle(session: Session, get: GetCommand, body: unknown): Promise<void> {
  if (session.output === 'yaml') await printYaml(session, [body]);
  else await printTable(session, tableFor(session, get), [body]);
}

async function showList(
  session: Session,
  spec: CommandSpec,
  body: Readonly<Record<string, unknown>>,
  flags: Flags,
): Promise<void> {
  const { get } = spec;
  const all = (body[spec.envelope] ?? []) as readonly unknown[];
  const entries = get?.filter ? all.filter((entry) => get.filter?.(entry as never, flags)) : all;
  if (session.output === 'json') {
    printLine(session.terminal.stdout, JSON.stringify({ ...body, [spec.envelope]: entries }, null, 4));
  } else if (session.output === 'yaml') await printYaml(session, yamlDocuments(spec, entries));
  else if (get) await printTable(session, tableFor(session, get), sorted(get, entries));
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

/** Byte order for texts; entries of equal keys keep the daemon's order. */
function sorted(get: GetCommand, entries: readonly unknown[]): readonly unknown[] {
  const shown = get.hide ? entries.filter((entry) => !get.hide?.(entry as never)) : entries;
  if (!get.sortKey) return shown;
  return shown
    .map((entry) => ({ entry, key: get.sortKey?.(entry as never) ?? '' }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ entry }) => entry);
}

async function printTable(session: Session, table: TableSpec, entries: readonly unknown[]): Promise<void> {
  const cells = table.columns.map(({ value }) => (typeof value === 'function' ? value : memberReader(value ?? '')));
  const rows = table.rows
    ? entries.flatMap((entry) => table.rows?.(entry as never) ?? [])
    : entries.map((entry) => cells.map((cell) => cell(entry as never)));
  if (rows.length === 0 && !table.titlesWhenEmpty) return;
  await printRows(
    session,
    table.columns.map(({ title }) => title),
    rows,
  );
}

function memberReader(path: string): (entry: never) => string {
  const parts = path.split('.');
  return (entry) => {
    let value: unknown = entry;
    for (const part of parts) value = (value as Record<string, unknown> | null | undefined)?.[part];
    return value === undefined || value === null ? '' : String(value);
  };
}

async function printRows(
  { terminal }: Session,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<void> {
  const measure = needsUnicodeWidth(rows) ? (await import('string-width')).default : undefined;
  const lines = renderTable(titles, rows, measure && ((text) => measure(text)));
  for (let start = 0; start < lines.length; start += LINES_PER_WRITE) {
    terminal.stdout.write(`${lines.slice(start, start + LINES_PER_WRITE).join('\n')}\n`);
  }
}

/** A plugin this client was not built with: the daemon lays out the cells. */
async function showRendered(session: Session, spec: CommandSpec): Promise<boolean> {
  const path = `/commands/${encodeURIComponent(spec.name)}/table?wide=${session.output === 'wide'}`;
  const table = (await fetchJson(session, spec, path)) as RenderedTable | undefined;
  if (table === undefined) return false;
  if (table.rows.length > 0) await printRows(session, table.columns, table.rows);
  return true;
}
