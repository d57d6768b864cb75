import { createTestContext } from '@loxilb/sdk/testing';
import { expect, it } from 'vitest';
import port from './index.js';

it('lists the interfaces and where the packet path is attached', async () => {
  const test = createTestContext({ config: {}, attached: [{ ifindex: 1, name: 'lo', hook: 'tcx' }] });
  await port.setup(test.context);
  const [list] = test.operations;
  expect(list).toMatchObject({ method: 'GET', path: '/config/port/all', access: 'read' });
  expect(await list?.handle({ params: {}, query: {}, body: undefined })).toMatchObject({
    portAttr: [{ portName: 'lo', portSoftwareInformation: { bpfLoaded: true } }],
  });
});
