import { ipAddress } from '@loxilb/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import { RTM } from './decode.js';
import { decodeMessages, encodeAttribute, encodeMessage, NLM_F_REPLACE, u32Bytes } from './message.js';
import { Tables } from './tables.js';

let tables: Tables;
beforeEach(() => {
  tables = new Tables();
});

function apply(type: number, header: number[], attributes: [number, Uint8Array][], flags = 0) {
  const parts = attributes.map(([kind, value]) => encodeAttribute(kind, value));
  const body = new Uint8Array(Buffer.concat([new Uint8Array(header), ...parts]));
  const [message] = [...decodeMessages(encodeMessage(type, flags, 0, body))];
  if (!message) throw new Error('not a message');
  return tables.apply(message);
}

const text = (value: string) => new Uint8Array(Buffer.from(`${value}\0`));
const v4 = (value: string) => new Uint8Array(value.split('.').map(Number));
function v6(value: string): Uint8Array {
  const bytes = new Uint8Array(16);
  ipAddress.encode(value, new DataView(bytes.buffer), 0);
  return bytes;
}
const mac = (last: number) => new Uint8Array([2, 0, 0, 0, 0, last]);

describe('links', () => {
  const header = (flags: number, family = 0) => [family, 0, 1, 0, 5, 0, 0, 0, flags, 0, 1, 0, 0, 0, 0, 0];
  const veth = encodeAttribute(1, text('veth'));
  const statistics = (rx: number) => new Uint8Array(new BigUint64Array([BigInt(rx), 0n, 0n, 0n, 0n, 0n]).buffer);
  const attributes = (rx = 0): [number, Uint8Array][] => [
    [3, text('eth5')],
    [1, mac(5)],
    [4, u32Bytes(1400)],
    [5, u32Bytes(9)],
    [18, veth],
    [23, statistics(rx)],
    [33, new Uint8Array([1])],
    [37, u32Bytes(0)],
  ];

  it('are read with their peer in another namespace', () => {
    expect(apply(RTM.NEWLINK, header(0x43), attributes(77))).toBe('link');
    expect(tables.links.get(5)).toMatchObject({
      ifindex: 5,
      name: 'eth5',
      mac: '02:00:00:00:00:05',
      mtu: 1400,
      up: true,
      running: true,
      ethernet: true,
      kind: 'veth',
      peerIfindex: 9,
      peerInOtherNamespace: true,
      statistics: { rxPackets: 77 },
    });
  });

  it('that only counted are no change, and are stored', () => {
    apply(RTM.NEWLINK, header(0x43), attributes(1));
    expect(apply(RTM.NEWLINK, header(0x43), attributes(2))).toBeUndefined();
    expect(tables.links.get(5)?.statistics.rxPackets).toBe(2);
    expect(apply(RTM.NEWLINK, header(0x02), attributes(2))).toBe('link');
    expect(apply(RTM.DELLINK, header(0), attributes())).toBe('link');
    expect(apply(RTM.DELLINK, header(0), attributes())).toBeUndefined();
  });

  it('told once more by the bridge are not links', () => {
    expect(apply(RTM.NEWLINK, header(0x43, 7), attributes())).toBeUndefined();
    expect(apply(RTM.DELLINK, header(0x43, 7), attributes())).toBeUndefined();
    expect(tables.links.size).toBe(0);
  });
});

describe('addresses', () => {
  const header = [2, 24, 0, 0, 5, 0, 0, 0];

  it('renewed are no change', () => {
    const attributes: [number, Uint8Array][] = [
      [1, v4('10.0.0.2')],
      [2, v4('10.0.0.1')],
    ];
    expect(apply(RTM.NEWADDR, header, attributes)).toBe('address');
    expect(apply(RTM.NEWADDR, header, attributes)).toBeUndefined();
    expect([...tables.addresses.values()]).toEqual([
      { ifindex: 5, address: '10.0.0.1', prefixLength: 24, family: 4, scope: 0 },
    ]);
    expect(apply(RTM.DELADDR, header, attributes)).toBe('address');
    expect(tables.addresses.size).toBe(0);
  });

  it('of IPv6 have no local attribute', () => {
    apply(RTM.NEWADDR, [10, 64, 0, 253, 5, 0, 0, 0], [[1, v6('fe80::1')]]);
    expect([...tables.addresses.values()][0]).toMatchObject({
      address: 'fe80::1',
      prefixLength: 64,
      family: 6,
      scope: 253,
    });
  });
});

