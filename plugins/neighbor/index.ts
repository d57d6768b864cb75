import { definePlugin, NETWORK, z } from '@loxilb/sdk';
import { command } from './command.js';
import { listNeighbors } from './list-neighbors.js';

export default definePlugin({
  name: 'neighbor',
  sdk: '^0.1.0',
  summary: 'Neighbours of the kernel, read only',
  config: z.strictObject({}),
  setup(ctx) {
    const network = ctx.use(NETWORK);
    ctx.operation({
      method: 'GET',
      path: `${command.path}/all`,
      summary: 'List neighbours',
      access: 'read',
      handle: () => ({ [command.envelope]: listNeighbors(network) }),
    });
  },
});
