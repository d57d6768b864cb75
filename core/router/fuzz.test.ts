import { defineResource, z } from '@loxilb/sdk';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { Mutations } from '../state/mutations.js';
import { EphemeralStore } from '../state/store.js';
import { recordingLog } from '../testing/silent-log.js';
import type { AnyResource } from './catalog.js';
import { resourceRoutes } from './resource-routes.js';
import { createServer } from './server.js';

const schema = z.object({
  name: z.string().max(10),
  size: z.uint32(),
  ratio: z.number().min(0).max(1).optional(),
  kind: z.enum(['a', 'b']).optional(),
  inner: z.object({ on: z.boolean(), list: z.array(z.object({ n: z.int() })) }).optional(),
  table: z.record(z.string(), z.int32()).optional(),
});

const thing = defineResource<z.output<typeof schema>>({
  kind: 'Thing',
  name: 'thing',
  path: '/config/thing',
  envelope: 'thingAttr',
  summary: 'Thing',
  schema,
  key: ({ name }) => name,
  apply: () => undefined,
  remove: () => undefined,
  status: (desired) => desired,
  deletes: [{ path: '/name/:name', summary: 'Delete', select: ({ params }) => [params.name ?? ''] }],
  command: { name: 'thing', plugin: 'x', path: '/config/thing', envelope: 'thingAttr' },
});

const store = new EphemeralStore();
const log = recordingLog();
const entry = { plugin: 'x', definition: thing as unknown as AnyResource };
const app = createServer({
  routes: resourceRoutes(entry, store, new Mutations(store, log)),
  dialect: 'current',
  log,
  audit: recordingLog(),
});
afterAll(() => app.close());

/** Bodies that are nearly right: known keys in any case, values of any type. */
const value = fc.oneof(
  { withCrossShrink: true },
  fc.jsonValue(),
  fc.integer(),
  fc.double(),
  fc.constantFrom('a', '', null),
);
const key = fc.constantFrom(
  'name',
  'NAME',
  'size',
  'ratio',
  'kind',
  'inner',
  'on',
  'list',
  'n',
  'table',
  '__proto__',
  'x',
);
const near = fc.dictionary(
  key,
  fc.oneof(value, fc.dictionary(key, fc.oneof(value, fc.array(fc.dictionary(key, value))))),
);
const body = fc.oneof(
  near.map((object) => JSON.stringify(object)),
  fc.json(),
  fc.string(),
  near.map((object) => JSON.stringify(object).slice(0, -3)),
);

const state = () => JSON.stringify([...store.section('thing')]);

it('answers every body with success or a refusal that changes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(body, async (payload) => {
      const before = state();
      const answer = await app.inject({
        method: 'POST',
        url: '/netlox/v1/config/thing',
        headers: { 'content-type': 'application/json' },
        payload,
      });
      expect(answer.statusCode).toBeLessThan(500);
      if (answer.statusCode === 200) return;
      expect(JSON.parse(answer.payload)).toMatchObject({ message: expect.any(String) as string });
      expect(state()).toBe(before);
    }),
    { numRuns: 1_500 },
  );
  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

it('survives any path', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary-ascii' }), async (text) => {
      const url = `/netlox/v1/config/thing/name/${text.replace(/[^\x21-\x7e]/g, '')}`;
      const answer = await app.inject({ method: 'DELETE', url });
      expect(answer.statusCode).toBeLessThan(500);
    }),
    { numRuns: 500 },
  );
});