describe('routes', () => {
  const header = (length: number, flags = 0, family = 2) => [family, length, 0, 0, 254, 3, 0, 1, 0, flags, 0, 0];
  const via = (gateway: string): [number, Uint8Array][] => [
    [1, v4('10.1.0.0')],
    [4, u32Bytes(5)],
    [5, v4(gateway)],
    [6, u32Bytes(100)],
  ];

  it('are read, the default one too', () => {
    expect(
      apply(RTM.NEWROUTE, header(0), [
        [4, u32Bytes(5)],
        [5, v4('10.0.0.9')],
        [7, v4('10.0.0.1')],
      ]),
    ).toBe('route');
    expect([...tables.routes.values()]).toEqual([
      {
        family: 4,
        destination: '0.0.0.0/0',
        gateway: '10.0.0.9',
        ifindex: 5,
        table: 254,
        protocol: 3,
        type: 1,
        metric: 0,
        preferredSource: '10.0.0.1',
      },
    ]);
  });

  it('that replace another take its place', () => {
    apply(RTM.NEWROUTE, header(16), via('10.0.0.1'));
    apply(RTM.NEWROUTE, header(16), via('10.0.0.2'), NLM_F_REPLACE);
    expect([...tables.routes.values()].map((route) => route.gateway)).toEqual(['10.0.0.2']);
  });

  it('show the first of several ways', () => {
    const hop = new Uint8Array([16, 0, 0, 0, 8, 0, 0, 0, ...encodeAttribute(5, v4('10.0.0.7'))]);
    apply(RTM.NEWROUTE, header(16), [
      [1, v4('10.2.0.0')],
      [9, hop],
    ]);
    expect([...tables.routes.values()][0]).toMatchObject({
      gateway: '10.0.0.7',
      ifindex: 8,
      destination: '10.2.0.0/16',
    });
  });

  it('that are only cached do not count', () => {
    expect(apply(RTM.NEWROUTE, header(128, 2, 10), [[1, v6('2001:db8::1')]])).toBeUndefined();
  });
});

describe('neighbours', () => {
  const header = (state: number, family = 2) => [family, 0, 0, 0, 5, 0, 0, 0, state, 0, 0, 1];
  const at = (last: number): [number, Uint8Array][] => [
    [1, v4('10.0.0.9')],
    [2, mac(last)],
  ];

  it('change when the MAC address or its validity does, not with every confirmation', () => {
    const [incomplete, reachable, stale, failed] = [1, 2, 4, 0x20];
    expect(apply(RTM.NEWNEIGH, header(incomplete), [[1, v4('10.0.0.9')]])).toBeUndefined();
    expect(apply(RTM.NEWNEIGH, header(reachable), at(1))).toBe('neighbor');
    expect(apply(RTM.NEWNEIGH, header(stale), at(1))).toBeUndefined();
    expect([...tables.neighbors.values()][0]?.state).toBe(stale);
    expect(apply(RTM.NEWNEIGH, header(reachable), at(2))).toBe('neighbor');
    expect(apply(RTM.NEWNEIGH, header(failed), [[1, v4('10.0.0.9')]])).toBe('neighbor');
    expect(apply(RTM.DELNEIGH, header(failed), [[1, v4('10.0.0.9')]])).toBeUndefined();
    expect(tables.neighbors.size).toBe(0);
  });

  it('of a bridge are not ours', () => {
    expect(apply(RTM.NEWNEIGH, header(2, 7), at(1))).toBeUndefined();
  });
});

describe('broken datagrams', () => {
  it('end where they make no sense', () => {
    const good = encodeMessage(RTM.NEWLINK, 0, 0, new Uint8Array(16));
    const broken = new Uint8Array([...good, 3, 0, 0, 0, ...new Uint8Array(12)]);
    expect([...decodeMessages(broken)].length).toBe(1);
    expect([...decodeMessages(new Uint8Array(7))]).toEqual([]);
    expect(apply(RTM.NEWLINK, [0, 0], [])).toBeUndefined();
    expect(apply(99, [], [])).toBeUndefined();
  });
});
