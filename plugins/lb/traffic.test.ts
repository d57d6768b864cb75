import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { endpointDirectory } from './directory.js';
import { listRules } from './list-rules.js';
import { body, createWorld, firstKey, type World } from './testing/world.js';
import type { TrafficFigures } from './traffic.js';

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = createWorld();
});
afterEach(() => {
  world.retirement.stop();
  vi.useRealTimers();
});

const pass = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(1000);
  world.retirement.onPass();
  await vi.advanceTimersByTimeAsync(200);
};
const idOf = (address: string): number =>
  [...world.maps.endpoint.entries()].find(([, entry]) => entry.addr === address)?.[0] ?? 0;
const count = (id: number, flows: number, live = 0): void => {
  world.maps.stats.set(id, { packets: BigInt(flows * 10), bytes: BigInt(flows * 1000), flows: BigInt(flows) });
  world.maps.flows.set(id, { active: live, pending: 0, recount: 0 });
};
const listed = () =>
  (
    listRules([...world.stored.values()], world) as {
      stats: TrafficFigures;
      endpoints: { endpointIP: string; stats: TrafficFigures }[];
    }[]
  )[0];

it('counts per endpoint and per service', () => {
  world.post(body());
  count(idOf('10.0.0.1'), 3, 2);
  count(idOf('10.0.0.2'), 4, 1);
  expect(listed()?.endpoints[0]?.stats).toMatchObject({ packets: 30, bytes: 3000, connections: 3, current: 2 });
  expect(listed()?.stats).toMatchObject({ packets: 70, bytes: 7000, connections: 7, current: 3 });
});

it('tells new connections per second from the second reading on', async () => {
  world.post(body());
  count(idOf('10.0.0.1'), 100);
  expect(listed()?.stats).not.toHaveProperty('newPerSecond', expect.anything());
  await vi.advanceTimersByTimeAsync(2000);
  count(idOf('10.0.0.1'), 150);
  expect(listed()?.endpoints.map(({ stats }) => stats.newPerSecond)).toEqual([25, 0]);
  expect(listed()?.stats.newPerSecond).toBe(25);
});

it('never counts back: what an endpoint had stays with its service, and with no other', async () => {
  world.post(body());
  const id = idOf('10.0.0.1');
  count(id, 5, 1);
  count(idOf('10.0.0.2'), 1);
  world.post(body({ oper: 2, drainTimeout: 60 }, ['10.0.0.1']));
  expect(listed()?.stats).toMatchObject({ connections: 6, current: 1 });
  count(id, 5, 0);
  await pass();
  expect([world.state.endpointIds.inUse, listed()?.stats.connections]).toEqual([1, 6]);
  world.post(body({ oper: 1 }, ['10.0.0.1']));
  expect(listed()?.endpoints.map(({ stats }) => stats.connections)).toEqual([1, 0]);
  world = world.restart();
  expect(listed()?.stats).toMatchObject({ packets: 60, bytes: 6000, connections: 6 });
  world.remove(firstKey(world));
  await pass();
  expect([...world.maps.past.entries()]).toEqual([]);
  world.post(body());
  expect(listed()?.stats.connections).toBe(0);
});

it('counts once what could not be given free at the first try', async () => {
  for (const [nth, port] of [1, 2, 3, 4, 5, 6].entries()) {
    world.post(body({ port }, ['10.0.0.1', '10.0.0.2']));
    count(idOf('10.0.0.1'), 5);
    world.post(body({ port }, ['10.0.0.2']));
    world.failWrite = nth + 1;
    await pass();
    const now = listRules([...world.stored.values()], world) as { stats: TrafficFigures }[];
    expect(now[nth]?.stats).toMatchObject({ packets: 50, connections: 5 });
    world.failWrite = undefined;
    await pass();
    const then = listRules([...world.stored.values()], world) as { stats: TrafficFigures }[];
    expect(then[nth]?.stats).toMatchObject({ packets: 50, connections: 5 });
  }
});

it('lists an endpoint of several deleted rules once while it drains', () => {
  world.post(body({ port: 80 }, ['10.0.0.1']));
  world.post(body({ port: 81 }, ['10.0.0.1']));
  for (const [id] of world.maps.endpoint.entries()) count(id, 1, 1);
  for (const key of [...world.stored.keys()]) world.remove(key, 60);
  expect(endpointDirectory(world).list()).toMatchObject([
    { address: '10.0.0.1', protocol: 'tcp', port: 8080, active: false, rules: 0, draining: { flows: 2 } },
  ]);
});
