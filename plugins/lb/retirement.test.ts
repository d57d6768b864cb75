import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { body, createWorld, firstKey, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = createWorld();
});
afterEach(() => {
  world.retirement.stop();
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(1000);
const idOf = (address: string): number =>
  [...world.maps.endpoint.entries()].find(([, entry]) => entry.addr === address)?.[0] ?? 0;

describe('a deleted rule', () => {
  it('refuses new flows at once and frees its ids when its flows have ended', async () => {
    world.post(body());
    const serviceId = [...world.maps.service.entries()][0]?.[1].serviceId ?? 0;
    const id = idOf('10.0.0.1');
    world.maps.flows.set(id, { active: 1, pending: 0, recount: 0 });
    world.maps.stats.set(id, { packets: 9n, bytes: 9n, flows: 1n });
    world.remove(firstKey(world));
    expect([...world.maps.service.entries()]).toEqual([]);
    expect(world.maps.serviceState.get(serviceId)?.alive).toBe(0);
    await settle();
    expect(world.purged).toEqual([[serviceId]]);
    expect([world.state.serviceIds.inUse, world.state.endpointIds.inUse]).toEqual([1, 2]);
    world.maps.flows.set(id, { active: 0, pending: 0, recount: 0 });
    world.retirement.onPass();
    await settle();
    expect([world.state.serviceIds.inUse, world.state.endpointIds.inUse]).toEqual([0, 0]);
    expect(snapshot(world)).toEqual({});
  });

  it('is purged together with others', async () => {
    for (const port of [80, 81, 82]) world.post(body({ port }));
    for (const key of [...world.stored.keys()]) world.remove(key);
    await settle();
    expect(world.purged).toHaveLength(1);
    expect(world.state.serviceIds.inUse).toBe(0);
  });

  it('and made again is a new service', () => {
    world.post(body());
    world.remove(firstKey(world));
    world.post(body());
    expect([...world.maps.service.entries()][0]?.[1].serviceId).toBe(2);
  });

  it('takes endpoints along that had left it before', async () => {
    world.post(body());
    world.post(body({}, ['10.0.0.2']));
    world.remove(firstKey(world));
    await settle();
    expect(world.state.endpointIds.inUse).toBe(0);
    expect(world.retirement.pending).toBe(0);
  });
});

describe('an endpoint that left its rule', () => {
  it('keeps its id while a flow of it runs', async () => {
    world.post(body());
    const id = idOf('10.0.0.1');
    world.maps.flows.set(id, { active: 0, pending: 1, recount: 0 });
    world.post(body({}, ['10.0.0.2']));
    await settle();
    expect(world.retirement.pending).toBe(1);
    world.maps.flows.set(id, { active: 0, pending: 0, recount: 0 });
    world.retirement.onPass();
    await settle();
    expect([world.retirement.pending, world.state.endpointIds.inUse]).toEqual([0, 1]);
  });

  it('comes back with a new id and counters at zero once it is forgotten', async () => {
    world.post(body());
    const id = idOf('10.0.0.1');
    world.maps.stats.set(id, { packets: 9n, bytes: 9n, flows: 1n });
    world.post(body({}, ['10.0.0.2']));
    await settle();
    world.post(body());
    expect(idOf('10.0.0.1')).not.toBe(id);
    expect(world.maps.stats.get(id)?.packets).toBe(0n);
  });
});

describe('a purge that fails', () => {
  it('is tried again with the next pass', async () => {
    world.post(body());
    world.failPass = true;
    world.remove(firstKey(world));
    await settle();
    expect([world.state.serviceIds.inUse, world.warnings.length]).toEqual([1, 1]);
    world.failPass = false;
    world.retirement.onPass();
    await settle();
    expect([world.state.serviceIds.inUse, world.retirement.pending]).toEqual([0, 0]);
  });
});
