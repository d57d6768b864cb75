import type { MetricFactory, MetricSample, MetricSpec } from '@loxilb/sdk';
import { expect, it } from 'vitest';
import { declareMetrics } from './metrics.js';
import { body, createWorld } from './testing/world.js';

it('tells what endpoints and rules have had', async () => {
  const world = createWorld();
  const specs = new Map<string, MetricSpec>();
  const collect = (spec: MetricSpec): void => void specs.set(spec.name, spec);
  const metrics: MetricFactory = { gauge: collect, counter: collect };
  declareMetrics(metrics, world);
  world.post(body({ name: 'web' }));
  world.post(body({ name: 'web', port: 81 }, ['10.0.0.1']));
  world.post(body({ externalIP: '2001:db8::1' }, ['2001:db8::2']));
  for (const [id] of world.maps.endpoint.entries()) {
    world.maps.stats.set(id, { packets: 10n, bytes: 1000n, flows: 2n });
    world.maps.flows.set(id, { active: 1, pending: 1, recount: 0 });
  }
  const read = async (name: string): Promise<readonly MetricSample[]> => (await specs.get(name)?.collect()) ?? [];

  expect(await read('lb_rule_count')).toEqual([{ value: 3 }]);
  expect(await read('rules')).toEqual([{ value: 3 }]);
  expect(await read('endpoint_bytes_total')).toContainEqual({
    labels: { service: '[2001:db8::1]:80/tcp', endpoint: '[2001:db8::2]:8080' },
    value: 1000,
  });
  expect((await read('endpoint_flows')).map(({ value }) => value)).toEqual([2, 2, 2, 2]);
  expect(await read('service_flows_total')).toContainEqual({ labels: { service: '20.20.20.1:80/tcp' }, value: 4 });
  expect((await read('service_flows')).map(({ value }) => value)).toEqual([4, 2, 2]);
  expect(await read('service_new_flows_per_second')).toEqual([]);
  expect(await read('draining_endpoints')).toEqual([{ value: 0 }]);
  // Two rules share a name, and an endpoint.
  expect(await read('loxilb_service_traffic_packets_total')).toContainEqual({ labels: { service: 'web' }, value: 30 });
  expect(await read('loxilb_endpoint_traffic_bytes_total')).toContainEqual({
    labels: { service: 'web', dip: '10.0.0.1:8080' },
    value: 2000,
  });
});
