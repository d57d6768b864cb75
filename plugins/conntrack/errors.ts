import { LoxilbError } from '@loxilb/sdk';

/** A query parameter of `GET /config/conntrack/all` that no flow could match. */
export function badFilter(field: string, value: string, expected: string): LoxilbError {
  return new LoxilbError(`invalid parameters: ${field} is not ${expected}: ${value}`, {
    code: 'CONNTRACK_FILTER_INVALID',
    status: 400,
    field,
    value,
    remedy: `give ${field} as ${expected}`,
  });
}
