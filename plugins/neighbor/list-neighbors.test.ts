import type { NetworkLink, NetworkNeighbor } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { listNeighbors } from './list-neighbors.js';

const links = [{ ifindex: 3, name: 'eth0' }] as NetworkLink[];

function neighbor(address: string, given: Partial<NetworkNeighbor> = {}): NetworkNeighbor {
  const family = address.includes(':') ? 6 : 4;
  return { ifindex: 3, family, address, mac: 'aa:aa:aa:aa:aa:aa', state: 2, ...given };
}

describe('listNeighbors', () => {
  it('lists resolved neighbours of both families', () => {
    const neighbors = () => [
      neighbor('192.168.1.200', { state: 0x80 }),
      neighbor('fe80::1', { state: 4 }),
      neighbor('192.168.1.2', { state: 1, mac: undefined }),
      neighbor('192.168.1.3', { state: 0x20 }),
      neighbor('ff02::16', { state: 0x40, mac: '33:33:00:00:00:16' }),
      neighbor('10.0.0.1', { ifindex: 9 }),
    ];
    expect(listNeighbors({ links: () => links, neighbors })).toEqual([
      { ipAddress: '192.168.1.200', dev: 'eth0', macAddress: 'aa:aa:aa:aa:aa:aa' },
      { ipAddress: 'fe80::1', dev: 'eth0', macAddress: 'aa:aa:aa:aa:aa:aa' },
    ]);
  });
});
