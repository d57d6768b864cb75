import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { BASE_PATH } from './route.js';

export const DOCS_PATH = `${BASE_PATH}/docs`;

/**
 * `/swagger.json` and the Swagger UI page, both offline. They live in a server of their own, which is made with the
 * first request: most daemons never show the page, and its libraries would cost every start.
 *
 * @returns handler that tells whether it took the request
 */
export function docsHandler(document: () => object): (request: FastifyRequest, reply: FastifyReply) => boolean {
  let site: Promise<FastifyInstance> | undefined;
  return (request, reply) => {
    if (request.method !== 'GET') return false;
    const path = request.url.split('?', 1)[0] as string;
    if (path !== '/swagger.json' && path !== DOCS_PATH && !path.startsWith(`${DOCS_PATH}/`)) return false;
    reply.hijack();
    site ??= openSite(document());
    site.then(
      (app) => app.routing(request.raw, reply.raw),
      (error) => reply.raw.destroy(error as Error),
    );
    return true;
  };
}

async function openSite(document: object): Promise<FastifyInstance> {
  const [{ default: Fastify }, { default: swagger }, { default: swaggerUi }] = await Promise.all([
    import('fastify'),
    import('@fastify/swagger'),
    import('@fastify/swagger-ui'),
  ]);
  const app = Fastify({ logger: false, routerOptions: { ignoreTrailingSlash: true } });
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, { routePrefix: DOCS_PATH, uiConfig: { docExpansion: 'list' } });
  app.get('/swagger.json', (_request, reply) => {
    reply.header('content-type', 'application/json');
    return reply.send(Buffer.from(`${JSON.stringify(document)}\n`));
  });
  await app.ready();
  return app;
}
