type Version = readonly [number, number, number];

/**
 * Whether a version is inside `^1.2.3`, `~1.2.3`, `1.2.3` or `*`. Below 1.0.0 a caret allows only later patches of the
 * same minor version, as npm has it. Anything else is not a range we read, and then the answer is no.
 */
export function satisfies(version: string, range: string): boolean {
  if (range.trim() === '*') return true;
  const match = /^([\^~]?)(\d+\.\d+\.\d+)$/.exec(range.trim());
  if (!match) return false;
  const [wanted, given] = [parse(match[2] as string), parse(version)];
  if (!wanted || !given) return false;
  if (match[1] === '') return compare(given, wanted) === 0;
  return compare(given, wanted) >= 0 && compare(given, ceiling(wanted, match[1] === '^')) < 0;
}

function ceiling([major, minor, patch]: Version, caret: boolean): Version {
  if (!caret) return [major, minor + 1, 0];
  if (major > 0) return [major + 1, 0, 0];
  return minor > 0 ? [0, minor + 1, 0] : [0, 0, patch + 1];
}

function parse(text: string): Version | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(text);
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
