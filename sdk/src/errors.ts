/**
 * Coded errors. One class for the whole product: a plugin declares its codes in one table and throws
 * `new LoxilbError(...)` where it knows what is wrong; the router turns it into the wire's error body.
 *
 * A brand (a registered symbol) identifies instances, because a third-party plugin may carry its own copy of this
 * package and `instanceof` would then lie.
 */
const BRAND = Symbol.for('loxilb.error');

export interface LoxilbErrorDetails {
  /** Stable code, area then fault: `LB_RULE_EXISTS`. */
  readonly code: string;
  /** HTTP status of dialect B. */
  readonly status: number;
  /** The text existing clients know (guide, appendix 3), sent as `result`. Defaults to the message. */
  readonly result?: string;
  /** Dotted path of the offending request member, e.g. `endpoints.0.weight`. */
  readonly field?: string;
  /** The offending value, as given. Never a secret. */
  readonly value?: unknown;
  /** What the operator can do about it. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

export class LoxilbError extends Error {
  readonly code: string;
  readonly status: number;
  readonly result: string;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly remedy: string | undefined;
  readonly [BRAND] = true;

  constructor(message: string, details: LoxilbErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'LoxilbError';
    this.code = details.code;
    this.status = details.status;
    this.result = details.result ?? message;
    this.field = details.field;
    this.value = details.value;
    this.remedy = details.remedy;
  }
}

export function isLoxilbError(error: unknown): error is LoxilbError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[BRAND] === true;
}
