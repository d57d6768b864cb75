import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createService, type Lab, startLab, tcp } from './harness/index.js';

describe('forwarding as a router does', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const { client } = lab.network;
    await client.netns.sysctl({ 'net.ipv4.ip_default_ttl': 44, 'net.ipv6.conf.eth0.hop_limit': 44 });
    for (const family of ['v4', 'v6'] as const) {
      const endpoints = [{ ip: lab.network.server(1)[family] }];
      await createService(lab.daemon, { vip: lab.network.vip[family], endpoints });
      await createService(lab.daemon, { vip: lab.network.vip[family], protocol: 'icmp', endpoints });
    }
  });
  afterAll(() => lab?.dispose());

  it.each([
    ['v4', /ttl 43,/, 'ip'],
    ['v6', /hlim 43,/, 'ip6'],
  ] as const)(
    '%s: takes one from the hop limit, of the first packet and of later ones',
    async (family, pattern, ip) => {
      const { client, server, vip } = lab.network;
      const capture = server(1).netns.spawn('tcpdump', 'tcpdump', [
        '-nvlc',
        '3',
        '-i',
        'eth0',
        '-Q',
        'in',
        // The other family's connection may still be saying goodbye.
        `${ip} and tcp port 8080`,
      ]);
      await capture.line(/listening on/);
      await tcp(client.netns, { host: vip[family], port: 2020 });
      await capture.end();
      const packets = capture.output.split('\n').filter((line) => /ttl|hlim/.test(line));
      expect(packets.length).toBe(3);
      for (const packet of packets) expect(packet).toMatch(pattern);
    },
  );

  it.each([
    ['v4', /Time to live exceeded/],
    ['v6', /Time exceeded: Hop limit/],
  ] as const)('%s: tells the sender of a packet whose hops are used up', async (family, pattern) => {
    const { client, vip } = lab.network;
    const { stdout } = await client.netns.run('ping', ['-c', '1', '-W', '10', '-t', '1', vip[family]]);
    expect(stdout).toMatch(pattern);
  });
});
