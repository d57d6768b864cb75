import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { body, createWorld, firstKey, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  world = createWorld();
});
afterEach(() => {
  world.retirement.stop();
  vi.useRealTimers();
});

const settle = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(1000);
  for (let turn = 0; turn < 4; turn++) await nextTurn();
};
const remember = (client: string, serviceId: number): void =>
  world.maps.affinity.set({ client, serviceId }, { endpointId: 1, seen: 7 });
const clients = (): string[] => [...world.maps.affinity.entries()].map(([{ client }]) => client).sort();

it('clients of a deleted rule are forgotten before its id goes to another', async () => {
  world.post(body({ sel: 3 }));
  world.post(body({ sel: 3, port: 81 }));
  remember('10.1.1.1', 1);
  remember('10.1.1.2', 2);
  world.remove(firstKey(world));
  expect(clients()).toEqual(['10.1.1.1', '10.1.1.2']);
  await settle();
  expect([clients(), world.state.serviceIds.inUse]).toEqual([['10.1.1.2'], 1]);
});

it('those of a rule that selected so once, too', async () => {
  world.post(body({ sel: 3 }));
  remember('10.1.1.1', 1);
  world.post(body());
  world.remove(firstKey(world));
  await settle();
  expect([clients(), world.retirement.pending]).toEqual([[], 0]);
});

it('a new daemon forgets clients of rules it has not got, and keeps the others', async () => {
  world.post(body({ sel: 3 }));
  remember('10.1.1.1', 1);
  remember('10.1.1.9', 9);
  world = world.restart();
  expect(clients()).toEqual(['10.1.1.1']);
  world.remove(firstKey(world));
  await settle();
  expect(clients()).toEqual([]);
});
