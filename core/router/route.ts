import type { Method, OperationRequest } from '@loxilb/sdk';
import type { z } from 'zod';

/** Everything is served below it. */
export const BASE_PATH = '/netlox/v1';

export type QueryType = 'string' | 'boolean' | 'int64';

/** One HTTP operation, whoever it comes from: a resource, a plugin's operation, or the core. */
export interface Route {
  readonly method: Method;
  /** Below the base path, with `:name` parameters. */
  readonly path: string;
  readonly summary: string;
  /** Group on the OpenAPI page. */
  readonly tag: string;
  readonly access: 'public' | 'read' | 'write';
  readonly body?: { readonly schema: z.ZodType; readonly name: string; readonly typeName: string };
  readonly reply?: z.ZodType;
  /** Of a text reply; JSON when absent. */
  readonly contentType?: string;
  /** Path parameters that must be numbers. */
  readonly numbers?: readonly string[];
  readonly query?: Readonly<Record<string, QueryType>>;
  /** Written to the audit log: who asked for what, and how it ended. */
  readonly audited?: boolean;
  handle(request: RouteRequest): unknown | Promise<unknown>;
}

export interface RouteRequest extends OperationRequest {
  /** Collects what the audit line should say, e.g. the keys that were changed. */
  readonly audit: Record<string, unknown>;
}
