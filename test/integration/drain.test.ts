import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { deleteServices, type Lab, pause, serviceBody, startLab, until } from './harness/index.js';

/** In this time a daemon is ended and started again, also on a busy machine. */
const DRAIN_SECONDS = 12;

const program = fileURLToPath(new URL('./programs/idle-client.mjs', import.meta.url));

interface Listed {
  readonly endpoints: { endpointIP: string; stats: { connections: number; current: number } }[];
  readonly stats: { packets: number; bytes: number; connections: number; current: number };
  readonly draining?: { endpointIP: string; state: string; stats: { current: number } }[];
}

/** What becomes of connections whose endpoint, or whole service, is taken away. */
describe('connections of an endpoint that leaves', () => {
  let lab: Lab;
  let port = 5000;

  beforeAll(async () => {
    lab = await startLab({ servers: 2 });
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const post = async (service: object, servers: readonly number[]): Promise<void> => {
    const endpoints = servers.map((number) => ({ ip: lab.network.server(number).v4 }));
    const body = serviceBody({ vip: lab.network.vip.v4, port, mode: 'onearm', endpoints }) as {
      serviceArguments: object;
    };
    Object.assign(body.serviceArguments, service);
    const { status } = await lab.daemon.api.post('/config/loadbalancer', body);
    expect(status).toBe(200);
  };
  const listed = async (): Promise<Listed> =>
    ((await lab.daemon.api.get('/config/loadbalancer/all')).body as { lbAttr: Listed[] }).lbAttr[0] as Listed;
  const remove = (query: string) =>
    lab.daemon.api.delete(
      `/config/loadbalancer/externalipaddress/${lab.network.vip.v4}/port/${port}/protocol/tcp${query}`,
    );

  /** A connection that says something every 100 ms for `seconds`, and then waits for its end. */
  const connect = async (seconds: number) => {
    const options = JSON.stringify({ host: lab.network.vip.v4, port, writes: seconds * 10, everyMs: 100 });
    const client = lab.network.client.netns.spawn('client', process.execPath, [program, options]);
    await client.line(/connected/);
    return {
      /** How it ended. */
      async ended(): Promise<string> {
        return JSON.parse((await client.line(/(\{"end".*\})/))[1] ?? '').end;
      },
    };
  };
  const openAt = async (number: number): Promise<number> => {
    const text = await lab.network.server(number).netns.sh("ss -Htn state established '( sport = :8080 )'");
    return text.split('\n').filter((line) => line !== '').length;
  };

  /** One connection to server 1 and one to server 2. */
  const connectBoth = async (service: object) => {
    port++;
    await post(service, [1, 2]);
    return [await connect(60), await connect(60)] as const;
  };

  it('are reset at both ends, and no others', async () => {
    const [first] = await connectBoth({ onEndpointDown: 'reset' });
    expect([await openAt(1), await openAt(2)]).toEqual([1, 1]);
    await post({ oper: 2 }, [1]);
    expect(await first.ended()).toBe('ECONNRESET');
    await until('the server has heard', async () => (await openAt(1)) === 0);
    await pause(1_500);
    expect(await openAt(2)).toBe(1);
    expect((await listed()).endpoints).toMatchObject([{ stats: { connections: 1, current: 1 } }]);
  });

  it('drain, and are reset when the time is over, which a killed daemon does not change', async () => {
    const [first] = await connectBoth({ onEndpointDown: 'reset' });
    const begin = performance.now();
    await post({ oper: 2, drainTimeout: DRAIN_SECONDS }, [1]);
    expect((await listed()).draining).toMatchObject([
      { endpointIP: lab.network.server(1).v4, state: 'draining', stats: { current: 1 } },
    ]);
    await pause(1_000);
    await lab.daemon.kill();
    await lab.daemon.start();
    expect((await listed()).draining).toHaveLength(1);
    expect(await first.ended()).toBe('ECONNRESET');
    const seconds = (performance.now() - begin) / 1000;
    expect(seconds).toBeGreaterThan(DRAIN_SECONDS - 0.1);
    expect(seconds).toBeLessThan(DRAIN_SECONDS + 6);
    await until('the server has heard', async () => (await openAt(1)) === 0);
    expect(await openAt(2)).toBe(1);
    await until('it is gone', async () => (await listed()).draining === undefined);
    expect((await listed()).stats.connections).toBe(2);
  });

  it('end by themselves while they drain', async () => {
    port++;
    await post({}, [1]);
    const lines = 'for i in $(seq 80); do echo line $i; sleep 0.1; done';
    const talk = lab.network.client.netns.sh(
      `(${lines}) | socat -t 10 - TCP4:${lab.network.vip.v4}:${port} | grep -c line`,
    );
    await until('the connection is there', async () => (await openAt(1)) === 1);
    expect((await remove('?drain=600')).status).toBe(200);
    const { body } = await lab.daemon.api.get('/config/endpoint/all');
    expect(body).toMatchObject({ Attr: [{ hostName: lab.network.server(1).v4, currState: 'draining', flows: 1 }] });
    const refused = await lab.network.client.netns.run('socat', [
      '-T1',
      '/dev/null',
      `TCP4:${lab.network.vip.v4}:${port},connect-timeout=1`,
    ]);
    expect(refused.code).not.toBe(0);
    expect(Number(await talk)).toBe(80);
    await until(
      'nothing drains any more',
      async () => ((await lab.daemon.api.get('/config/endpoint/all')).body as { Attr: unknown[] }).Attr.length === 0,
      60_000,
    );
    expect(await lab.daemon.dumpMap('lb_drain')).toEqual([]);
  });

  it('are cut without a drain', async () => {
    const [first] = await connectBoth({});
    const begin = performance.now();
    await post({}, [2]);
    await first.ended();
    expect((performance.now() - begin) / 1000).toBeLessThan(10);
    expect(await openAt(2)).toBe(1);
  });

  it('refuses a drain of more than a day', async () => {
    port++;
    await post({}, [1]);
    expect((await remove('?drain=86401')).status).toBe(400);
    expect((await remove('?drain=soon')).status).toBeGreaterThanOrEqual(400);
    expect((await listed()).endpoints).toHaveLength(1);
  });
});
