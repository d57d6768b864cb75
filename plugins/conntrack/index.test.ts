import { CONNTRACK, type Conntrack } from '@loxilb/sdk';
import { createTestContext } from '@loxilb/sdk/testing';
import { describe, expect, it, vi } from 'vitest';
import { conntrackConfig } from './config.js';
import conntrack from './index.js';
import { EVENT } from './maps.js';
import { guideConnection } from './testing/entries.js';
import { fakeFlowTable } from './testing/fakes.js';
import { resetEvent } from './testing/reset-events.js';

async function setUp(config: object = {}) {
  const test = createTestContext({ config: conntrackConfig.parse(config), plugin: 'conntrack' });
  await conntrack.setup(test.context);
  const call = async (method: string, query: Record<string, string> = {}): Promise<unknown> => {
    const operation = test.operations.find((one) => one.method === method);
    const reply = await operation?.handle({ params: {}, query, body: undefined });
    if (typeof reply !== 'object' || reply === null || !('stream' in reply)) return reply;
    let text = '';
    for await (const chunk of reply.stream as AsyncIterable<Uint8Array | string>) text += Buffer.from(chunk).toString();
    return JSON.parse(text);
  };
  const fill = (map: string) => {
    for (const [key, value] of fakeFlowTable(guideConnection(7)).entries()) test.maps.get(map)?.set(key, value);
  };
  return { test, call, fill, service: test.services.get(CONNTRACK.id) as Conntrack };
}

describe('the conntrack plugin', () => {
  it('sizes the tables by flows, two entries each', async () => {
    const { test } = await setUp({ maxFlows: 2048, newFlows: 1024 });
    expect([...test.maps.values()].map(({ spec }) => [spec.name, spec.maxEntries])).toEqual([
      ['ct_flow', 4096],
      ['ct_new', 2048],
      ['ct_idle', 2048],
      ['ct_sctp_assoc', 2048],
      ['ct_sctp_begun', 16_384],
      ['ct_sctp_offer', 2048],
      ['ct_pass', 2],
      ['dp_counter', 192],
    ]);
    expect(test.features.get('conntrack')).toBe(true);
  });

  it('lists both tables with the names another plugin gives', async () => {
    const { call, fill, service } = await setUp();
    expect(await call('GET')).toEqual({ ctAttr: [] });
    fill('ct_new');
    service.setServiceNames((id) => (id === 7 ? 'web' : undefined));
    expect(await call('GET')).toMatchObject({ ctAttr: [{ servName: 'web' }, { servName: 'web' }] });
    expect(await call('GET', { servName: 'other' })).toEqual({ ctAttr: [] });
    await expect(call('GET', { protocol: 'ipx' })).rejects.toMatchObject({ status: 400 });
  });

  it('answers a flush after its pass', async () => {
    const { call, fill, service } = await setUp();
    fill('ct_flow');
    const passed = vi.fn();
    service.onPass(passed);
    expect(await call('DELETE')).toEqual({ result: 'Success' });
    expect(passed).toHaveBeenCalledTimes(1);
  });

  it('purges services with one pass for many callers, and none for no service', async () => {
    const { service } = await setUp();
    const passed = vi.fn();
    service.onPass(passed);
    await service.purgeServices([]);
    expect(passed).not.toHaveBeenCalled();
    await Promise.all([service.purgeServices([1]), service.purgeServices([2]), service.purgeServices([3, 4])]);
    // Who asked during a pass gets one of their own, unless the first has found that there is no flow.
    expect(passed).toHaveBeenCalledTimes(1);
  });

  it('cuts endpoints with one pass for many callers, and none for no endpoint', async () => {
    const { test, service } = await setUp();
    const passed = vi.fn();
    service.onPass(passed);
    await service.cutEndpoints([]);
    expect(passed).not.toHaveBeenCalled();
    const asked = [service.cutEndpoints([1]), service.cutEndpoints([2, 3])];
    expect(test.maps.get('ct_pass')?.get(0)).toMatchObject({ cut: 1 });
    await Promise.all(asked);
    expect(passed).toHaveBeenCalledTimes(1);
    // Without any flow ever there would be nothing to look for.
    test.maps.get('dp_counter')?.set(EVENT.created, 1n);
    await service.purgeServices([1]);
    expect(test.maps.get('ct_pass')?.get(0)).toMatchObject({ cut: 0 });
  });

  it('tells both ends of a flow that was ended while it was open, from start to stop', async () => {
    const { test } = await setUp();
    expect(test.feedRing('ct_reset', resetEvent())).toBe(false);
    await test.start();
    expect(test.feedRing('ct_reset', resetEvent())).toBe(true);
    const metrics = [...test.metrics];
    await test.stop();
    expect(test.sentPackets.map((packet) => Buffer.from(packet.subarray(12, 20)).toString('hex'))).toEqual([
      '141414010a000001',
      '1f1f1ffe1f1f1f01',
    ]);
    expect(test.feedRing('ct_reset', resetEvent())).toBe(false);
    const values = await Promise.all(metrics.map(async (metric) => [metric.name, await metric.collect()] as const));
    const named = (name: string) => values.find(([found]) => found.endsWith(name))?.[1];
    expect(named('flows_reset_total')).toContainEqual({ labels: { reason: 'idle' }, value: 1 });
    expect(named('resets_sent_total')).toContainEqual({ labels: { to: 'endpoint' }, value: 1 });
    expect(named('resets_lost_total')).toEqual([{ value: 0 }]);
  });

  it('measures what the last pass left', async () => {
    const { test, service } = await setUp({ maxFlows: 2048 });
    await service.purgeServices([1]);
    const values = Object.fromEntries(
      await Promise.all(test.metrics.map(async (metric) => [metric.name, await metric.collect()])),
    );
    expect(Object.values(values).flat()).toContainEqual({ labels: { table: 'confirmed' }, value: 0 });
    expect(Object.values(values).flat()).toContainEqual({ value: 4096 });
  });
});
