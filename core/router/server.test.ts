import { defineResource, LoxilbError, z } from '@loxilb/sdk';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Mutations } from '../state/mutations.js';
import { EphemeralStore } from '../state/store.js';
import { recordingLog } from '../testing/silent-log.js';
import { type AnyResource, Catalog } from './catalog.js';
import { docsHandler } from './docs.js';
import type { Dialect } from './error-body.js';
import { openApiDocument } from './openapi.js';
import { operationRoute, resourceRoutes } from './resource-routes.js';
import type { Route } from './route.js';
import { createServer } from './server.js';

/** The load balancer's body, as far as framework errors go. */
const schema = z
  .object({
    serviceArguments: z.object({
      externalIP: z.string(),
      port: z.int(),
      protocol: z.enum(['tcp', 'udp', 'sctp', 'icmp']).optional(),
      mode: z.int32().optional(),
      block: z.uint32().optional(),
      bgp: z.boolean().optional(),
      name: z.string().max(8).optional(),
    }),
    endpoints: z
      .array(z.object({ endpointIP: z.string(), targetPort: z.int(), weight: z.int().min(0).max(255) }))
      .min(1),
    allowedSources: z.array(z.object({ prefix: z.string() })).optional(),
  })
  .meta({ id: 'LoadbalanceEntry' });

type Rule = z.output<typeof schema>;

const programmed = new Map<string, Rule>();
const ruleKey = ({ serviceArguments: { externalIP, port } }: Rule) => `${externalIP}:${port}`;
const rules = defineResource<Rule>({
  kind: 'Loadbalancer',
  name: 'loadbalancer',
  path: '/config/loadbalancer',
  envelope: 'lbAttr',
  summary: 'Service',
  schema,
  key: ruleKey,
  merge(request, stored) {
    const key = ruleKey(request);
    if (request.serviceArguments.name === 'odd') {
      throw new LoxilbError('dsr', { code: 'LB_DSR', status: 200, result: 'Error: Only Hash' });
    }
    if (request.serviceArguments.name === 'bug') throw new TypeError('secret of the inside');
    if (stored.has(key)) {
      throw new LoxilbError('rule exists', {
        code: 'LB_RULE_EXISTS',
        status: 409,
        result: 'lbrule-exists error',
        field: 'serviceArguments.externalIP',
        value: request.serviceArguments.externalIP,
        remedy: 'delete it first',
      });
    }
    return { key, desired: request };
  },
  apply: (rule) => void programmed.set(ruleKey(rule), rule),
  remove: (rule) => void programmed.delete(ruleKey(rule)),
  status: (desired) => desired,
  deletes: [
    { path: '/all', summary: 'Delete all', select: (_args, stored) => [...stored.keys()] },
    {
      path: '/externalipaddress/:ip_address/port/:port',
      summary: 'Delete one',
      numbers: ['port'],
      query: { bgp: 'boolean', block: 'int64' },
      select({ params }, stored) {
        const key = `${params.ip_address}:${Math.trunc(Number(params.port))}`;
        if (stored.has(key)) return [key];
        throw new LoxilbError('no rule', { code: 'LB_RULE_UNKNOWN', status: 404, result: 'no-rule error' });
      },
    },
  ],
  command: { name: 'lb', plugin: 'lb', path: '/config/loadbalancer', envelope: 'lbAttr' },
});

const good = {
  serviceArguments: { externalIP: '192.168.1.9', port: 80, protocol: 'tcp' },
  endpoints: [{ endpointIP: '192.168.1.32', targetPort: 55555, weight: 1 }],
};

let app: FastifyInstance;
let audit: ReturnType<typeof recordingLog>;

function build(dialect: Dialect = 'current'): FastifyInstance {
  programmed.clear();
  const catalog = new Catalog();
  catalog.addResource('lb', rules as unknown as AnyResource);
  catalog.addOperation('version', {
    method: 'GET',
    path: '/version',
    summary: 'Version',
    access: 'public',
    handle: () => ({ version: '1' }),
  });
  catalog.addOperation('conntrack', {
    method: 'GET',
    path: '/config/conntrack/all',
    summary: 'Flows',
    access: 'read',
    handle: ({ query }) => ({ stream: pieces(Number(query.count ?? '3')) }),
  });
  const store = new EphemeralStore();
  audit = recordingLog();
  const routes: Route[] = [
    ...catalog.resources.flatMap((entry) => resourceRoutes(entry, store, new Mutations(store, recordingLog()))),
    ...catalog.operations.map(operationRoute),
  ];
  const outside = docsHandler(() => openApiDocument(routes, '1'));
  return createServer({ routes, dialect, log: recordingLog(), audit, bodyLimit: 20_000, outside });
}

