import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  createService,
  defaultPlugins,
  deleteServices,
  type Family,
  kernelCounter,
  type Lab,
  pause,
  serverEndpoints,
  startLab,
  talkingClient,
  tcp,
  udp,
} from './harness/index.js';

const healthSwitch = fileURLToPath(new URL('./plugins/health-switch', import.meta.url));

describe.each<Family>(['v4', 'v6'])('endpoints that are out of service, %s', (family) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ plugins: { ...defaultPlugins, [healthSwitch]: {} } });
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const vip = () => lab.network.vip[family];
  const create = (protocol: 'tcp' | 'udp', port: number): Promise<void> =>
    createService(lab.daemon, { vip: vip(), protocol, port, endpoints: serverEndpoints(lab.network, family) });
  const setActive = async (servers: readonly number[], protocol: string, active: boolean): Promise<void> => {
    for (const number of servers) {
      const address = lab.network.server(number)[family];
      const answer = await lab.daemon.api.post('/test/endpoint-health', { address, protocol, port: 8080, active });
      expect(answer).toEqual({ status: 200, body: { known: true } });
    }
  };

  it('are never chosen, and come back', async () => {
    await create('tcp', 4001);
    const ask = () => tcp(lab.network.client.netns, { host: vip(), port: 4001, count: 6 });
    await setActive([2], 'tcp', false);
    expect(countByName(await ask())).toEqual({ server1: 3, server3: 3 });
    expect(await lab.daemon.loxicmdOk('get', 'ep')).toMatch(new RegExp(`${lab.network.server(2)[family]}.*nok`));
    await setActive([2], 'tcp', true);
    expect(countByName(await ask())).toEqual({ server1: 2, server2: 2, server3: 2 });
  });

  it('keep the connections they have', async () => {
    await create('tcp', 4004);
    const talk = await talkingClient(lab.network.client.netns, { host: vip(), port: 4004, count: 3 });
    await setActive([1, 2, 3], 'tcp', false);
    await pause(1_000);
    expect(await talk.summary()).toMatchObject({ open: 3, ended: 0 });
  });

  it('all of them: TCP is refused at once, and counted', async () => {
    await create('tcp', 4002);
    await setActive([1, 2, 3], 'tcp', false);
    const { netns } = lab.network.client;
    const sentAgain = () => kernelCounter(netns, 'TcpExt', 'TCPSynRetrans');
    const before = await sentAgain();
    const [reply] = await tcp(netns, { host: vip(), port: 4002 });
    expect(reply?.error).toBe('ECONNREFUSED');
    // At the first SYN.
    expect((await sentAgain()) - before).toBe(0);
    const metrics = await lab.daemon.api.get('/metrics');
    expect(metrics.body).toMatch(/no_endpoint[^\n]*\s[1-9]/);
  });

  it('all of them: UDP is answered with ICMP unreachable at once', async () => {
    await create('udp', 4003);
    await setActive([1, 2, 3], 'udp', false);
    // One datagram is sent: either it is refused, or nobody hears of it.
    const [reply] = await udp(lab.network.client.netns, { host: vip(), port: 4003 });
    expect(reply?.error).toBe('ECONNREFUSED');
  });
});
