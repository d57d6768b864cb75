/** Close enough to be a slip: at most two edits apart, or the beginning of the word. */
export function isNear(given: string, word: string): boolean {
  return word.startsWith(given.toLowerCase()) || editDistance(given.toLowerCase(), word) <= 2;
}

/** Levenshtein, a row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
