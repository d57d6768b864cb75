import { definePlugin, ENDPOINT_DIRECTORY, z } from '@loxilb/sdk';
import { command } from './command.js';
import { listEndpoints } from './list-endpoints.js';

export default definePlugin({
  name: 'endpoint',
  sdk: '^0.1.0',
  summary: 'Endpoints that rules use, and their state',
  dependsOn: ['lb'],
  config: z.strictObject({}),
  setup(ctx) {
    const directory = ctx.use(ENDPOINT_DIRECTORY);
    ctx.operation({
      method: 'GET',
      path: `${command.path}/all`,
      summary: 'List endpoints',
      access: 'read',
      handle: () => ({ [command.envelope]: listEndpoints(directory.list()) }),
    });
    const count = (active: boolean) => () => [
      { value: directory.list().filter((endpoint) => endpoint.rules > 0 && endpoint.active === active).length },
    ];
    // Each under the name it has had and under the one dashboards of later releases use.
    for (const name of ['healthy_host_count', 'loxilb_healthy_endpoints']) {
      ctx.metrics.gauge({ name, exactName: true, help: 'Endpoints in service', collect: count(true) });
    }
    for (const name of ['unhealthy_host_count', 'loxilb_unhealthy_endpoints']) {
      ctx.metrics.gauge({ name, exactName: true, help: 'Endpoints out of service', collect: count(false) });
    }
  },
});
