import { BUILD_INFO, definePlugin, z } from '@loxilb/sdk';
import { command } from './command.js';

export default definePlugin({
  name: 'version',
  sdk: '^0.1.0',
  summary: 'Version of the daemon',
  config: z.strictObject({}),
  setup(ctx) {
    const { version, build } = ctx.use(BUILD_INFO);
    ctx.operation({
      method: 'GET',
      path: command.path,
      summary: 'Version of the daemon',
      access: 'public',
      handle: () => ({ version, ...(build && { buildInfo: build }) }),
    });
  },
});
