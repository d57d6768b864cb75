import type { GetCommand, RenderedTable, TableSpec } from '@loxilb/sdk';

export interface RenderOptions {
  readonly wide: boolean;
  readonly flags: Readonly<Record<string, string>>;
}

/** Entries as the rows a terminal shows, for clients that do not have the plugin's own functions. */
export function renderTable(get: GetCommand, entries: readonly unknown[], options: RenderOptions): RenderedTable {
  const table = (options.wide && get.wide) || get.narrow;
  const shown = (entries as readonly never[]).filter(
    (entry) => !get.hide?.(entry) && (get.filter?.(entry, options.flags) ?? true),
  );
  const { sortKey } = get;
  if (sortKey) shown.sort((a, b) => compare(sortKey(a), sortKey(b)));
  return {
    columns: table.columns.map(({ title }) => title),
    rows: shown.flatMap((entry) => table.rows?.(entry) ?? [cellsOf(table, entry)]),
  };
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function cellsOf(table: TableSpec, entry: never): string[] {
  return table.columns.map(({ value }) => {
    const cell = typeof value === 'function' ? value(entry) : member(entry, value ?? '');
    return cell === undefined || cell === null ? '' : String(cell);
  });
}

function member(entry: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | null | undefined)?.[part], entry);
}
