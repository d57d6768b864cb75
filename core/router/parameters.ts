import { wrongParameterType } from './framework-error.js';
import type { QueryType, Route } from './route.js';

/** A decimal number as Go's ParseFloat reads it. */
const FLOAT = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INT64 = /^[+-]?\d{1,19}$/;
const TRUE_WORDS = new Set(['true', '1', 'yes', 'ok', 'y', 'on', 'selected', 'checked', 't', 'enabled']);

export function checkPathNumbers(route: Route, params: Readonly<Record<string, string>>): void {
  for (const name of route.numbers ?? []) {
    const given = params[name] ?? '';
    if (!FLOAT.test(given)) throw wrongParameterType(name, 'path', 'float64', given);
  }
}

/**
 * Query parameters as one text each: the last one wins, empty ones are absent, booleans become `true` or `false` by the
 * words clients use.
 */
export function readQuery(route: Route, given: Readonly<Record<string, string | string[]>>): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    const text = Array.isArray(value) ? (value.at(-1) ?? '') : value;
    if (text === '') continue;
    query[name] = convert(name, text, route.query?.[name]);
  }
  return query;
}

function convert(name: string, text: string, type: QueryType | undefined): string {
  if (type === 'boolean') return String(TRUE_WORDS.has(text.toLowerCase()));
  if (type === 'int64' && !INT64.test(text)) throw wrongParameterType(name, 'query', 'int64', text);
  return text;
}
