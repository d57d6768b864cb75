/** Equal member by member: what a map would hold is the same. */
export function sameFields<T extends object>(a: T, b: T): boolean {
  for (const name in a) if (a[name] !== b[name]) return false;
  return true;
}
