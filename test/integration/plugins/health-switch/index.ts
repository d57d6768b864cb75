import { definePlugin, ENDPOINT_HEALTH, z } from '@loxilb/sdk';

const body = z.strictObject({
  address: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  port: z.int(),
  active: z.boolean(),
});

/** Does by hand what a prober does: takes an endpoint out of service, or into it. */
export default definePlugin({
  name: 'health-switch',
  sdk: '^0.1.0',
  summary: 'Endpoint health by hand, for tests',
  dependsOn: ['lb'],
  config: z.strictObject({}),
  setup(ctx) {
    const health = ctx.use(ENDPOINT_HEALTH);
    ctx.operation({
      method: 'POST',
      path: '/test/endpoint-health',
      summary: 'Switch an endpoint',
      access: 'write',
      body,
      handle: (request) => {
        const { address, protocol, port, active } = body.parse(request.body);
        return { known: health.setEndpointActive(address, protocol, port, active) };
      },
    });
  },
});
