/** Single-line cells longer than this are broken at spaces. */
const WRAP_WIDTH = 30;
const NUMBER = /^-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?$/;
/** Characters that take one column each and need no cleaning: printable, below the combining marks. */
const PLAIN = /^[\x20-\x7e\xa0-\u02ff]*$/;

export type MeasureWidth = (text: string) => number;

/** True when a cell has characters whose width needs Unicode tables. */
export function needsUnicodeWidth(rows: readonly (readonly string[])[]): boolean {
  return rows.some((row) => row.some((cell) => !PLAIN.test(cell.replaceAll('\n', ''))));
}

/** Lines of the table, titles first. `measure` is only asked about text that is not plain. */
export function renderTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  measure: MeasureWidth = (text) => text.length,
): string[] {
  const width = remembering(measure);
  const head = titles.map((title) => title.split('\n').map(titleText));
  const widths = head.map((lines) => Math.max(...lines.map(width)));
  const body = rows.map((row) => head.map((_, column) => layOut(row[column] ?? '', column, widths, width)));
  return [
    ...headLines(head, widths, width),
    `|${widths.map((columns) => '-'.repeat(columns + 2)).join('|')}|`,
    ...body.flatMap((cells) => rowLines(cells, widths, width)),
  ];
}

/** Unicode widths are slow to find, and names repeat. */
function remembering(measure: MeasureWidth): MeasureWidth {
  const known = new Map<string, number>();
  return (text) => {
    if (PLAIN.test(text)) return text.length;
    let columns = known.get(text);
    if (columns === undefined) {
      columns = measure(text);
      known.set(text, columns);
    }
    return columns;
  };
}

function titleText(title: string): string {
  return title
    .toUpperCase()
    .replaceAll('_', ' ')
    .replace(/(?<!\d)\.|\.(?!\d)/g, ' ');
}

/** The lines of a cell; widens its column. */
function layOut(cell: string, column: number, widths: number[], width: MeasureWidth): string | readonly string[] {
  if (PLAIN.test(cell) && cell.length <= WRAP_WIDTH) {
    if (cell.length > (widths[column] ?? 0)) widths[column] = cell.length;
    return cell;
  }
  const lines = cell.includes('\n') ? cell.split('\n').map(clean) : wrap(clean(cell), width);
  for (const line of lines) widths[column] = Math.max(widths[column] ?? 0, width(line));
  return lines;
}

/** Control characters in a name must not reach the terminal. */
function clean(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return line.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}

function headLines(head: readonly string[][], widths: readonly number[], width: MeasureWidth): string[] {
  const height = Math.max(...head.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) =>
    joined(head.map((lines, column) => centred(lines[line] ?? '', widths[column] ?? 0, width))),
  );
}

function rowLines(
  cells: readonly (string | readonly string[])[],
  widths: readonly number[],
  width: MeasureWidth,
): string[] {
  let height = 1;
  for (const cell of cells) if (typeof cell !== 'string' && cell.length > height) height = cell.length;
  const lines: string[] = [];
  for (let line = 0; line < height; line++) {
    lines.push(
      joined(
        cells.map((cell, column) => {
          const text = typeof cell !== 'string' ? (cell[line] ?? '') : line === 0 ? cell : '';
          return aligned(text, widths[column] ?? 0, width);
        }),
      ),
    );
  }
  return lines;
}

function joined(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function aligned(text: string, columns: number, width: MeasureWidth): string {
  const gap = ' '.repeat(columns - width(text));
  return NUMBER.test(text) ? gap + text : text + gap;
}

function centred(text: string, columns: number, width: MeasureWidth): string {
  const gap = columns - width(text);
  const left = Math.floor(gap / 2);
  return ' '.repeat(left) + text + ' '.repeat(gap - left);
}

/**
 * Breaks a text at spaces into lines of at most WRAP_WIDTH, or of the longest word. The breaks make the unused widths
 * even: least sum of squares over all lines but the last, the earliest break on a tie.
 */
function wrap(text: string, width: MeasureWidth): string[] {
  if (width(text) <= WRAP_WIDTH) return [text];
  const words = text.split(' ').filter((word) => word !== '');
  const limit = Math.max(WRAP_WIDTH, ...words.map(width));
  /** Best cost and end of the line that starts at a word; filled from the last word to the first. */
  const best: { cost: number; end: number }[] = [];
  for (let start = words.length - 1; start >= 0; start--) {
    let choice = { cost: Number.POSITIVE_INFINITY, end: words.length };
    let length = -1;
    for (let end = start + 1; end <= words.length; end++) {
      length += 1 + width(words[end - 1] ?? '');
      if (length > limit) break;
      const rest = best[end];
      const cost = rest ? (limit - length) ** 2 + rest.cost : 0;
      if (cost < choice.cost || end === words.length) choice = { cost, end };
    }
    best[start] = choice;
  }
  const lines: string[] = [];
  for (let start = 0; start < words.length; ) {
    const end = best[start]?.end ?? words.length;
    lines.push(words.slice(start, end).join(' '));
    start = end;
  }
  return lines;
}
