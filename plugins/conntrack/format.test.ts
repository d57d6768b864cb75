import { encodeBytes, ipAddress } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { ENTRY_SIZE, type FlowFilter, formatBatch, KEY_SIZE, SERVICE_ID_OFFSET } from './format.js';
import {
  type CtEntry,
  CtFlags,
  CtIcmpState,
  type CtKey,
  CtNat,
  CtSctpState,
  CtTcpState,
  CtUdpState,
  ctEntry,
  ctKey,
} from './layout.gen.js';
import { guideConnection, rawBatch, type TestFlow, testEntry } from './testing/entries.js';

const SERVICE = 7;
const names = new Map([
  [SERVICE, 'default_web-service1:llb-inst0'],
  [8, ''],
]);

function format(flows: readonly TestFlow[], filter: FlowFilter = {}): Record<string, unknown>[] {
  const bytes = formatBatch({ ...rawBatch(flows), serviceNames: names, filter });
  return JSON.parse(`[${new TextDecoder().decode(bytes)}]`);
}

function formatOne(key: Partial<CtKey>, entry: Partial<CtEntry>): Record<string, unknown> {
  return format([{ key, entry }])[0] as Record<string, unknown>;
}

const client = { saddr: '10.0.0.1', sport: 40000 };
const toService = { ...client, daddr: '20.20.20.1', dport: 2020 };
const toEndpoint = { nsaddr: '10.0.0.1', nsport: 40000, ndaddr: '31.31.31.1', ndport: 8080 };
const fromEndpoint = { saddr: '31.31.31.1', sport: 8080, daddr: '10.0.0.1', dport: 40000 };
const toClient = { nsaddr: '20.20.20.1', nsport: 2020, ndaddr: '10.0.0.1', ndport: 40000, flags: 1 };

