import { BASE_PATH, type Route } from './route.js';

/** Answers which methods a path has, for the 405 of a path that exists. Only wrong requests ask. */
export class PathIndex {
  readonly #patterns = new Map<string, { readonly segments: readonly string[]; readonly methods: Set<string> }>();

  add(route: Pick<Route, 'method' | 'path'>): void {
    const entry = this.#patterns.get(route.path) ?? {
      segments: `${BASE_PATH}${route.path}`.split('/'),
      methods: new Set<string>(),
    };
    entry.methods.add(route.method);
    this.#patterns.set(route.path, entry);
  }

  /** Sorted; empty when nothing is at this path. */
  methodsOf(path: string): string[] {
    const segments = path
      .replace(/\/+/g, '/')
      .replace(/(.)\/$/, '$1')
      .split('/');
    const methods = [...this.#patterns.values()]
      .filter((pattern) => matches(pattern.segments, segments))
      .flatMap((pattern) => [...pattern.methods]);
    return [...new Set(methods)].sort();
  }
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  return (
    pattern.length === segments.length &&
    pattern.every((part, index) => part === segments[index] || (part.startsWith(':') && segments[index] !== ''))
  );
}