async function* pieces(count: number): AsyncGenerator<string> {
  if (count === 0) throw new LoxilbError('not loaded', { code: 'DP_NOT_LOADED', status: 503, result: 'not-ready' });
  yield '{"ctAttr":[';
  for (let index = 0; index < count; index++) yield `${index ? ',' : ''}{"n":${index}}`;
  yield ']}\n';
}

beforeEach(() => {
  app = build();
});
afterEach(() => app.close());

interface Call {
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'PUT' | 'OPTIONS' | 'HEAD';
  readonly path: string;
  readonly body?: string | object;
  readonly headers?: Record<string, string>;
}

async function call({ method = 'GET', path, body, headers = {} }: Call) {
  const json = body === undefined ? {} : { 'content-type': 'application/json' };
  const answer = await app.inject({
    method,
    url: path.startsWith('/swagger') ? path : `/netlox/v1${path}`,
    headers: { ...json, ...headers },
    ...(body !== undefined && { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.statusCode, text: answer.payload, headers: answer.headers };
}

const post = (body: string | object, headers?: Record<string, string>) =>
  call({ method: 'POST', path: '/config/loadbalancer', body, ...(headers && { headers }) });

async function message(body: string | object): Promise<[number, number, string]> {
  const { status, text } = await post(body);
  const { code, message: words } = JSON.parse(text) as { code: number; message: string };
  return [status, code, words];
}

describe('recorded framework errors', () => {
  interface Example {
    title: string;
    request: { method: Call['method']; path: string; headers?: string[]; body?: string | object };
    response: { status: number; contentType?: string; body: unknown; headers?: Record<string, string> };
  }
  // The recording is of the whole product: what needs authentication or other plugins is tested with them.
  const recorded: Example[] = [
    example('GET', '', 404, { code: 404, message: 'path /netlox/v1 was not found' }),
    example('GET', '/config/nothing', 404, { code: 404, message: 'path /netlox/v1/config/nothing was not found' }),
    example('PUT', '/config/loadbalancer/all', 405, {
      code: 405,
      message: 'method PUT is not allowed, but [DELETE,GET] are',
    }),
    example('DELETE', '/config/loadbalancer/externalipaddress/1.1.1.1/port/abc', 422, {
      code: 601,
      message: 'port in path must be of type float64: "abc"',
    }),
    example('DELETE', '/config/loadbalancer/externalipaddress/1.1.1.1/port/1?block=abc', 422, {
      code: 601,
      message: 'block in query must be of type int64: "abc"',
    }),
    example('POST', '/config/loadbalancer', 422, { code: 602, message: 'attr in body is required' }),
  ];

  function example(method: Call['method'], path: string, status: number, body: unknown): Example {
    return { title: `${method} ${path}`, request: { method, path }, response: { status, body } };
  }

  it.each(recorded)('$title', async ({ request, response }) => {
    const answer = await call({ method: request.method ?? 'GET', path: request.path });
    expect(answer.status).toBe(response.status);
    expect(JSON.parse(answer.text)).toEqual(response.body);
    expect(answer.text.endsWith('\n')).toBe(false);
    expect(answer.headers['content-type']).toBe('application/json');
  });

  it('names the allowed methods in a header', async () => {
    const answer = await call({ method: 'PUT', path: '/config/loadbalancer' });
    expect(answer.headers.allow).toBe('POST');
    expect((await call({ method: 'HEAD', path: '/version' })).status).toBe(405);
  });

  it('refuses other content types', async () => {
    const answer = await post('{}', { 'content-type': 'text/plain' });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      415,
      { code: 415, message: 'unsupported media type "text/plain", only [application/json] are allowed' },
    ]);
    expect((await post(good, { 'content-type': 'application/json; charset=utf-8' })).status).toBe(200);
  });

  it('refuses clients that do not take JSON', async () => {
    const answer = await call({ path: '/version', headers: { accept: 'text/html' } });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      406,
      { code: 406, message: 'unsupported media type requested, only [application/json] are available' },
    ]);
    expect((await call({ path: '/version', headers: { accept: 'text/plain, */*;q=0.1' } })).status).toBe(200);
  });
});

