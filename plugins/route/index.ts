import { definePlugin, NETWORK, z } from '@loxilb/sdk';
import { command } from './command.js';
import { listRoutes } from './list-routes.js';

export default definePlugin({
  name: 'route',
  sdk: '^0.1.0',
  summary: 'Routes of the kernel, read only',
  config: z.strictObject({}),
  setup(ctx) {
    const network = ctx.use(NETWORK);
    ctx.operation({
      method: 'GET',
      path: `${command.path}/all`,
      summary: 'List routes',
      access: 'read',
      handle: () => ({ [command.envelope]: listRoutes(network) }),
    });
  },
});
