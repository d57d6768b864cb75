import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  createService,
  defaultPlugins,
  deleteServices,
  type Family,
  type Lab,
  type Mode,
  names,
  pause,
  type Selection,
  serverEndpoints,
  startLab,
  talkingClient,
  tcp,
  udp,
  until,
} from './harness/index.js';

const healthSwitch = fileURLToPath(new URL('./plugins/health-switch', import.meta.url));
const PORT = 2020;

interface Stats {
  readonly packets: number;
  readonly bytes: number;
  readonly connections: number;
  readonly current: number;
}

/** Endpoints come, go, fail and change while a service is busy. */
describe('a busy service', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 4, plugins: { ...defaultPlugins, [healthSwitch]: {} } });
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const client = () => lab.network.client.netns;
  const endpointsOf = (family: Family, servers: readonly number[], weights: readonly number[] = []) => {
    const all = serverEndpoints(lab.network, family);
    return servers.flatMap((number, index) => {
      const endpoint = all[number - 1];
      return endpoint ? [{ ...endpoint, weight: weights[index] ?? 1 }] : [];
    });
  };
  const serve = (
    servers: readonly number[],
    options: {
      family?: Family;
      mode?: Mode;
      select?: Selection;
      port?: number;
      more?: object;
      weights?: number[];
    } = {},
  ) => {
    const { family = 'v4', weights, ...rest } = options;
    const endpoints = endpointsOf(family, servers, weights);
    return createService(lab.daemon, { vip: lab.network.vip[family], endpoints, ...rest });
  };
  const openAt = async (number: number): Promise<number> => {
    const text = await lab.network.server(number).netns.sh("ss -Htn state established '( sport = :8080 )'");
    return text.split('\n').filter((line) => line !== '').length;
  };
  const resetsAt = async (number: number): Promise<number> => {
    const text = await lab.network.server(number).netns.must('grep', ['^Tcp:', '/proc/net/snmp']);
    const [names = '', values = ''] = text.split('\n');
    return Number(values.split(' ')[names.split(' ').indexOf('EstabResets')]);
  };
  const talkTo = (count: number, port = PORT, family: Family = 'v4') =>
    talkingClient(client(), { host: lab.network.vip[family], port, count, everyMs: 50 });
  const setActive = async (number: number, active: boolean): Promise<void> => {
    const body = { address: lab.network.server(number).v4, protocol: 'tcp', port: 8080, active };
    expect(await lab.daemon.api.post('/test/endpoint-health', body)).toEqual({ status: 200, body: { known: true } });
  };

  describe.each<Mode>(['default', 'fullnat'])('mode %s', (mode) => {
    it('an endpoint that fails has its own connections reset at both ends, in its own rule', async () => {
      await serve([1, 2, 3], { mode, more: { onEndpointDown: 'reset' } });
      // The same endpoint in a rule that keeps what it has.
      await serve([1], { mode, port: 2021 });
      const [talk, other] = [await talkTo(30), await talkTo(5, 2021)];
      const before = await resetsAt(1);
      await setActive(1, false);
      await until('the failed endpoint has heard', async () => (await openAt(1)) === 5);
      expect((await resetsAt(1)) - before).toBe(10);
      expect([await openAt(2), await openAt(3)]).toEqual([10, 10]);
      const replies = await tcp(client(), { host: lab.network.vip.v4, port: PORT, count: 4 });
      expect(countByName(replies)).toEqual({ server2: 2, server3: 2 });
      expect(await talk.summary()).toMatchObject({ open: 20, ended: 10 });
      expect(await other.summary()).toMatchObject({ open: 5, ended: 0 });
      await setActive(1, true);
      const after = await tcp(client(), { host: lab.network.vip.v4, port: PORT, count: 3 });
      expect(names(after)).toContain('server1');
    });

    it('a rule that is deleted has its connections reset, and no others', async () => {
      await serve([1, 2], { mode, more: { onEndpointDown: 'reset' } });
      await serve([1, 2], { mode, port: 2021 });
      const [talk, other] = [await talkTo(10), await talkTo(10, 2021)];
      const path = `/config/loadbalancer/externalipaddress/${lab.network.vip.v4}/port/${PORT}/protocol/tcp`;
      expect((await lab.daemon.api.delete(path)).status).toBe(200);
      await until('the endpoints have heard', async () => (await openAt(1)) + (await openAt(2)) === 10);
      expect(await talk.summary()).toMatchObject({ open: 0, ended: 10 });
      expect(await other.summary()).toMatchObject({ open: 10, ended: 0 });
    });

    it.each<Selection>(['rr', 'hash', 'lc'])(
      'endpoints that come and go lose no connection, old or new: %s',
      async (select) => {
        await serve([1, 2], { mode, select });
        const talk = await talkTo(100);
        const fresh = tcp(client(), {
          host: lab.network.vip.v4,
          port: PORT,
          count: 1_000,
          parallel: 4,
        });
        for (let round = 0; round < 5; round++) {
          for (const number of [3, 4]) await serve([number], { mode, select, more: { oper: 1 } });
          await pause(50);
          for (const number of [3, 4]) await serve([number], { mode, select, more: { oper: 2, drainTimeout: 30 } });
        }
        expect((await fresh).filter(({ error }) => error !== undefined)).toEqual([]);
        expect(await talk.summary()).toMatchObject({ open: 100, ended: 0 });
      },
    );
  });

  it('weights from 1 to 255 are kept exactly, and as exactly after a change', async () => {
    const ask = async (count: number) =>
      countByName(await tcp(client(), { host: lab.network.vip.v4, port: PORT, count }));
    await serve([1, 2, 3], { select: 'priority', weights: [255, 128, 1] });
    expect(await ask(384)).toEqual({ server1: 255, server2: 128, server3: 1 });
    await serve([1, 2, 3, 4], { select: 'priority', weights: [1, 7, 0, 92] });
    expect(await ask(200)).toEqual({ server1: 2, server2: 14, server4: 184 });
  });

  it.each<Family>(['v4', 'v6'])(
    'hash: of the new flows hardly more than a share of the endpoint moves, %s',
    async (family) => {
      const [count, host] = [400, lab.network.vip[family]];
      // The same tuples each time; the flows of before are forgotten.
      const ask = async (): Promise<string[]> => {
        expect((await lab.daemon.api.delete('/config/conntrack/all')).status).toBe(200);
        const localAddress = lab.network.client[family];
        return names(await udp(client(), { host, port: PORT, count, localAddress, localPort: 20_000 }));
      };
      const serveUdp = (servers: readonly number[]) =>
        createService(lab.daemon, {
          vip: host,
          protocol: 'udp',
          select: 'hash',
          endpoints: endpointsOf(family, servers),
        });
      await serveUdp([1, 2, 3, 4]);
      const before = await ask();
      expect(await ask()).toEqual(before);
      await serveUdp([1, 2, 4]);
      const without = await ask();
      const moved = before.filter((name, index) => name !== 'server3' && name !== without[index]).length;
      expect(moved / count).toBeLessThan(0.05);
      await serveUdp([1, 2, 3, 4]);
      expect(await ask()).toEqual(before);
    },
  );

  it('counters go on through every change, restart included', async () => {
    const ask = async (count: number) => names(await tcp(client(), { host: lab.network.vip.v4, port: PORT, count }));
    const listed = async (): Promise<{ stats: Stats; endpoints: { endpointIP: string; stats: Stats }[] }> =>
      (await lab.daemon.api.get('/config/loadbalancer/all')).body.lbAttr[0];
    const connections = async () => {
      const { stats, endpoints } = await listed();
      return [stats.connections, ...endpoints.map((one) => one.stats.connections)];
    };
    await serve([1, 2]);
    await ask(10);
    expect(await connections()).toEqual([10, 5, 5]);
    let last = (await listed()).stats;
    const changes: (() => Promise<unknown>)[] = [
      () => serve([1, 2], { mode: 'fullnat' }),
      () => serve([1, 2], { select: 'hash' }),
      () => serve([1, 2], { more: { inactiveTimeOut: 77 } }),
      () => serve([3], { more: { oper: 1 } }),
      () => serve([1], { more: { oper: 2 } }),
      () => serve([1], { more: { oper: 1 } }),
      () => setActive(2, false),
      () => setActive(2, true),
      () => lab.daemon.restart(),
    ];
    let total = 10;
    for (const change of changes) {
      await change();
      await ask(6);
      total += 6;
      const { stats } = await listed();
      expect(stats.connections).toBe(total);
      // A connection is at least two packets from the server and three from the client, of 40 bytes or more.
      expect(stats.packets).toBeGreaterThanOrEqual(last.packets + 6 * 5);
      expect(stats.bytes).toBeGreaterThanOrEqual(last.bytes + 6 * 5 * 40);
      last = stats;
    }
  });
});