describe('bodies', () => {
  const argument = (value: unknown, name = 'port') => ({
    ...good,
    serviceArguments: { ...good.serviceArguments, [name]: value },
  });
  const parsing = (reason: string) => [400, 400, `parsing attr body from "" failed, because ${reason}`];
  const field = (given: string, name: string, type: string) =>
    parsing(
      `json: cannot unmarshal ${given} into Go struct field LoadbalanceEntryServiceArguments.serviceArguments.${name} of type ${type}`,
    );

  it.each<[string, string | object, unknown[]]>([
    ['string for a number', '{"serviceArguments":{"port":"80"}}', field('string', 'port', 'int64')],
    ['fraction for an integer', argument(80.5), field('number 80.5', 'port', 'int64')],
    ['integer out of range', argument(-1, 'block'), field('number -1', 'block', 'uint32')],
    ['number for text', argument(5, 'name'), field('number', 'name', 'string')],
    ['number for a choice', argument(5, 'protocol'), field('number', 'protocol', 'string')],
    ['list for text', argument([1], 'externalIP'), field('array', 'externalIP', 'string')],
    ['text for a switch', argument('yes', 'bgp'), field('string', 'bgp', 'bool')],
    [
      'text for the body',
      '"x"',
      parsing('json: cannot unmarshal string into Go value of type models.LoadbalanceEntry'),
    ],
    ['bad key', '{bad', parsing("invalid character 'b' looking for beginning of object key string")],
    ['cut short', '{"serviceArguments":{"port":', parsing('unexpected EOF')],
    ['missing comma', '{"a":1 "b"', parsing("invalid character '\"' after object key:value pair")],
    ['white space only', '  \n', [422, 602, 'attr in body is required']],
    ['empty object', '{}', [422, 602, 'endpoints in body is required']],
    ['null', 'null', [422, 602, 'endpoints in body is required']],
    [
      'missing member of an inline object',
      { endpoints: good.endpoints, serviceArguments: { externalIP: '1.1.1.1' } },
      [422, 602, 'serviceArguments.serviceArguments.port in body is required'],
    ],
    [
      'alphabetical order',
      { endpoints: [{ endpointIP: 'a' }], serviceArguments: {} },
      [422, 602, 'endpoints.0.targetPort in body is required'],
    ],
    [
      'choice',
      argument('gre', 'protocol'),
      [422, 606, 'serviceArguments.serviceArguments.protocol in body should be one of [tcp udp sctp icmp]'],
    ],
    [
      'limit',
      { ...good, endpoints: [{ endpointIP: 'a', targetPort: 1, weight: 300 }] },
      [422, 608, 'endpoints.0.weight in body should be less than or equal to 255'],
    ],
    [
      'length',
      argument('much too long', 'name'),
      [422, 603, 'serviceArguments.serviceArguments.name in body should be at most 8 chars long'],
    ],
    ['too few', { ...good, endpoints: [] }, [422, 612, 'endpoints in body should have at least 1 items']],
  ])('%s', async (_title, body, expected) => {
    expect(await message(body)).toEqual(expected);
    expect(programmed.size).toBe(0);
  });

  it('takes keys in any case, null as absent, unknown keys and bytes after the value', async () => {
    const text = JSON.stringify({
      SERVICEARGUMENTS: { externalip: '1.1.1.1', Port: 80, BGP: false, PROTOCOL: '', future: 1 },
      secondaryIPs: null,
      allowedSources: null,
      endpoints: [{ endpointIP: '2.2.2.2', targetPort: 1, weight: 1, state: '', counter: '' }],
    });
    expect((await post(`${text} trailing`)).text).toBe('{"result":"Success"}\n');
    expect(programmed.get('1.1.1.1:80')?.serviceArguments).toEqual({ externalIP: '1.1.1.1', port: 80, bgp: false });
  });

  it('is limited in size', async () => {
    const { status, text } = await post(argument('x'.repeat(30_000), 'externalIP'));
    expect(status).toBe(413);
    expect(JSON.parse(text)).toMatchObject({ code: 413, error: { code: 'API_BODY_TOO_LARGE' } });
  });

  it('is ignored on DELETE', async () => {
    await post(good);
    const path = '/config/loadbalancer/externalipaddress/192.168.1.9/port/80?bgp=false&block=0';
    expect((await call({ method: 'DELETE', path, body: '{not json' })).status).toBe(200);
  });
});

