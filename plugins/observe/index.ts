import { definePlugin, NETWORK, SERVICE_DIRECTORY } from '@loxilb/sdk';
import { command } from './command.js';
import { observeConfig } from './config.js';
import { forgetServices, listDrops } from './drops.js';
import { Labels } from './labels.js';
import { counterSpec, observeSpec, serviceDropSpec } from './maps.js';
import { declareMetrics } from './metrics.js';
import { observeOperation } from './observe-operation.js';
import { traceOperation } from './trace-operation.js';
import { Watchers } from './watchers.js';

export default definePlugin({
  name: 'observe',
  sdk: '^0.1.0',
  summary: 'What the packet path does: drops, live packets, traces',
  config: observeConfig,
  setup(ctx) {
    const { config, dataplane } = ctx;
    const network = ctx.use(NETWORK);
    const directory = () => ctx.useOptional(SERVICE_DIRECTORY);
    const counters = ctx.view(counterSpec);
    const serviceDrops = ctx.map(serviceDropSpec);
    const observe = ctx.map(observeSpec);
    const labels = new Labels({ dataplane, network, directory });
    const watchers = new Watchers({ dataplane, observe, labels, ...config });

    ctx.operation({
      method: 'GET',
      path: `${command.path}/all`,
      summary: 'Dropped packets by reason and service',
      access: 'read',
      handle: () => ({ [command.envelope]: listDrops({ counters, serviceDrops, labels }) }),
    });
    ctx.operation(observeOperation(watchers, directory));
    ctx.operation(traceOperation({ dataplane, network, labels }));
    declareMetrics(ctx.metrics, {
      serviceDrops,
      labels,
      limit: config.serviceMetrics,
      watchers: () => watchers.count,
      losses: () => watchers.losses,
    });

    const stops: (() => void)[] = [];
    ctx.onStart(() => {
      watchers.reset();
      const stop = directory()?.onFreed((ids) => forgetServices(serviceDrops, ids));
      if (stop) stops.push(stop);
    });
    ctx.onStop(() => {
      for (const stop of stops.splice(0)) stop();
      watchers.stop();
    });
  },
});
