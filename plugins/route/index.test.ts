import { createTestContext } from '@loxilb/sdk/testing';
import { expect, it } from 'vitest';
import route from './index.js';

it('lists routes below its path', async () => {
  const test = createTestContext({ config: {} });
  await route.setup(test.context);
  const [list] = test.operations;
  expect(list).toMatchObject({ method: 'GET', path: '/config/route/all', access: 'read' });
  expect(await list?.handle({ params: {}, query: {}, body: undefined })).toEqual({ routeAttr: [] });
});
