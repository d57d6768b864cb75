import type { RoundsResult } from './rounds.js';
import { ROWS, type Row, type RowId } from './rows.js';
import type { Runner } from './slices.js';
import { type Summary, summarise } from './statistics.js';

/** The contender all others are compared with. */
export const REFERENCE = 'direct';

export interface Cell extends Summary {
  /** Median over the rounds of this contender's figure divided by the reference's of the same round. */
  readonly ratio: number;
}

export type TrafficReport = Record<string, Partial<Record<RowId, Cell>>>;

export function reportTraffic(runners: readonly Runner[], result: RoundsResult): TrafficReport {
  return Object.fromEntries(
    runners.map((runner) => [
      runner.name,
      Object.fromEntries(
        ROWS.flatMap((row) => {
          const cell = cellOf(result, runner.name, row.id);
          return cell ? [[row.id, cell]] : [];
        }),
      ),
    ]),
  );
}

function cellOf(result: RoundsResult, contender: string, row: RowId): Cell | undefined {
  const own = result.rounds.map((round) => round.get(contender)?.[row] ?? Number.NaN);
  const summary = summarise(own);
  if (!summary) return undefined;
  const reference = result.rounds.map((round) => round.get(REFERENCE)?.[row] ?? Number.NaN);
  const ratio = summarise(own.map((value, index) => value / (reference[index] as number)))?.median ?? Number.NaN;
  return { ...summary, ratio };
}

/** The whole as Markdown: medians with ratios, then the spread of every figure. */
export function formatTraffic(runners: readonly Runner[], report: TrafficReport): string {
  const names = runners.map((runner) => runner.title);
  const medians = ROWS.map((row) => [
    heading(row),
    ...runners.map((runner) => formatMedian(row, report[runner.name]?.[row.id], runner.name)),
  ]);
  const spread = ROWS.map((row) => [
    heading(row),
    ...runners.map((runner) => formatSpread(row, report[runner.name]?.[row.id])),
  ]);
  return `${formatTable(['median (ratio to direct)', ...names], medians)}\n\n${formatTable(['min .. max', ...names], spread)}`;
}

function heading(row: Row): string {
  return `${row.title.replace(/^ {2}/, '- ')} [${row.unit}]`;
}

function formatMedian(row: Row, cell: Cell | undefined, contender: string): string {
  if (!cell) return '-';
  const value = cell.median.toFixed(row.digits);
  return contender === REFERENCE ? value : `${value} (${cell.ratio.toFixed(2)}x)`;
}

function formatSpread(row: Row, cell: Cell | undefined): string {
  return cell ? `${cell.min.toFixed(row.digits)} .. ${cell.max.toFixed(row.digits)}` : '-';
}

/** A Markdown table with aligned columns. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((text, column) => Math.max(text.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
