import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Host,
  type Lab,
  type Mode,
  ping,
  serverEndpoints,
  startLab,
} from './harness/index.js';

/** Echo requests a host's kernel has answered so far. */
async function echoes(host: Host, family: Family): Promise<number> {
  if (family === 'v6') {
    const text = await host.netns.must('cat', ['/proc/net/snmp6']);
    return Number(text.match(/^Icmp6InEchos\s+(\d+)/m)?.[1]);
  }
  const [names = '', values = ''] = (await host.netns.must('grep', ['^Icmp:', '/proc/net/snmp'])).split('\n');
  return Number(values.split(' ')[names.split(' ').indexOf('InEchos')]);
}

describe('ICMP echo as a service', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());

  describe.each<Mode>(['default', 'onearm', 'fullnat'])('mode %s', (mode) => {
    it.each<Family>(['v4', 'v6'])(
      '%s: each ping program has an endpoint of its own for all its requests',
      async (family) => {
        const { network, daemon } = lab;
        const vip = network.vip[family];
        const endpoints = serverEndpoints(network, family);
        await createService(daemon, { vip, protocol: 'icmp', mode, endpoints });
        const before = await Promise.all(network.servers.map((server) => echoes(server, family)));
        for (let i = 0; i < 3; i++) expect(await ping(network.client.netns, vip, 4, '-s', '1000')).toBe(4);
        const after = await Promise.all(network.servers.map((server) => echoes(server, family)));
        expect(after.map((count, i) => count - (before[i] ?? 0))).toEqual([4, 4, 4]);
        await deleteServices(daemon);
      },
    );
  });
});
