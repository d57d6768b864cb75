import type { z } from 'zod';
import { required, unparsable } from './framework-error.js';
import { JsonScanError, scanFirstValue } from './json-scan.js';
import { type BodyRules, firstViolation } from './violations.js';
import { normalize, wireShape } from './wire-shape.js';

/** Reads bodies of one operation. */
export type BodyReader = (bytes: Buffer | undefined) => unknown;

/**
 * @param bodyName what framework errors call the body
 * @param typeName what they call its type
 */
export function bodyReader(schema: z.ZodType, bodyName: string, typeName: string): BodyReader {
  const rules: BodyRules = { bodyName, shape: wireShape(schema, typeName) };
  return (bytes) => {
    const given = parseBody(bytes, bodyName);
    // Go leaves the zero value behind for a body that is `null`: an object without members.
    const body = normalize(rules.shape, given === null && rules.shape.kind === 'object' ? {} : given);
    const checked = schema.safeParse(body);
    if (checked.success) return checked.data;
    throw firstViolation(checked.error.issues, body, rules);
  };
}

/** The first JSON value; what follows it is ignored, as clients know it. */
function parseBody(bytes: Buffer | undefined, bodyName: string): unknown {
  if (!bytes || bytes.length === 0) throw required(bodyName);
  const text = bytes.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    if (text.trim() === '') throw required(bodyName);
    return parseFirstValue(bytes, bodyName);
  }
}

function parseFirstValue(bytes: Buffer, bodyName: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8', 0, scanFirstValue(bytes)));
  } catch (error) {
    throw unparsable(bodyName, error instanceof JsonScanError ? error.message : 'unexpected EOF');
  }
}
