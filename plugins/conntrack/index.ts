import { CONNTRACK, definePlugin, RAW_SENDER } from '@loxilb/sdk';
import { flushOperation, listOperation } from './api.js';
import { conntrackConfig, halfOpenFlows } from './config.js';
import { WORKER_THREADS } from './list-flows.js';
import {
  associationTableSpecs,
  counterSpec,
  flowTableSpecs,
  idleTableSpec,
  passSpec,
  RESET_RING,
  readEvent,
} from './maps.js';
import { declareMetrics, declareResetMetrics } from './metrics.js';
import { closingTicks, entriesLeft, runPass } from './pass.js';
import { PassScheduler } from './pass-scheduler.js';
import { ResetSender } from './reset-sender.js';

/** After these a pass may find other flows than the last, or flows that end sooner. */
const NEWS = ['created', 'path', 'confirmed', 'closed', 'expired'] as const;

export default definePlugin({
  name: 'conntrack',
  sdk: '^0.1.0',
  summary: 'Flow table: listing, expiry and flush',
  config: conntrackConfig,
  setup(ctx) {
    ctx.feature('conntrack');
    ctx.feature('half_open_flows', halfOpenFlows(ctx.config.maxFlows));
    const specs = flowTableSpecs(ctx.config);
    const confirmed = ctx.map(specs.confirmed);
    const fresh = ctx.map(specs.fresh);
    ctx.map(idleTableSpec(ctx.config));
    for (const spec of associationTableSpecs(ctx.config)) ctx.map(spec);
    const pass = ctx.map(passSpec);
    const counters = ctx.view(counterSpec);
    let nameOf: (serviceId: number) => string | undefined = () => undefined;

    const scheduler: PassScheduler = new PassScheduler({
      run: (cut) =>
        runPass(ctx.dataplane, pass, {
          closingTicks: closingTicks(scheduler.last ? entriesLeft(scheduler.last) : 0),
          cut,
        }),
      activity: () => NEWS.reduce((sum, event) => sum + readEvent(counters, event), 0n),
      intervalMs: ctx.config.passIntervalMs,
      log: ctx.log,
    });
    const tables = { dataplane: ctx.dataplane, confirmed, fresh, serviceName: (id: number) => nameOf(id) };
    const workers = ctx.workers({
      file: new URL('./conntrack-format.worker.js', import.meta.url),
      maxThreads: WORKER_THREADS,
    });

    ctx.operation(listOperation({ ...tables, workers }));
    ctx.operation(flushOperation({ ...tables, pass: () => scheduler.request() }));
    const resets = new ResetSender(ctx.use(RAW_SENDER));
    let ring: { close(): void } | undefined;
    declareMetrics(ctx.metrics, ctx.config, counters, scheduler);
    declareResetMetrics(ctx.metrics, counters, resets.counts);
    ctx.provide(CONNTRACK, {
      // Their owner has marked the services dead: any pass ends their flows.
      purgeServices: (serviceIds) => (serviceIds.length === 0 ? Promise.resolve() : scheduler.request()),
      cutEndpoints: (endpointIds) => (endpointIds.length === 0 ? Promise.resolve() : scheduler.requestCut()),
      setServiceNames(name) {
        nameOf = name;
      },
      idleTimesChanged: () => scheduler.hasten(),
      onPass: (listener) => scheduler.onPass(listener),
    });
    ctx.onStart(() => {
      ring = ctx.dataplane.ring(RESET_RING, (event) => resets.take(event));
      scheduler.start();
    });
    ctx.onStop(async () => {
      await scheduler.stop();
      // What is in the ring by then is for the next daemon.
      ring?.close();
      await resets.settle();
    });
  },
});
