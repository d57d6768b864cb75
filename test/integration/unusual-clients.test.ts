import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Lab,
  type Mode,
  names,
  serverEndpoints,
  startEchoServer,
  startLab,
  tcp,
  udp,
  untilReached,
} from './harness/index.js';

/** Clients and endpoints that are not simply on either side of the balancer. */
describe.each<Family>(['v4', 'v6'])('%s', (family) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    await startEchoServer(lab.network.lb, 'balancer', 8080);
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const vip = () => lab.network.vip[family];

  describe.each<Mode>(['default', 'onearm', 'fullnat'])('mode %s', (mode) => {
    it('an endpoint reaches the service and may be given itself (hairpin)', async () => {
      const server = lab.network.server(1);
      const endpoints = [{ ip: server[family] }];
      await createService(lab.daemon, { vip: vip(), mode, endpoints });
      await createService(lab.daemon, { vip: vip(), mode, protocol: 'udp', endpoints });
      expect(names(await tcp(server.netns, { host: vip(), port: 2020, count: 3 }))).toEqual([
        'server1',
        'server1',
        'server1',
      ]);
      expect(names(await udp(server.netns, { host: vip(), port: 2020, count: 3 }))).toEqual([
        'server1',
        'server1',
        'server1',
      ]);
    });

    it('an endpoint reaches the others through the service', async () => {
      await createService(lab.daemon, { vip: vip(), mode, endpoints: serverEndpoints(lab.network, family) });
      const replies = await tcp(lab.network.server(2).netns, { host: vip(), port: 2020, count: 6 });
      expect(names(replies)).toEqual(['server1', 'server2', 'server3', 'server1', 'server2', 'server3']);
    });

    it('the balancer itself reaches the service', async () => {
      const endpoints = serverEndpoints(lab.network, family);
      await createService(lab.daemon, { vip: vip(), mode, endpoints });
      await createService(lab.daemon, { vip: vip(), mode, protocol: 'udp', endpoints });
      await untilReached(lab.network.lb, vip());
      const expected = ['server1', 'server2', 'server3'];
      expect(names(await tcp(lab.network.lb, { host: vip(), port: 2020, count: 3 }))).toEqual(expected);
      expect(names(await udp(lab.network.lb, { host: vip(), port: 2020, count: 3 }))).toEqual(expected);
    });

    it('a process of the balancer serves as endpoint', async () => {
      const endpoints = [{ ip: lab.network.client.gateway[family] }];
      await createService(lab.daemon, { vip: vip(), mode, endpoints });
      await createService(lab.daemon, { vip: vip(), mode, protocol: 'udp', endpoints });
      const expected = ['balancer', 'balancer'];
      expect(names(await tcp(lab.network.client.netns, { host: vip(), port: 2020, count: 2 }))).toEqual(expected);
      expect(names(await udp(lab.network.client.netns, { host: vip(), port: 2020, count: 2 }))).toEqual(expected);
    });
  });

  it('what is no service goes its way untouched', async () => {
    await createService(lab.daemon, { vip: vip(), endpoints: serverEndpoints(lab.network, family) });
    const server = lab.network.server(3);
    const [direct] = await tcp(lab.network.client.netns, { host: server[family], port: 8080 });
    expect(direct).toMatchObject({ name: 'server3', from: { address: lab.network.client[family] } });
    const [local] = await tcp(lab.network.client.netns, { host: lab.network.client.gateway[family], port: 8080 });
    expect(local).toMatchObject({ name: 'balancer' });
  });
});
