import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { endpointDirectory } from './directory.js';
import { followNetwork } from './follow-network.js';
import { body, createWorld, silent, type World } from './testing/world.js';

let world: World;
let refreshed: number;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  world = createWorld();
  refreshed = 0;
  stop = followNetwork(
    world.network,
    world.book,
    () => {
      refreshed++;
      world.rules.refreshAddresses();
    },
    silent,
  );
});
afterEach(() => {
  stop();
  world.retirement.stop();
  vi.useRealTimers();
});

describe('followNetwork', () => {
  it('looks once at a burst of changes', async () => {
    world.post(body({ mode: 1 }));
    world.network.state.addresses = [{ ifindex: 2, address: '192.168.1.2', prefixLength: 24, family: 4, scope: 0 }];
    for (let change = 0; change < 5; change++) world.network.announce('address');
    await vi.advanceTimersByTimeAsync(1000);
    expect(refreshed).toBe(1);
    expect([...world.maps.endpoint.entries()].map(([, { source }]) => source)).toEqual(['192.168.1.2', '192.168.1.2']);
  });

  it('knows at once that an address is no longer ours', () => {
    expect(world.book.isLocal('192.168.1.1')).toBe(true);
    world.network.state.addresses = [];
    world.network.announce('address');
    expect(world.book.isLocal('192.168.1.1')).toBe(false);
  });

  it('does not care about neighbours', async () => {
    world.network.announce('neighbor');
    await vi.advanceTimersByTimeAsync(1000);
    expect(refreshed).toBe(0);
  });

  it('stops', async () => {
    world.network.announce('route');
    stop();
    await vi.advanceTimersByTimeAsync(1000);
    expect([refreshed, world.network.listeners]).toEqual([0, 0]);
  });
});

describe('the endpoint directory', () => {
  it('lists each endpoint once, with what the data plane has', () => {
    world.post(body());
    world.post(body({ port: 81, mode: 1 }));
    world.post(body({ protocol: 'icmp' }, ['10.0.0.1']));
    world.rules.setEndpointActive('10.0.0.2', 'tcp', 8080, false);
    expect(endpointDirectory(world).list()).toEqual([
      { address: '10.0.0.1', protocol: 'tcp', port: 8080, active: true, monitored: true, rules: 2 },
      { address: '10.0.0.2', protocol: 'tcp', port: 8080, active: false, monitored: true, rules: 2 },
      { address: '10.0.0.1', protocol: 'icmp', port: 0, active: true, monitored: false, rules: 1 },
    ]);
  });

  it('forgets an endpoint with its last rule', () => {
    world.post(body());
    for (const key of [...world.stored.keys()]) world.remove(key);
    expect(endpointDirectory(world).list()).toEqual([]);
  });
});
