import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '@loxilb/sdk';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { type BodyReader, bodyReader } from './body.js';
import { type Dialect, errorReply } from './error-body.js';
import { FrameworkError, methodNotAllowed, pathNotFound } from './framework-error.js';
import { checkAccept, checkContentType } from './negotiate.js';
import { checkPathNumbers, readQuery } from './parameters.js';
import { PathIndex } from './path-index.js';
import { BASE_PATH, type Route } from './route.js';
import { isStreamReply, LiveStreams, openStream } from './stream.js';

export interface ServerOptions {
  readonly routes: readonly Route[];
  readonly dialect: Dialect;
  readonly log: Logger;
  readonly audit: Logger;
  /** Bytes of the longest body accepted. */
  readonly bodyLimit?: number;
  /** Serves paths outside the API; tells whether it took the request. */
  readonly outside?: (request: FastifyRequest, reply: FastifyReply) => boolean;
}

/** 32 endpoints take about 4 KB; this leaves room for any resource of later features. */
const BODY_LIMIT = 4 * 1024 * 1024;

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, PUT, DELETE, OPTIONS',
  'access-control-allow-headers': 'Content-Type, Authorization, X-Requested-With',
  'access-control-allow-credentials': 'true',
  'access-control-max-age': '86400',
};

/** Bodies are checked by zod. Without this Fastify loads checkers of its own, which takes a tenth of a start. */
const NO_SCHEMAS = { buildValidator: refuseSchema, buildSerializer: refuseSchema };

function refuseSchema(): never {
  throw new Error('routes have no schema of Fastify');
}

/**
 * The REST server. Routes are data; whatever goes wrong becomes the body its clients know. The content type is exactly
 * `application/json`: kube-loxilb compares the whole header.
 */
export function createServer(options: ServerOptions): FastifyInstance {
  const app = Fastify({
    logger: false,
    exposeHeadRoutes: false,
    bodyLimit: options.bodyLimit ?? BODY_LIMIT,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    schemaController: { compilersFactory: NO_SCHEMAS },
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, maxParamLength: 2048 },
    frameworkErrors: (error, _request, reply) => sendError(error, reply, options),
  });
  acceptRawBodies(app);
  answerPreflight(app);
  const index = new PathIndex();
  const live = new LiveStreams();
  for (const route of options.routes) addRoute(app, route, { ...options, live }, index);
  // Closing waits for requests that run, and these never end by themselves.
  app.addHook('preClose', () => live.endAll());
  app.setNotFoundHandler((request, reply) => {
    if (options.outside?.(request, reply)) return reply;
    const path = request.url.split('?', 1)[0] as string;
    const allowed = index.methodsOf(path);
    const error = allowed.length > 0 ? methodNotAllowed(request.method, allowed) : pathNotFound(path);
    return sendError(error, reply, options);
  });
  app.setErrorHandler((error, _request, reply) => sendError(error, reply, options));
  return app;
}

/** Bodies stay bytes until the route is known to want them: the order of checks is part of the contract. */
function acceptRawBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

function answerPreflight(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(CORS);
    if (request.method === 'OPTIONS') void reply.code(200).send();
    else done();
  });
}

interface ServeOptions extends ServerOptions {
  readonly live: LiveStreams;
}

function addRoute(app: FastifyInstance, route: Route, options: ServeOptions, index: PathIndex): void {
  index.add(route);
  const readBody = route.body && bodyReader(route.body.schema, route.body.name, route.body.typeName);
  app.route({
    method: route.method,
    url: `${BASE_PATH}${route.path}`,
    handler: (request, reply) => serve(route, readBody, request, reply, options),
  });
}

async function serve(
  route: Route,
  readBody: BodyReader | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
  options: ServeOptions,
): Promise<FastifyReply> {
  const audit: Record<string, unknown> = {};
  try {
    const bytes = request.body as Buffer | undefined;
    if (readBody && bytes && bytes.length > 0) checkContentType(request.headers['content-type']);
    checkAccept(request.headers.accept, route.contentType);
    const params = request.params as Record<string, string>;
    checkPathNumbers(route, params);
    const query = readQuery(route, request.query as Record<string, string | string[]>);
    const outcome = await route.handle({ params, query, body: readBody?.(bytes), audit });
    if (route.audited) options.audit.info(auditLine(request, audit, 'success'), 'mutation');
    return await sendReply(route, outcome, reply, options.live);
  } catch (error) {
    if (route.audited) options.audit.info(auditLine(request, audit, refusal(error)), 'mutation refused');
    return sendError(error, reply, options);
  }
}

function auditLine(request: FastifyRequest, audit: Record<string, unknown>, outcome: string): object {
  return { client: request.ip, method: request.method, path: request.url, ...audit, outcome };
}

function refusal(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return error instanceof FrameworkError ? error.message : String(code ?? message);
}

async function sendReply(
  route: Route,
  outcome: unknown,
  reply: FastifyReply,
  live: LiveStreams,
): Promise<FastifyReply> {
  reply.header('content-type', route.contentType ?? 'application/json');
  if (isStreamReply(outcome) && outcome.live) {
    // Nothing on the way may keep pieces back, and nothing follows on the connection.
    reply.headers({ 'cache-control': 'no-cache', 'x-accel-buffering': 'no', connection: 'close' });
    return reply.send(live.open(outcome));
  }
  if (isStreamReply(outcome)) return reply.send(await openStream(outcome));
  // Bytes instead of text keep the server from adding a charset to the content type.
  const text = route.contentType ? String(outcome) : `${JSON.stringify(outcome ?? null)}\n`;
  return reply.send(Buffer.from(text));
}

function sendError(error: unknown, reply: FastifyReply, options: ServerOptions): FastifyReply {
  const answer = errorReply(error, options.dialect);
  if (answer.status >= 500) options.log.error({ err: error }, 'request failed');
  reply.code(answer.status).headers(answer.headers).header('content-type', 'application/json');
  return reply.send(Buffer.from(answer.body));
}

/** What is not even HTTP gets an answer of the same shape, straight to the socket. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const body = JSON.stringify({ code: status, message: STATUS_CODES[status] });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
