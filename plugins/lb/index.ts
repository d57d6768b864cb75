import { CONNTRACK, definePlugin, ENDPOINT_DIRECTORY, ENDPOINT_HEALTH, NETWORK, SERVICE_DIRECTORY } from '@loxilb/sdk';
import { lbConfig } from './config.js';
import { createRules } from './create-rules.js';
import { endpointDirectory } from './directory.js';
import { followNetwork } from './follow-network.js';
import { lbMapSpecs } from './maps.js';
import { declareMetrics } from './metrics.js';
import { lbResource } from './resource.js';

export default definePlugin({
  name: 'lb',
  sdk: '^0.1.0',
  summary: 'Load balancer rules for TCP, UDP, SCTP and ICMP echo',
  dependsOn: ['conntrack'],
  config: lbConfig,
  setup(ctx) {
    ctx.feature('lb');
    ctx.feature('ipv6');
    const network = ctx.use(NETWORK);
    const conntrack = ctx.use(CONNTRACK);
    const specs = lbMapSpecs(ctx.config);
    const maps = {
      service: ctx.map(specs.service),
      range: ctx.map(specs.range),
      control: ctx.map(specs.control),
      address: ctx.map(specs.address),
      source: ctx.map(specs.source),
      sctpVips: ctx.map(specs.sctpVips),
      serviceState: ctx.map(specs.serviceState),
      slot: ctx.map(specs.slot),
      endpoint: ctx.map(specs.endpoint),
      flows: ctx.map(specs.flows),
      stats: ctx.map(specs.stats),
      affinity: ctx.map(specs.affinity),
      vip: ctx.map(specs.vip),
      drain: ctx.map(specs.drain),
      past: ctx.map(specs.past),
    };
    const { config, dataplane, log } = ctx;
    const { rules, state, book, retirement, drains, traffic, services, vips, reconcile } = createRules({
      config,
      maps,
      network,
      conntrack,
      dataplane,
      log,
    });

    ctx.resource(lbResource({ rules, state, maps, traffic, drains, limits: config, reconcile }));
    ctx.provide(ENDPOINT_DIRECTORY, endpointDirectory({ state, maps, drains }));
    ctx.provide(ENDPOINT_HEALTH, rules);
    ctx.provide(SERVICE_DIRECTORY, services);
    declareMetrics(ctx.metrics, { state, traffic, drains });
    conntrack.setServiceNames((id) => rules.serviceName(id));

    const stops: (() => void)[] = [];
    ctx.onStart(() => {
      const follow = (): void => {
        vips.follow();
        rules.refreshAddresses();
      };
      stops.push(followNetwork(network, book, follow, log));
      stops.push(conntrack.onPass(() => retirement.onPass()));
    });
    ctx.onStop(async () => {
      for (const stop of stops.splice(0)) stop();
      retirement.stop();
      await vips.drain();
      await state.runs.drain();
    });
  },
});
