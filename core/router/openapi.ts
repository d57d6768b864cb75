import { z } from '@loxilb/sdk';
import { BASE_PATH, type QueryType, type Route } from './route.js';

/** OpenAPI 3.1 document of the routes. Made when somebody asks, not at start. */
export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:([^/]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'LoxiLB', version, description: 'REST API of the loxilb daemon' },
    servers: [{ url: BASE_PATH }],
    paths,
    components: { schemas: { Success: SUCCESS, Error: ERROR, FrameworkError: FRAMEWORK_ERROR } },
  };
}

const SUCCESS = { type: 'object', properties: { result: { const: 'Success' } }, required: ['result'] };

const FRAMEWORK_ERROR = {
  type: 'object',
  description: 'Routing, negotiation, syntax and schema errors',
  properties: { code: { type: 'integer' }, message: { type: 'string' } },
  required: ['code', 'message'],
};

const ERROR = {
  type: 'object',
  properties: {
    code: { type: 'integer', description: 'HTTP status' },
    fields: { type: 'null' },
    message: { type: 'string', description: 'Text of the error class' },
    result: { type: 'string', description: 'Error string existing clients know' },
    error: {
      type: 'object',
      properties: {
        code: { type: 'string', description: 'Stable code, e.g. LB_RULE_EXISTS' },
        text: { type: 'string' },
        field: { type: 'string' },
        value: {},
        remedy: { type: 'string' },
      },
    },
  },
  required: ['code', 'message', 'result'],
};

function operation(route: Route): object {
  return {
    summary: route.summary,
    tags: [route.tag],
    'x-access': route.access,
    parameters: parameters(route),
    ...(route.body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: jsonSchema(route.body.schema, 'input') } },
      },
    }),
    responses: {
      200: {
        description: 'OK',
        content: { [route.contentType ?? 'application/json']: { schema: replySchema(route) } },
      },
      ...(route.body && { 422: errorResponse('Schema violation', 'FrameworkError') }),
      default: errorResponse('Refused', 'Error'),
    },
  };
}

function errorResponse(description: string, schema: string): object {
  return { description, content: { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } } };
}

function replySchema(route: Route): object {
  if (route.contentType) return { type: 'string' };
  if (route.reply) return jsonSchema(route.reply, 'output');
  return route.access === 'write' ? { $ref: '#/components/schemas/Success' } : {};
}

const QUERY_SCHEMA: Readonly<Record<QueryType, object>> = {
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  int64: { type: 'integer', format: 'int64' },
};

function parameters(route: Route): object[] {
  const inPath = [...route.path.matchAll(/:([^/]+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: route.numbers?.includes(name) ? 'number' : 'string' },
  }));
  const inQuery = Object.entries(route.query ?? {}).map(([name, type]) => ({
    name,
    in: 'query',
    schema: QUERY_SCHEMA[type],
  }));
  return [...inPath, ...inQuery];
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _dialect, ...document } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return document;
}
