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

const watched = (): Record<string, number> =>
  Object.fromEntries([...world.maps.address.entries()].map(([address, { uses }]) => [address, uses]));
const pass = async (milliseconds = 1000): Promise<void> => {
  await vi.advanceTimersByTimeAsync(milliseconds);
  world.retirement.onPass();
  await vi.advanceTimersByTimeAsync(200);
};
const setFlows = (address: string, active: number): void => {
  for (const [id, { addr }] of world.maps.endpoint.entries()) {
    if (addr === address) world.maps.flows.set(id, { active, pending: 0, recount: 0 });
  }
};

describe('addresses whose fragments are waited for', () => {
  it('are those of services and endpoints, once per rule', () => {
    world.post(body());
    world.post(body({ port: 81 }, ['10.0.0.1']));
    world.post(body({ protocol: 'udp', externalIP: '2001:db8::1' }, ['10.0.0.1', '2001:db8:1::1']));
    expect(watched()).toEqual({
      '20.20.20.1': 2,
      '10.0.0.1': 3,
      '10.0.0.2': 1,
      '2001:db8::1': 1,
      '2001:db8:1::1': 1,
    });
  });

  it('count once what a rule has several ports of', () => {
    world.post({
      ...body({ port: 80, portMax: 99 }),
      endpoints: [8080, 9090].map((targetPort) => ({ endpointIP: '10.0.0.1', targetPort, weight: 1 })),
    });
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.1': 1 });
  });

  it('include secondary and private addresses', () => {
    world.post({ ...body({ protocol: 'sctp' }, ['10.0.0.1']), secondaryIPs: [{ secondaryIP: '20.20.20.2' }] });
    world.post(body({ externalIP: '30.30.30.1', privateIP: '10.9.9.9' }, ['10.0.0.1']));
    expect(watched()).toEqual({ '20.20.20.1': 1, '20.20.20.2': 1, '10.9.9.9': 1, '10.0.0.1': 2 });
  });

  it('follow those of the machine for a rule that has them all', () => {
    world.post(body({ mode: 5, externalIP: '0.0.0.0' }, ['10.0.0.1']));
    expect(watched()).toEqual({ '192.168.1.1': 1, '10.0.0.1': 1 });
    world.network.state.addresses.push({ ifindex: 3, address: '10.7.7.7', prefixLength: 24, family: 4, scope: 0 });
    world.book.forget();
    world.rules.refreshAddresses();
    expect(watched()).toEqual({ '192.168.1.1': 1, '10.7.7.7': 1, '10.0.0.1': 1 });
    world.post(body({ externalIP: '10.7.7.7' }, ['10.0.0.2']));
    expect(watched()).toEqual({ '192.168.1.1': 1, '10.7.7.7': 1, '10.0.0.1': 1, '10.0.0.2': 1 });
  });

  it('are none of an egress rule', () => {
    world.post(body({ egress: true }));
    expect(watched()).toEqual({});
  });

  it('go with the rule, and with its last flow when it drains', async () => {
    world.post(body());
    world.remove(firstKey(world));
    expect(watched()).toEqual({});
    world.post(body({ port: 81 }));
    setFlows('10.0.0.1', 1);
    world.remove(firstKey(world), 60);
    await pass();
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.1': 1, '10.0.0.2': 1 });
    setFlows('10.0.0.1', 0);
    await pass();
    await pass();
    expect(watched()).toEqual({});
  });

  it('stay with an endpoint that left until its flows have ended, and come back with it', async () => {
    world.post(body({ drainTimeout: 60 }));
    setFlows('10.0.0.1', 1);
    world.post(body({ oper: 2 }, ['10.0.0.1']));
    await pass();
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.1': 1, '10.0.0.2': 1 });
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.1': 1, '10.0.0.2': 1 });
    world.post(body({ oper: 2 }, ['10.0.0.1']));
    setFlows('10.0.0.1', 0);
    await pass();
    await pass();
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.2': 1 });
  });

  it('are put right at start', async () => {
    world.post(body({ drainTimeout: 60 }));
    world.post(body({ port: 81, drainTimeout: 60 }, ['10.0.0.3']));
    for (const address of ['10.0.0.1', '10.0.0.3']) setFlows(address, 1);
    world.post(body({ oper: 2 }, ['10.0.0.1']));
    world.remove('20.20.20.1|tcp|81|0|');
    const before = snapshot(world);
    expect(watched()).toEqual({ '20.20.20.1': 2, '10.0.0.1': 1, '10.0.0.2': 1, '10.0.0.3': 1 });
    world.maps.address.set('1.2.3.4', { uses: 1 });
    world.maps.address.set('20.20.20.1', { uses: 7 });
    world.maps.address.delete('10.0.0.2');
    world = world.restart();
    expect(snapshot(world)).toEqual(before);
    for (const address of ['10.0.0.1', '10.0.0.3']) setFlows(address, 0);
    await pass();
    await pass();
    expect(watched()).toEqual({ '20.20.20.1': 1, '10.0.0.2': 1 });
  });

  it('are as they were when a write fails', () => {
    world.post(body());
    for (let write = 1; ; write++) {
      const before = snapshot(world);
      world.failWrite = write;
      try {
        world.post(body({}, ['10.0.0.2', '10.0.0.3']));
        break;
      } catch {
        expect(snapshot(world)).toEqual(before);
      }
    }
    world.failWrite = undefined;
    expect(watched()).toMatchObject({ '20.20.20.1': 1, '10.0.0.2': 1, '10.0.0.3': 1 });
  });
});
