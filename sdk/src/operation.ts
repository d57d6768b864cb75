import type { z } from 'zod';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface OperationRequest {
  /** Path parameters, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** The body after its schema, undefined when the operation declares none. */
  readonly body: unknown;
}

/** A reply that is written as it is produced. The chunks must add up to one JSON document (or text). */
export interface StreamReply {
  readonly stream: AsyncIterable<Uint8Array | string>;
  /**
   * Each chunk is sent as it comes, for answers that wait for something to happen. When the client has gone or the
   * daemon stops, the iterator's `return` is called, also while a `next` is pending: a generator would not notice, so
   * write an iterator of your own.
   */
  readonly live?: boolean;
}

/**
 * One HTTP operation outside any resource. `path` is below `/netlox/v1`, with `:name` parameters.
 * Return a plain value (sent as JSON) or a `StreamReply`.
 */
export interface OperationSpec {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  /** Who may call it once authentication is on: `public` needs no token, `read` any token, `write` not a viewer's. */
  readonly access: 'public' | 'read' | 'write';
  readonly body?: z.ZodType;
  /** Example or schema of the reply for the OpenAPI page. */
  readonly reply?: z.ZodType;
  /** Content type of a text reply; JSON when absent. */
  readonly contentType?: string;
  handle(request: OperationRequest): unknown | Promise<unknown>;
}
