import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  createService,
  deleteServices,
  type Family,
  type Lab,
  serverEndpoints,
  startLab,
  tcp,
  udp,
} from './harness/index.js';

describe.each<Family>(['v4', 'v6'])('endpoints that are out of service, %s', (family) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const setState = async (servers: readonly number[], state: 'red' | 'green'): Promise<void> => {
    for (const number of servers) {
      const hostName = lab.network.server(number)[family];
      const answer = await lab.daemon.api.post('/config/endpointhoststate', { hostName, state });
      expect(answer).toMatchObject({ status: 200 });
    }
  };
  const create = (protocol: 'tcp' | 'udp', port: number): Promise<void> =>
    createService(lab.daemon, {
      vip: lab.network.vip[family],
      protocol,
      port,
      endpoints: serverEndpoints(lab.network, family),
    });

  it('are never chosen, and come back', async () => {
    await create('tcp', 4001);
    await setState([2], 'red');
    const ask = () => tcp(lab.network.client.netns, { host: lab.network.vip[family], port: 4001, count: 6 });
    expect(countByName(await ask())).toEqual({ server1: 3, server3: 3 });
    await setState([2], 'green');
    expect(countByName(await ask())).toEqual({ server1: 2, server2: 2, server3: 2 });
  });

  it('all of them: TCP is refused at once, and counted', async () => {
    await create('tcp', 4002);
    await setState([1, 2, 3], 'red');
    const [reply] = await tcp(lab.network.client.netns, { host: lab.network.vip[family], port: 4002 });
    expect(reply?.error).toBe('ECONNREFUSED');
    expect(reply?.ms).toBeLessThan(500);
    const metrics = await lab.daemon.api.get('/metrics');
    expect(metrics.body).toMatch(/no_endpoint[^\n]*\s[1-9]/);
    await setState([1, 2, 3], 'green');
  });

  it('all of them: UDP is answered with ICMP unreachable at once', async () => {
    await create('udp', 4003);
    await setState([1, 2, 3], 'red');
    const started = Date.now();
    const [reply] = await udp(lab.network.client.netns, { host: lab.network.vip[family], port: 4003 });
    expect(reply?.error).toBe('ECONNREFUSED');
    expect(Date.now() - started).toBeLessThan(1500);
    await setState([1, 2, 3], 'green');
  });
});