describe('answers', () => {
  it('are exact JSON with a line break', async () => {
    const answer = await post(good);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.text).toBe('{"result":"Success"}\n');
    expect(JSON.parse((await call({ path: '/config/loadbalancer/all' })).text)).toEqual({ lbAttr: [good] });
  });

  it('carry the error a client knows and ours beside it', async () => {
    await post(good);
    const { status, text } = await post(good);
    expect(status).toBe(409);
    expect(JSON.parse(text)).toEqual({
      code: 409,
      fields: null,
      message: 'Resource conflict: Resource already exists OR dependency not found',
      result: 'lbrule-exists error',
      error: {
        code: 'LB_RULE_EXISTS',
        text: 'rule exists',
        field: 'serviceArguments.externalIP',
        value: '192.168.1.9',
        remedy: 'delete it first',
      },
    });
  });

  it('are 200 in the legacy dialect', async () => {
    await app.close();
    app = build('legacy');
    await post(good);
    const answer = await post(good);
    expect([answer.status, answer.text]).toEqual([200, '{"result":"lbrule-exists error"}\n']);
    expect((await post('{}')).status).toBe(422);
  });

  it('may be errors with status 200', async () => {
    const answer = await post({ ...good, serviceArguments: { ...good.serviceArguments, name: 'odd' } });
    expect([answer.status, answer.text]).toEqual([200, '{"result":"Error: Only Hash"}\n']);
  });

  it('say nothing of what went on inside', async () => {
    const answer = await post({ ...good, serviceArguments: { ...good.serviceArguments, name: 'bug' } });
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('secret');
  });

  it('allow other origins', async () => {
    const preflight = await call({ method: 'OPTIONS', path: '/config/loadbalancer' });
    expect([preflight.status, preflight.text]).toEqual([200, '']);
    for (const answer of [preflight, await call({ path: '/nothing' }), await call({ path: '/version' })]) {
      expect(answer.headers['access-control-allow-origin']).toBe('*');
      expect(answer.headers['access-control-max-age']).toBe('86400');
    }
  });

  it('decode path segments', async () => {
    await post({ ...good, serviceArguments: { externalIP: '2001:db8::1', port: 80 } });
    const path = '/config/loadbalancer/externalipaddress/2001%3Adb8%3A%3A1/port/80';
    expect((await call({ method: 'DELETE', path })).status).toBe(200);
    expect((await call({ method: 'DELETE', path: '/config/loadbalancer/externalipaddress/%zz/port/80' })).status).toBe(
      400,
    );
  });

  it('stream', async () => {
    const answer = await call({ path: '/config/conntrack/all?count=20000' });
    expect(answer.headers['content-type']).toBe('application/json');
    expect((JSON.parse(answer.text) as { ctAttr: unknown[] }).ctAttr).toHaveLength(20_000);
  });

  it('are proper errors when a stream fails before its first piece', async () => {
    expect((await call({ path: '/config/conntrack/all?count=0' })).status).toBe(503);
  });
});

describe('around the API', () => {
  it('serves an OpenAPI document and a page for it', async () => {
    const document = JSON.parse((await call({ path: '/swagger.json' })).text) as { paths: Record<string, object> };
    expect(Object.keys(document.paths)).toContain('/config/loadbalancer/externalipaddress/{ip_address}/port/{port}');
    const page = await call({ path: '/docs' });
    expect(page.status).toBe(200);
    expect(page.text).toContain('swagger-ui');
  });

  it('writes every mutation to the audit log, refused or not', async () => {
    await post(good);
    await post(good);
    await post('{}');
    expect(audit.lines.map(({ text, fields }) => [text, (fields as { outcome: string }).outcome])).toEqual([
      ['mutation', 'success'],
      ['mutation refused', 'LB_RULE_EXISTS'],
      ['mutation refused', 'endpoints in body is required'],
    ]);
    expect(audit.lines[0]?.fields).toMatchObject({ resource: 'loadbalancer', keys: ['192.168.1.9:80'] });
  });
});
