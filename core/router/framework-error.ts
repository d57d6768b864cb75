/**
 * Errors of the HTTP layer itself: routing, negotiation, syntax, schema. Clients know them as `{code, message}`
 * without any further member, with codes above 600 for schema violations (sent as 422).
 */
export class FrameworkError extends Error {
  override name = 'FrameworkError';
  readonly status: number;

  constructor(
    readonly code: number,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = code >= 600 ? 422 : code;
  }

  /** No line break at the end, unlike the bodies of handlers. */
  body(): string {
    return JSON.stringify({ code: this.code, message: this.message });
  }
}

/** go-openapi's numbers of schema violations. */
export const VIOLATION = {
  type: 601,
  required: 602,
  tooLong: 603,
  tooShort: 604,
  pattern: 605,
  enum: 606,
  multipleOf: 607,
  maximum: 608,
  minimum: 609,
  maxItems: 611,
  minItems: 612,
  forbidden: 616,
} as const;

export function pathNotFound(path: string): FrameworkError {
  return new FrameworkError(404, `path ${path} was not found`);
}

export function methodNotAllowed(method: string, allowed: readonly string[]): FrameworkError {
  const list = allowed.join(',');
  return new FrameworkError(405, `method ${method} is not allowed, but [${list}] are`, { allow: list });
}

export function notAcceptable(available: readonly string[]): FrameworkError {
  return new FrameworkError(406, `unsupported media type requested, only [${available.join(' ')}] are available`);
}

export function unsupportedMediaType(given: string): FrameworkError {
  return new FrameworkError(
    415,
    `unsupported media type ${JSON.stringify(given)}, only [application/json] are allowed`,
  );
}

export function unparsable(bodyName: string, reason: string): FrameworkError {
  return new FrameworkError(400, `parsing ${bodyName} body from "" failed, because ${reason}`);
}

export function required(path: string): FrameworkError {
  return new FrameworkError(VIOLATION.required, `${path} in body is required`);
}

export function wrongParameterType(name: string, place: 'path' | 'query', type: string, given: string): FrameworkError {
  return new FrameworkError(VIOLATION.type, `${name} in ${place} must be of type ${type}: ${JSON.stringify(given)}`);
}
