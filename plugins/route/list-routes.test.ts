import type { NetworkNeighbor, NetworkRoute } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { listRoutes } from './list-routes.js';

function route(destination: string, given: Partial<NetworkRoute> = {}): NetworkRoute {
  return {
    family: destination.includes(':') ? 6 : 4,
    destination,
    gateway: undefined,
    ifindex: 3,
    table: 254,
    protocol: 2,
    type: 1,
    metric: 0,
    preferredSource: undefined,
    ...given,
  };
}

function neighbor(address: string, given: Partial<NetworkNeighbor> = {}): NetworkNeighbor {
  const family = address.includes(':') ? 6 : 4;
  return { ifindex: 3, family, address, mac: 'aa:aa:aa:aa:aa:aa', state: 2, ...given };
}

function list(routes: readonly NetworkRoute[], neighbors: readonly NetworkNeighbor[] = []) {
  return listRoutes({ routes: () => routes, neighbors: () => neighbors });
}

const statistic = { bytes: 0, packets: 0 };

describe('listRoutes', () => {
  it.each([
    [
      'via a gateway',
      route('0.0.0.0/0', { gateway: '192.168.1.1', protocol: 3 }),
      { gateway: '192.168.1.1', protocol: 'boot', flags: 'Ind' },
    ],
    [
      'static',
      route('10.1.0.0/16', { gateway: '10.0.0.1', protocol: 4 }),
      { gateway: '10.0.0.1', protocol: 'static', flags: 'Ind' },
    ],
    [
      'of another daemon',
      route('10.2.0.0/16', { gateway: 'fe80::1', protocol: 186 }),
      { gateway: 'fe80::1', protocol: '186', flags: 'Ind' },
    ],
    ['connected', route('192.168.1.0/24'), { protocol: 'kernel', flags: 'Self' }],
    ['own address', route('192.168.1.9/32', { table: 255, type: 2 }), { protocol: 'kernel', flags: 'Self' }],
    ['by device', route('10.3.0.0/16', { protocol: 4 }), { protocol: 'static', flags: 'Interface' }],
  ])('describes a route %s', (_, given, expected) => {
    expect(list([given])).toEqual([{ destinationIPNet: given.destination, statistic, ...expected }]);
  });

  it('leaves out other tables and what is not a way', () => {
    expect(
      list([
        route('10.0.0.0/8', { table: 100 }),
        route('10.0.0.255/32', { table: 255, type: 3 }),
        route('10.9.0.0/16', { type: 6 }),
      ]),
    ).toEqual([]);
  });

  it('joins gateways of one prefix and prefers the lowest metric', () => {
    const routes = [
      route('10.0.0.0/8', { gateway: '1.1.1.1', metric: 200 }),
      route('10.0.0.0/8', { gateway: '2.2.2.2', metric: 100 }),
      route('10.0.0.0/8', { gateway: '3.3.3.3', metric: 100 }),
      route('10.0.0.0/8', { gateway: '4.4.4.4', metric: 300 }),
    ];
    expect(list(routes).map((one) => one.gateway)).toEqual(['2.2.2.2,3.3.3.3']);
  });

  it('adds resolved neighbours as host routes', () => {
    const neighbors = [
      neighbor('192.168.1.254'),
      neighbor('fe80::1', { state: 4 }),
      neighbor('192.168.1.3', { mac: undefined, state: 1 }),
      neighbor('192.168.1.4', { state: 0x20 }),
      neighbor('224.0.0.22', { state: 0x40 }),
      neighbor('10.0.0.1'),
    ];
    const routes = list([route('10.0.0.1/32', { gateway: '10.0.0.9' })], neighbors);
    expect(routes.map((one) => `${one.destinationIPNet} ${one.gateway} ${one.flags}`)).toEqual([
      '10.0.0.1/32 10.0.0.9 Ind',
      '192.168.1.254/32 192.168.1.254 Ind Host',
      'fe80::1/128 fe80::1 Ind Host',
    ]);
  });
});
