import { definePlugin, NETWORK, z } from '@loxilb/sdk';
import { command } from './command.js';
import { listPorts } from './list-ports.js';

export default definePlugin({
  name: 'port',
  sdk: '^0.1.0',
  summary: 'Interfaces with their addresses and counters',
  config: z.strictObject({}),
  setup(ctx) {
    const network = ctx.use(NETWORK);
    ctx.operation({
      method: 'GET',
      path: `${command.path}/all`,
      summary: 'List interfaces',
      access: 'read',
      handle: async () => {
        const links = await network.refreshLinks();
        const attached = ctx.dataplane.attached();
        return { [command.envelope]: listPorts({ links, addresses: network.addresses(), attached }) };
      },
    });
  },
});
