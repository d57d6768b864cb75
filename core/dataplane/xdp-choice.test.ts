import type { NetworkLink } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { MemoryNetwork } from '../netlink/memory-network.js';
import { takesRedirects, wishXdp } from './xdp-choice.js';

const LO = new MemoryNetwork().links()[0] as NetworkLink;
const NIC: NetworkLink = { ...LO, ifindex: 2, name: 'eth0', loopback: false, mtu: 1500 };
const [BRIDGE, VRF] = ['bridge', 'vrf'].map((kind) => ({ ...NIC, ifindex: 9, name: 'top', kind }));

describe('wishXdp', () => {
  it.each([
    ['off', NIC, undefined, undefined, 'XDP is off'],
    ['auto', NIC, undefined, 'native', 'driver ice'],
    ['auto', { ...NIC, masterIfindex: 9 }, BRIDGE, undefined, 'a member of top, which packets leave by'],
    ['auto', { ...NIC, masterIfindex: 9 }, VRF, 'native', 'driver ice'],
    ['auto', LO, undefined, undefined, 'loopback'],
    ['native', LO, undefined, undefined, 'loopback'],
    ['native', { ...NIC, kind: 'veth' }, undefined, 'native', 'XDP is set to native'],
    ['generic', { ...NIC, kind: 'bridge' }, undefined, 'generic', 'XDP is set to generic'],
  ] as const)('%s, %o', (choice, link, master, mode, reason) => {
    expect(wishXdp(choice, link, master, 'ice')).toEqual({ mode, reason });
  });

  it.each('veth bridge vlan tun dummy wireguard bond vxlan'.split(' '))('leaves %s to tc by itself', (kind) => {
    expect(wishXdp('auto', { ...NIC, kind }, undefined, undefined).mode).toBeUndefined();
  });

  it('leaves drivers to tc whose checksums are unfinished', () => {
    expect(wishXdp('auto', NIC, undefined, 'vif').mode).toBeUndefined();
    expect(wishXdp('auto', NIC, undefined, undefined).mode).toBe('native');
  });
});

describe('takesRedirects', () => {
  const jumbo = { ...NIC, mtu: 9000 };

  it.each([
    [NIC, 'ice', 0b111, true],
    [NIC, 'nfp', 0b011, false],
    [jumbo, 'x', 0b0000111, false],
    [jumbo, 'x', 0b1100111, true],
    [NIC, 'ice', undefined, true],
    [jumbo, 'ice', undefined, false],
    [NIC, 'nfp', undefined, false],
    [{ ...NIC, kind: 'veth' }, undefined, undefined, true],
  ] as const)('%o %s, features %s: %s', (link, driver, features, expected) => {
    expect(takesRedirects(link, driver, features)).toBe(expected);
  });
});
