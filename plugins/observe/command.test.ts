import { describe, expect, it } from 'vitest';
import { formatEvent, formatLost, observePath, traceBody } from './command-line.js';
import type { ObservedEvent } from './model.js';

describe('trace', () => {
  const args = ['10.0.0.1', '20.20.20.1'];

  it('is one request', () => {
    expect(
      traceBody(args, { tcp: '1000:80', in: 'eth0', ack: true, flags: ['PSH'], mark: 5, size: 100, ttl: 1 }),
    ).toEqual({
      ...{ source: '10.0.0.1', destination: '20.20.20.1', protocol: 'tcp', sourcePort: 1000, destinationPort: 80 },
      ...{ interface: 'eth0', flags: ['ack', 'psh'], mark: 5, size: 100, ttl: 1 },
    });
    expect(traceBody(args, { icmp: true, in: 'eth0' })).toEqual({
      ...{ source: '10.0.0.1', destination: '20.20.20.1', protocol: 'icmp', interface: 'eth0' },
    });
  });

  it.each([
    [['10.0.0.1'], { tcp: '1:2', in: 'eth0' }, 'Error: trace needs <source> and <destination> args'],
    [args, { tcp: '1:2' }, 'Error: trace needs --in, the device the packet comes in by'],
    [args, { in: 'eth0' }, 'Error: trace needs one of --tcp, --udp, --sctp and --icmp'],
    [args, { in: 'eth0', tcp: '1:2', udp: '1:2' }, 'Error: trace needs one of --tcp, --udp, --sctp and --icmp'],
    [args, { in: 'eth0', tcp: '80' }, "Error: --tcp '80' is not <source port>:<destination port>"],
    [args, { in: 'eth0', udp: '1:70000' }, "Error: --udp '1:70000' is not <source port>:<destination port>"],
    [
      args,
      { in: 'eth0', tcp: '1:2', flags: ['xmas'] },
      "Error: 'xmas' is no TCP flag: fin, syn, rst, psh, ack, urg, ece, cwr",
    ],
  ])('%j %j: %s', (words, flags, message) => {
    expect(() => traceBody(words, flags)).toThrow(message);
  });
});

describe('observe', () => {
  const event: ObservedEvent = {
    ...{ time: '2026-11-22T22:40:00.123456Z', kind: 'drop', reason: 'source', number: 9, service: '', length: 60 },
    ...{ serviceAddress: '20.20.20.1:80/tcp', interface: 'eth0', protocol: 'tcp', source: '10.0.0.1:1000' },
    ...{ destination: '20.20.20.1:80', tcpFlags: 'SYN' },
  };

  it('asks for what the flags say', () => {
    expect(observePath({})).toBe('/observe');
    expect(observePath({ drop: true, service: '[2001:db8::1]:80', sample: 10 })).toBe(
      '/observe?kind=drop&service=%5B2001%3Adb8%3A%3A1%5D%3A80&sample=10',
    );
  });

  it('prints a line per packet', () => {
    expect(formatEvent(event)).toBe(
      '22:40:00.123456 drop  source           eth0     tcp   10.0.0.1:1000 > 20.20.20.1:80, SYN, 60 bytes, service 20.20.20.1:80/tcp',
    );
    expect(formatLost({ events: 1, where: 'client' })).toBe('... 1 packet is not shown: this client was too slow');
  });
});
