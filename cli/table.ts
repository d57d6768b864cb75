import { wrap } from './wrap.js';

/** Single-line cells longer than this are broken at spaces. */
const WRAP_WIDTH = 30;
const NUMBER = /^-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?$/;
/** Characters that take one column each and need no cleaning: printable, below the combining marks. */
const PLAIN = /^[\x20-\x7e\xa0-\u02ff]*$/;

export type MeasureWidth = (text: string) => number;

/**
 * A table in the form of the Go client, which scripts cut apart with `cut -d'|'` and `grep '^| 1.1.1.1 |'`. Rows are
 * kept as they come and laid out while they are written: a table of connections can have a million of them.
 */
export class Table {
  readonly #head: readonly (readonly string[])[];
  readonly #rows: (readonly string[])[] = [];
  #multiline = false;
  #unicode = false;

  constructor(titles: readonly string[]) {
    this.#head = titles.map((title) => title.split('\n').map(titleText));
  }

  get size(): number {
    return this.#rows.length;
  }

  /** Some text is wider or narrower than its length: `lines` wants a measure. */
  get needsMeasure(): boolean {
    return this.#unicode;
  }

  add(row: readonly string[]): void {
    const last = this.#rows.at(-1);
    this.#rows.push(
      this.#head.map((_, column) => {
        const cell = row[column] ?? '';
        const above = last?.[column];
        // Neighbours are often equal: keep one string for both.
        if (above === cell) return above;
        return PLAIN.test(cell) ? cell : this.#special(cell);
      }),
    );
  }

  /** Titles first. */
  *lines(measure: MeasureWidth = (text) => text.length): Iterable<string> {
    const width: MeasureWidth = this.#unicode ? remembering(measure) : (text) => text.length;
    const widths = this.#widths(width);
    yield* cellLines(this.#head, (text, column) => centred(text, widths[column] ?? 0, width));
    yield `|${widths.map((columns) => '-'.repeat(columns + 2)).join('|')}|`;
    const align = (text: string, column: number): string => aligned(text, widths[column] ?? 0, width);
    for (const row of this.#rows) {
      if (row.some((cell) => this.#isTall(cell))) {
        const cells = row.map((cell) => this.#cellLines(cell, width));
        yield* cellLines(cells, align);
      } else yield joined(row.map(align));
    }
  }

  /** Control characters in a name must not reach the terminal. */
  #special(cell: string): string {
    if (cell.includes('\n')) this.#multiline = true;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
    const clean = cell.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g, '?');
    if (!PLAIN.test(clean.replaceAll('\n', ''))) this.#unicode = true;
    return clean;
  }

  #isTall(cell: string): boolean {
    return cell.length > WRAP_WIDTH ? true : this.#multiline && cell.includes('\n');
  }

  #cellLines(cell: string, width: MeasureWidth): readonly string[] {
    if (!this.#isTall(cell)) return [cell];
    return cell.includes('\n') ? cell.split('\n') : wrap(cell, WRAP_WIDTH, width);
  }

  #widths(width: MeasureWidth): number[] {
    const widths = this.#head.map((lines) => Math.max(...lines.map(width)));
    for (const row of this.#rows) {
      for (const [column, cell] of row.entries()) {
        if (cell.length <= (widths[column] ?? 0) && !this.#unicode) continue;
        for (const line of this.#cellLines(cell, width)) {
          widths[column] = Math.max(widths[column] ?? 0, width(line));
        }
      }
    }
    return widths;
  }
}

function titleText(title: string): string {
  return title
    .toUpperCase()
    .replaceAll('_', ' ')
    .replace(/(?<!\d)\.|\.(?!\d)/g, ' ');
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

/** As many lines as the tallest cell has; shorter ones are blank below. */
function* cellLines(
  cells: readonly (readonly string[])[],
  pad: (text: string, column: number) => string,
): Iterable<string> {
  const height = Math.max(...cells.map((lines) => lines.length));
  for (let line = 0; line < height; line++) yield joined(cells.map((lines, column) => pad(lines[line] ?? '', column)));
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
