import { type DirectoryService, type OperationSpec, SERVICE_DIRECTORY, type ServiceDirectory } from '@loxilb/sdk';
import { createTestContext } from '@loxilb/sdk/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { observeConfig } from './config.js';
import observe from './index.js';
import { DpCounter } from './layout.gen.js';
import { counterSpec, serviceDropSpec } from './maps.js';
import { parseFilter } from './observe-operation.js';
import { reasonOf } from './reasons.js';

const WEB: DirectoryService = {
  ...{ id: 7, name: 'web', address: '20.20.20.1', port: 80, lastPort: 90, protocol: 'tcp', mark: 0 },
};
const SIX: DirectoryService = {
  ...WEB,
  id: 8,
  name: '',
  address: '2001:db8::1',
  port: 53,
  lastPort: 53,
  protocol: 'udp',
};

let freed: (ids: readonly number[]) => void = () => undefined;
const directory: ServiceDirectory = {
  list: () => [WEB, SIX],
  find: (id) => [WEB, SIX].find((service) => service.id === id),
  onFreed(listener) {
    freed = listener;
    return () => undefined;
  },
};

function createPlugin(serviceMetrics = 100) {
  const services = new Map<string, unknown>([[SERVICE_DIRECTORY.id, directory]]);
  const test = createTestContext({ config: observeConfig.parse({ serviceMetrics }), services, plugin: 'observe' });
  const operation = (path: string) => test.operations.find((spec) => spec.path === path) as OperationSpec;
  const call = (path: string, body?: unknown) => operation(path).handle({ params: {}, query: {}, body });
  return { test, call };
}

let plugin: ReturnType<typeof createPlugin>;

async function start(serviceMetrics?: number): Promise<void> {
  plugin = createPlugin(serviceMetrics);
  await observe.setup(plugin.test.context);
  await plugin.test.start();
  const drops = plugin.test.context.map(serviceDropSpec);
  const counters = plugin.test.context.map(counterSpec);
  counters.set(DpCounter.DROP_SOURCE, { packets: 10n });
  counters.set(DpCounter.PASS_NO_FLOW, { packets: 3n });
  for (const [serviceId, packets] of [
    [7, 2n],
    [8, 5n],
    [9, 1n],
  ] as const) {
    drops.set({ serviceId, reason: DpCounter.DROP_SOURCE }, { packets });
  }
}

beforeEach(() => start());

describe('drops', () => {
  it('are listed by reason and service, most packets first', () => {
    expect(plugin.call('/config/drops/all')).toEqual({
      dropAttr: [
        {
          ...{ reason: 'source', number: 9, packets: 10 },
          meaning: reasonOf(9).meaning,
          remedy: reasonOf(9).remedy,
          services: [
            { service: '', address: '[2001:db8::1]:53/udp', packets: 5 },
            { service: 'web', address: '20.20.20.1:80-90/tcp', packets: 2 },
            { service: '', address: 'service 9, which is gone', packets: 1 },
          ],
        },
      ],
    });
  });

  it('are forgotten when their service is', () => {
    freed([7, 9]);
    const left = [...plugin.test.context.view(serviceDropSpec).entries()].map(([key]) => key.serviceId);
    expect(left).toEqual([8]);
  });

  it.each([
    [100, ['web 2', '[2001:db8::1]:53/udp 5', 'service 9, which is gone 1']],
    [1, ['web 2', 'others 6']],
    [0, ['others 8']],
  ])('have metrics for at most %i services', async (limit, expected) => {
    await start(limit);
    const metric = plugin.test.metrics.find(({ fullName }) => fullName === 'loxilb_service_drops_total');
    const samples = (await metric?.collect()) ?? [];
    expect(samples.map(({ labels, value }) => `${labels?.service} ${value}`)).toEqual(expected);
    expect(samples.every(({ labels }) => labels?.reason === 'source')).toBe(true);
  });
});

describe('filters', () => {
  it.each([
    [{}, { kinds: ['drop', 'pass', 'event'], sample: 1 }],
    [
      { kind: 'drop,event', sample: '100' },
      { kinds: ['drop', 'event'], sample: 100 },
    ],
    [{ service: 'web' }, { kinds: ['drop', 'pass', 'event'], sample: 1, serviceId: 7 }],
    [{ service: '20.20.20.1:85' }, { kinds: ['drop', 'pass', 'event'], sample: 1, serviceId: 7 }],
    [{ service: '20.20.20.1:80/tcp' }, { kinds: ['drop', 'pass', 'event'], sample: 1, serviceId: 7 }],
    [{ service: '[2001:db8::1]:53/udp' }, { kinds: ['drop', 'pass', 'event'], sample: 1, serviceId: 8 }],
  ])('%j', (query, filter) => {
    expect(parseFilter(query as Record<string, string>, directory)).toEqual(filter);
  });

  it.each([
    [{ kind: 'nonsense' }, 'OBSERVE_PARAMETER'],
    [{ sample: '0' }, 'OBSERVE_PARAMETER'],
    [{ sample: '1.5' }, 'OBSERVE_PARAMETER'],
    [{ service: '20.20.20.1:91' }, 'OBSERVE_SERVICE_UNKNOWN'],
    [{ service: '20.20.20.1:80/udp' }, 'OBSERVE_SERVICE_UNKNOWN'],
  ])('%j is refused: %s', (query, code) => {
    expect(() => parseFilter(query as Record<string, string>, directory)).toThrow(expect.objectContaining({ code }));
  });
});

describe('trace', () => {
  const body = { source: '10.0.0.1', destination: '20.20.20.1', protocol: 'tcp', interface: 'lo' };

  it('needs a kernel, and an interface that is there', async () => {
    await expect(plugin.call('/trace', body)).rejects.toThrow(expect.objectContaining({ code: 'TRACE_NO_KERNEL' }));
    await expect(plugin.call('/trace', { ...body, interface: 'eth9' })).rejects.toThrow(
      expect.objectContaining({ code: 'TRACE_INTERFACE_UNKNOWN', field: 'interface' }),
    );
  });
});

it('has words for every reason, and for those of a newer packet path', () => {
  for (const [name, number] of Object.entries(DpCounter)) {
    if (name === 'DROP_NONE' || name === 'DP_COUNTERS') continue;
    expect(`${reasonOf(number).kind}_${reasonOf(number).name}`).toBe(name.toLowerCase());
  }
  expect(reasonOf(63)).toMatchObject({ name: 'reason_63', kind: 'drop' });
});
