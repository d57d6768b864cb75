/**
 * Breaks a text at spaces into lines of at most `limit` columns, or of its longest word. The breaks make the unused
 * widths even: least sum of squares over all lines but the last, the earliest break on a tie.
 */
export function wrap(text: string, limit: number, width: (text: string) => number): string[] {
  if (!text.includes(' ') || width(text) <= limit) return [text];
  const words = text.split(' ').filter((word) => word !== '');
  const ends = bestBreaks(words.map(width), limit);
  const lines: string[] = [];
  for (let start = 0; start < words.length; ) {
    const end = ends[start] ?? words.length;
    lines.push(words.slice(start, end).join(' '));
    start = end;
  }
  return lines;
}

/** For each word: where the line that starts with it ends. Filled from the last word to the first. */
function bestBreaks(widths: readonly number[], limit: number): number[] {
  const room = Math.max(limit, ...widths);
  const costs: number[] = [];
  const ends: number[] = [];
  for (let start = widths.length - 1; start >= 0; start--) {
    let length = -1;
    for (let end = start + 1; end <= widths.length; end++) {
      length += 1 + (widths[end - 1] ?? 0);
      if (length > room) break;
      const cost = end === widths.length ? 0 : (room - length) ** 2 + (costs[end] ?? 0);
      const best = costs[start] ?? Number.POSITIVE_INFINITY;
      if (cost < best || end === widths.length) {
        costs[start] = cost;
        ends[start] = end;
      }
    }
  }
  return ends;
}