describe('formatBatch', () => {
  it('reads the layout the object was built with', () => {
    expect([KEY_SIZE, ENTRY_SIZE]).toEqual([ctKey.size, ctEntry.size]);
    const bytes = encodeBytes(ctEntry, testEntry({ serviceId: 0x01020304 }));
    expect(new DataView(bytes.buffer).getUint32(SERVICE_ID_OFFSET, true)).toBe(0x01020304);
  });

  it('knows every value of the enumerations', () => {
    expect(CtTcpState).toMatchObject({ CT_TCP_CLOSED: 0, CT_TCP_SYN_SENT: 1, CT_TCP_SYN_ACK: 2, CT_TCP_EST: 3 });
    expect(CtTcpState).toMatchObject({ CT_TCP_FINI: 4, CT_TCP_CLOSED_WAIT: 5, CT_TCP_ERR: 6 });
    expect(CtUdpState).toEqual({ CT_UDP_CLOSED: 0, CT_UDP_UNI: 1, CT_UDP_EST: 2 });
    expect(Object.keys(CtSctpState).map((name) => name.slice('CT_SCTP_'.length))).toEqual(
      'CLOSED INIT INIT_ACK COOKIE_ECHO COOKIE_ECHO_RESP PRE_EST EST SHUT SHUT_ACK SHUT_COMPLETE ABORT ERR'.split(' '),
    );
    expect(Object.values(CtIcmpState)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(CtNat).toEqual({ CT_NAT_DNAT: 0, CT_NAT_FULL: 1, CT_NAT_HAIRPIN: 2, CT_NAT_DSR: 3 });
    expect(CtFlags.CT_REPLY).toBe(1);
  });

  it('shows the connection of the guide', () => {
    expect(format(guideConnection(SERVICE))).toEqual([
      {
        bytes: 92,
        conntrackAct: 'fdnat-192.168.1.81,192.168.1.80:30523:w0',
        conntrackState: 'est',
        destinationIP: '192.168.1.99',
        destinationPort: 55001,
        ident: '0:0',
        packets: 2,
        protocol: 'tcp',
        servName: 'default_web-service1:llb-inst0',
        sourceIP: '192.168.1.103',
        sourcePort: 55873,
      },
      {
        bytes: 52,
        conntrackAct: 'fsnat-192.168.1.99,192.168.1.103:55001:w0',
        conntrackState: 'est',
        destinationIP: '192.168.1.81',
        destinationPort: 55873,
        ident: '0:0',
        packets: 1,
        protocol: 'tcp',
        servName: 'default_web-service1:llb-inst0',
        sourceIP: '192.168.1.80',
        sourcePort: 30523,
      },
    ]);
  });

  it.each([
    ['forward, destination only', toService, { ...toEndpoint, nat: 0 }, 'dnat-31.31.31.1:8080:w0'],
    ['reply, destination only', fromEndpoint, { ...toClient, nat: 0 }, 'snat-20.20.20.1:2020:w0'],
    [
      'forward, source too',
      toService,
      { ...toEndpoint, nsaddr: '31.31.31.254', nat: 1 },
      'fdnat-31.31.31.254,31.31.31.1:8080:w0',
    ],
    ['reply, source too', fromEndpoint, { ...toClient, nat: 1 }, 'fsnat-20.20.20.1,10.0.0.1:2020:w0'],
    ['forward, hairpin', toService, { ...toEndpoint, nsaddr: '20.20.20.1', nat: 2 }, 'hdnat-31.31.31.1:8080:w0'],
    ['reply, hairpin', fromEndpoint, { ...toClient, nat: 2 }, 'hsnat-20.20.20.1:2020:w0'],
    [
      'L2-DSR',
      toService,
      { nsaddr: '10.0.0.1', nsport: 40000, ndaddr: '31.31.31.1', ndport: 2020, nat: 3, flags: 32 },
      'ddsr-31.31.31.1:2020:w0',
    ],
    [
      'L3-DSR, the tunnel of another family',
      toService,
      { nsaddr: 'fd00::1', nsport: 40000, ndaddr: 'fd00::2', ndport: 2020, nat: 3, special: 3, flags: 32 },
      'ddsr-fd00::2:2020:w0',
    ],
    [
      'forward, IPv6 to IPv4',
      { saddr: '2001:db8::1', sport: 1, daddr: '2001:db8::99', dport: 80 },
      { nsaddr: '31.31.31.254', nsport: 1, ndaddr: '31.31.31.1', ndport: 8080, nat: 1, special: 4 },
      'fdnat-31.31.31.254,31.31.31.1:8080:w0',
    ],
    [
      'reply, IPv4 to IPv6',
      { saddr: '31.31.31.1', sport: 8080, daddr: '31.31.31.254', dport: 1 },
      { nsaddr: '2001:db8::99', nsport: 80, ndaddr: '2001:db8::1', ndport: 1, nat: 1, special: 4, flags: 1 },
      'fsnat-2001:db8::99,2001:db8::1:80:w0',
    ],
    [
      'IPv6',
      { saddr: '2001:db8::1', sport: 1, daddr: '2001:db8::99', dport: 80, proto: 17 },
      { nsaddr: '2001:db8::1', nsport: 1, ndaddr: 'fd00::2', ndport: 8080, nat: 0 },
      'dnat-fd00::2:8080:w0',
    ],
  ])('tells what happens to packets: %s', (_, key, entry, act) => {
    expect(formatOne(key, entry).conntrackAct).toBe(act);
  });

  it.each([
    [6, ['closed', 'sync-sent', 'sync-ack', 'est', 'fini', 'closed-wait', 'h/e', 'unk']],
    [17, ['closed', 'udp-uni', 'udp-est', 'unk']],
    [1, ['closed', 'req-sent', 'bidir', 'dest-unr', 'ttl-exp', 'icmp-redir', 'unk']],
    [58, ['closed', 'req-sent', 'bidir', 'dest-unr', 'ttl-exp', 'icmp-redir', 'unk']],
    [
      132,
      [
        ...['closed', 'init', 'init-ack', 'cookie-echo', 'cookie-echo-resp', 'pre-est', 'est'],
        ...['shut', 'shut-ack', 'shut-complete', 'abort', 'err', 'unk'],
      ],
    ],
    [47, ['unk']],
  ])('names the states of protocol %i', (proto, expected) => {
    const shown = expected.map((_, state) => formatOne({ proto }, { state }).conntrackState);
    expect(shown).toEqual(expected);
  });

  it.each([
    [6, 'tcp'],
    [17, 'udp'],
    [132, 'sctp'],
    [1, 'icmp'],
    [58, 'icmp6'],
    [47, '47'],
  ])('names protocol %i %s', (proto, expected) => {
    expect(formatOne({ proto }, {}).protocol).toBe(expected);
  });

  it('leaves out what is zero, and the act of a flow that is not translated', () => {
    const key = { saddr: '192.168.1.91', daddr: '192.168.1.81', proto: 1 };
    expect(formatOne(key, { nsaddr: '192.168.1.91', ndaddr: '192.168.1.81' })).toEqual({
      conntrackState: 'closed',
      destinationIP: '192.168.1.81',
      ident: '0:0',
      protocol: 'icmp',
      servName: '-',
      sourceIP: '192.168.1.91',
    });
  });

  it('shows counters above 2^32', () => {
    expect(formatOne(toService, { packets: 2n ** 33n + 1n, bytes: 2n ** 45n + 3n })).toMatchObject({
      packets: 2 ** 33 + 1,
      bytes: 2 ** 45 + 3,
    });
  });

  it('shows - for unnamed and unknown services and escapes names', () => {
    expect(formatOne(toService, { serviceId: 8 }).servName).toBe('-');
    expect(formatOne(toService, { serviceId: 9 }).servName).toBe('-');
    const task = { ...rawBatch([{ key: toService, entry: { serviceId: 1 } }]), filter: {} };
    const bytes = formatBatch({ ...task, serviceNames: new Map([[1, 'a"b\\서비스']]) });
    expect(JSON.parse(new TextDecoder().decode(bytes)).servName).toBe('a"b\\서비스');
  });

  it.each<[string, FlowFilter, number[]]>([
    ['nothing', {}, [0, 1, 2]],
    ['service', { serviceName: 'default_web-service1:llb-inst0' }, [0, 1]],
    ['no service', { serviceName: '-' }, [2]],
    ['unknown service', { serviceName: 'other' }, []],
    ['protocol', { protocol: 17 }, [2]],
    ['source', { source: encodeBytes(ipAddress, '192.168.1.80') }, [1]],
    ['destination', { destination: encodeBytes(ipAddress, '192.168.1.99') }, [0]],
    ['all of them', { protocol: 6, source: encodeBytes(ipAddress, '20.20.20.1') }, []],
  ])('filters by %s', (_, filter, expected) => {
    const flows = [...guideConnection(SERVICE), { key: { ...toService, proto: 17 }, entry: { serviceId: 9 } }];
    const all = format(flows);
    expect(format(flows, filter)).toEqual(expected.map((index) => all[index]));
  });

  it('writes nothing for an empty batch', () => {
    expect(formatBatch({ ...rawBatch([]), serviceNames: names, filter: {} })).toHaveLength(0);
  });
});
