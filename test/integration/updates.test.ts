import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  defaultPlugins,
  deleteServices,
  type Lab,
  names,
  pause,
  serverEndpoints,
  serviceBody,
  startLab,
  talkingClient,
  tcp,
  until,
} from './harness/index.js';

/** Services change while they are used. */
describe('a service that is changed in place', () => {
  const clients = Array.from({ length: 24 }, (_, i) => `10.10.10.${101 + i}`);
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ plugins: { ...defaultPlugins, lb: { persistTimeoutSeconds: 10 } } });
    await lab.network.client.netns.ip(...clients.map((address) => `addr add ${address}/24 dev eth0`));
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const vip = () => lab.network.vip.v4;
  const endpoints = (count: number) => serverEndpoints(lab.network, 'v4').slice(0, count);
  const askAll = (port: number) =>
    tcp(lab.network.client.netns, { host: vip(), port, count: clients.length, localAddress: clients });

  it('persist: clients stay when an endpoint comes, until they have been idle for the timeout', async () => {
    await createService(lab.daemon, { vip: vip(), port: 7001, select: 'persist', endpoints: endpoints(2) });
    const before = names(await askAll(7001));
    expect([...new Set(before)].sort()).toEqual(['server1', 'server2']);
    await createService(lab.daemon, { vip: vip(), port: 7001, select: 'persist', endpoints: endpoints(3) });
    expect(names(await askAll(7001))).toEqual(before);
    await pause(11_000);
    expect(new Set(names(await askAll(7001))).size).toBe(3);
  });

  it('connections survive any change that leaves their endpoint', async () => {
    await createService(lab.daemon, { vip: vip(), port: 7002, endpoints: endpoints(1) });
    const talk = await talkingClient(lab.network.client.netns, { host: vip(), port: 7002, count: 3, everyMs: 50 });
    for (const change of [
      { select: 'hash', endpoints: endpoints(3) },
      { select: 'lc', mode: 'fullnat', endpoints: endpoints(2) },
      { select: 'rr', mode: 'onearm', endpoints: endpoints(3), inactiveTimeOut: 100 },
    ] as const) {
      await createService(lab.daemon, { vip: vip(), port: 7002, ...change });
      await pause(200);
    }
    expect(await talk.summary()).toMatchObject({ open: 3, ended: 0 });
  });

  it('a refused change changes nothing', async () => {
    await createService(lab.daemon, { vip: vip(), port: 7003, endpoints: endpoints(3) });
    const body = serviceBody({ vip: vip(), port: 7003, endpoints: [{ ip: '224.0.0.1' }] });
    const before = (await lab.daemon.api.get('/config/loadbalancer/all')).body;
    expect((await lab.daemon.api.post('/config/loadbalancer', body)).status).toBe(400);
    expect((await lab.daemon.api.get('/config/loadbalancer/all')).body).toEqual(before);
    const replies = await tcp(lab.network.client.netns, { host: vip(), port: 7003, count: 3 });
    expect(names(replies)).toEqual(['server1', 'server2', 'server3']);
  });

  it('deleting a service ends its connections', async () => {
    await createService(lab.daemon, { vip: vip(), port: 7004, endpoints: endpoints(1) });
    const talk = await talkingClient(lab.network.client.netns, { host: vip(), port: 7004, count: 3 });
    await deleteServices(lab.daemon);
    // The next walk over the flows takes them away, without a word to either end.
    const flows = async (): Promise<unknown[]> => (await lab.daemon.api.get('/config/conntrack/all')).body.ctAttr ?? [];
    await until('its flows are gone', async () => !JSON.stringify(await flows()).includes('7004'));
    expect((await talk.summary()).open).toBe(0);
  });
});
