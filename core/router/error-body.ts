import { STATUS_CODES } from 'node:http';
import { isLoxilbError, type LoxilbError } from '@loxilb/sdk';
import { messageOfStatus } from './error-classes.js';
import { FrameworkError } from './framework-error.js';

/** `current` has honest status codes (B), `legacy` answers 200 to everything a handler says (A). */
export type Dialect = 'current' | 'legacy';

export interface ErrorReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Any error as clients of the dialect expect it. Errors nobody foresaw say nothing of what went on inside. */
export function errorReply(error: unknown, dialect: Dialect): ErrorReply {
  if (error instanceof FrameworkError) return { status: error.status, headers: error.headers, body: error.body() };
  if (isLoxilbError(error)) return codedReply(error, dialect);
  return transportReply(error) ?? UNFORESEEN;
}

function codedReply(error: LoxilbError, dialect: Dialect): ErrorReply {
  if (dialect === 'legacy' || error.status === 200) return reply(200, { result: error.result });
  return reply(error.status, {
    code: error.status,
    fields: null,
    message: messageOfStatus(error.status, error.result),
    result: error.result,
    error: { code: error.code, text: error.message, field: error.field, value: error.value, remedy: error.remedy },
  });
}

/** Complaints of the HTTP server itself, e.g. a body over the limit. */
function transportReply(error: unknown): ErrorReply | undefined {
  const { statusCode, message } = error as { statusCode?: unknown; message?: unknown };
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined;
  const text = statusCode === 413 ? 'request body is too large' : String(message);
  return reply(statusCode, {
    code: statusCode,
    fields: null,
    message: STATUS_CODES[statusCode] ?? 'Bad Request',
    result: text,
    error: { code: statusCode === 413 ? 'API_BODY_TOO_LARGE' : 'API_BAD_REQUEST', text },
  });
}

const UNFORESEEN = reply(500, {
  code: 500,
  fields: null,
  message: 'internal error',
  result: 'internal error',
  error: { code: 'INTERNAL', remedy: 'see the log of the daemon' },
});

function reply(status: number, body: object): ErrorReply {
  const text = JSON.stringify(body, (_key, value) => (typeof value === 'bigint' ? String(value) : value));
  return { status, headers: {}, body: `${text}\n` };
}
