import { LoxilbError } from './errors.js';
import type { DeleteForm } from './resource.js';

/**
 * The DELETE form of a resource whose key stands in the path.
 *
 * @param path below the resource's path; its parameters, joined by `|`, are the key: `/name/:name`
 * @param what noun of the not-found error, e.g. `greeting`
 */
export function deleteByKey<S>(path: string, what: string): DeleteForm<S> {
  const names = [...path.matchAll(/:([^/]+)/g)].map(([, name = '']) => name);
  return {
    path,
    summary: `Delete a ${what}`,
    select({ params }, stored) {
      const key = names.map((name) => params[name] ?? '').join('|');
      if (stored.has(key)) return [key];
      throw new LoxilbError(`${what} ${key} not found`, {
        code: `${what.toUpperCase().replace(/[^A-Z0-9]+/g, '_')}_UNKNOWN`,
        status: 404,
        field: names.join(','),
        value: key,
        remedy: `list what there is: loxicmd get ${what}`,
      });
    },
  };
}
