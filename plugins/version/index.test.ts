import { BUILD_INFO } from '@loxilb/sdk';
import { createTestContext } from '@loxilb/sdk/testing';
import { expect, it } from 'vitest';
import version from './index.js';

it.each([
  ['2026_11_22-main', { version: '1.2.3', buildInfo: '2026_11_22-main' }],
  ['', { version: '1.2.3' }],
])('tells version and build "%s" to anyone', async (build, expected) => {
  const services = new Map<string, unknown>([[BUILD_INFO.id, { version: '1.2.3', build }]]);
  const test = createTestContext({ config: {}, services });
  await version.setup(test.context);
  const [get] = test.operations;
  expect(get).toMatchObject({ method: 'GET', path: '/version', access: 'public' });
  expect(await get?.handle({ params: {}, query: {}, body: undefined })).toEqual(expected);
});
