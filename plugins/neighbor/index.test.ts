import { createTestContext } from '@loxilb/sdk/testing';
import { expect, it } from 'vitest';
import neighbor from './index.js';

it('lists neighbours below its path', async () => {
  const test = createTestContext({ config: {} });
  await neighbor.setup(test.context);
  const [list] = test.operations;
  expect(list).toMatchObject({ method: 'GET', path: '/config/neighbor/all', access: 'read' });
  expect(await list?.handle({ params: {}, query: {}, body: undefined })).toEqual({ neighborAttr: [] });
});
