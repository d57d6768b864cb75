import type { NetworkAddress, NetworkLink } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { listPorts, type PortFacts } from './list-ports.js';

const quiet = { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxErrors: 0, txErrors: 0 };

function link(given: Partial<NetworkLink>): NetworkLink {
  return {
    ifindex: 3,
    name: 'eth0',
    mac: '46:6f:b5:48:0f:c9',
    mtu: 1500,
    up: true,
    running: true,
    loopback: false,
    ethernet: true,
    kind: '',
    masterIfindex: 0,
    peerIfindex: 0,
    peerInOtherNamespace: false,
    statistics: quiet,
    ...given,
  };
}

function address(text: string, ifindex = 3): NetworkAddress {
  const [address = '', length] = text.split('/');
  return { ifindex, address, prefixLength: Number(length), family: address.includes(':') ? 6 : 4, scope: 0 };
}

type Sections = Record<string, Record<string, unknown> | undefined>;

function list(facts: Partial<PortFacts>): Sections[] {
  return listPorts({ links: [link({})], addresses: [], attached: [], ...facts }) as Sections[];
}

function only(facts: Partial<PortFacts>): Sections {
  const [port, ...others] = list(facts);
  expect(others).toEqual([]);
  return port as Sections;
}

describe('listPorts', () => {
  it('gives the shape clients know', () => {
    const addresses = [address('192.168.1.9/24'), address('fe80::446f:b5ff:fe48:fc9/64')];
    expect(list({ addresses, attached: [{ ifindex: 3, name: 'eth0', hook: 'tcx' }] })).toEqual([
      {
        portHardwareInformation: {
          link: true,
          macAddress: '46:6f:b5:48:0f:c9',
          mtu: 1500,
          rawMacAddress: [70, 111, 181, 72, 15, 201],
          state: true,
        },
        portL2Information: { isPvid: true, vid: 3803 },
        portL3Information: {
          IPv4Address: ['192.168.1.9/24 (P) '],
          IPv6Address: ['fe80::446f:b5ff:fe48:fc9/64 (P) '],
          routed: true,
        },
        portName: 'eth0',
        portNo: 3,
        portSoftwareInformation: { bpfLoaded: true, osId: 3, portActive: true, portType: 1 },
        portStatisticInformation: {},
        zone: 'root',
      },
    ]);
  });

  it.each([
    ['off', 'tc'],
    ['native', 'tc+xdp native'],
  ] as const)('tells what hangs there with XDP %s', (mode, bpf) => {
    const attached = [{ ifindex: 3, name: 'eth0', hook: 'tcx', xdp: { mode, reason: 'driver ice' } }] as const;
    expect(only({ attached }).portSoftwareInformation).toMatchObject({ bpfLoaded: true, bpf, bpfReason: 'driver ice' });
  });

  it('shows counters that are not zero', () => {
    const port = only({ links: [link({ statistics: { ...quiet, rxBytes: 10, txErrors: 2 } })] });
    expect(port.portStatisticInformation).toEqual({ rxBytes: 10, txErrors: 2 });
  });

  it('leaves out what is down, empty or absent', () => {
    const port = only({ links: [link({ up: false, running: false, mac: '' })] });
    expect(port.portHardwareInformation).toEqual({ rawMacAddress: [0, 0, 0, 0, 0, 0], mtu: 1500 });
    expect(port.portSoftwareInformation).toEqual({ osId: 3, portType: 1 });
    expect(port.portL3Information).toEqual({ IPv4Address: [''], IPv6Address: [''] });
  });

  it('marks later addresses of a subnet as secondary', () => {
    const addresses = [address('10.0.0.1/24'), address('10.0.0.2/24'), address('10.0.1.1/24'), address('10.0.0.3/32')];
    expect(only({ addresses }).portL3Information?.IPv4Address).toEqual([
      '10.0.0.1/24 (P) 10.0.0.2/24 (S) 10.0.1.1/24 (P) 10.0.0.3/32 (P) ',
    ]);
  });

  it.each([
    ['', 1, { isPvid: true, vid: 3803 }],
    ['veth', 1, { isPvid: true, vid: 3803 }],
    ['bond', 4, { isPvid: true, vid: 4003 }],
    ['vlan', 8, { isPvid: true, vid: 3803 }],
    ['bridge', 16, { isPvid: true, vid: 3803 }],
    ['vxlan', 64, { isPvid: true, vid: 3803 }],
    ['wireguard', 128, { isPvid: true, vid: 4013 }],
    ['vti', 256, { isPvid: true, vid: 4023 }],
    ['ipip', 512, { isPvid: true, vid: 3803 }],
    ['gretap', 1024, { isPvid: true, vid: 3803 }],
  ])('types a port of kind "%s" %i', (kind, type, l2) => {
    const port = only({ links: [link({ kind })] });
    expect(port.portSoftwareInformation?.portType).toBe(type);
    expect(port.portL2Information).toEqual(l2);
  });

  it('tells what a port is a member of', () => {
    const links = [
      link({ ifindex: 10, name: 'vlan100', kind: 'bridge' }),
      link({ ifindex: 11, name: 'eth1', masterIfindex: 10 }),
      link({ ifindex: 12, name: 'vxlan5', kind: 'vxlan', masterIfindex: 10 }),
      link({ ifindex: 13, name: 'bond0', kind: 'bond' }),
      link({ ifindex: 14, name: 'eth2', masterIfindex: 13 }),
    ];
    const ports = list({ links, addresses: [address('10.0.0.1/24', 11)] });
    expect(ports.map((port) => port.portSoftwareInformation?.portType)).toEqual([16, 9, 96, 4, 3]);
    expect(ports.map((port) => port.portHardwareInformation?.master)).toEqual([
      undefined,
      'vlan100',
      'vlan100',
      undefined,
      'bond0',
    ]);
    expect(ports[0]?.portL2Information).toEqual({ vid: 100 });
    expect(ports[1]?.portL3Information?.routed).toBeUndefined();
  });
});
