import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createService, type Family, type Host, kernelCounter, type Lab, startLab, until } from './harness/index.js';

const program = fileURLToPath(new URL('./programs/idle-client.mjs', import.meta.url));
const IDLE_SECONDS = 3;

/** The user gave an idle time: flows end by it to the second, and both ends hear of it at once. */
describe('a TCP flow that was idle for too long', () => {
  let lab: Lab;
  let port = 3000;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
  });
  afterAll(() => lab?.dispose());

  function serve(family: Family, mode: 'default' | 'onearm' | 'fullnat', inactiveTimeOut: number) {
    const { network, daemon } = lab;
    const [vip, endpoints] = [network.vip[family], [{ ip: network.server(1)[family] }]];
    return createService(daemon, { vip, port, mode, inactiveTimeOut, endpoints });
  }

  async function connect(family: Family, mode: 'default' | 'onearm' | 'fullnat', writes = 1, idle = IDLE_SECONDS) {
    const { network } = lab;
    port++;
    const vip = network.vip[family];
    await serve(family, mode, idle);
    const options = JSON.stringify({ host: vip, port, writes });
    const client = network.client.netns.spawn('idle-client', process.execPath, [program, options]);
    await client.line(/connected/);
    return {
      async ended(): Promise<{ end: string; ms: number }> {
        const { end, ms, stalledMs } = JSON.parse((await client.line(/(\{"end".*\})/))[1] ?? '');
        // Time that nobody had on this machine is not the daemon's.
        return { end, ms: end === 'ECONNRESET' ? Math.max(ms - stalledMs, Math.min(ms, idle * 1000)) : ms };
      },
    };
  }

  const expected = {
    end: 'ECONNRESET',
    ms: expect.toSatisfy((ms: number) => ms > IDLE_SECONDS * 1000 - 100 && ms < IDLE_SECONDS * 1000 + 1000),
  };

  it.each([
    ['v4', 'default'],
    ['v4', 'onearm'],
    ['v4', 'fullnat'],
    ['v6', 'default'],
    ['v6', 'fullnat'],
  ] as const)('%s %s: is reset at both ends, to the second', async (family, mode) => {
    const server = lab.network.server(1);
    const before = await resetsOf(server);
    const client = await connect(family, mode);
    expect(await connectionsOf(server)).toBe(1);
    expect(await client.ended()).toEqual(expected);
    await until('the server has heard', async () => (await connectionsOf(server)) === 0);
    expect(await resetsOf(server)).toBe(before + 1);
  });

  it('lives as long as it is used', async () => {
    const begin = performance.now();
    const client = await connect('v4', 'default', 9);
    expect(await client.ended()).toEqual(expected);
    expect(performance.now() - begin).toBeGreaterThan(4000 + IDLE_SECONDS * 1000 - 100);
  });

  it('began with a longer time, which was made shorter', async () => {
    const client = await connect('v4', 'default', 1, 240);
    // By now the daemon knows that nothing ends for four minutes.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    await serve('v4', 'default', 6);
    const { end, ms } = await client.ended();
    expect(end).toBe('ECONNRESET');
    expect(ms).toBeGreaterThan(5900);
    expect(ms).toBeLessThan(8500);
  });

  it('ends while no daemon runs; the next one tells both ends', async () => {
    const server = lab.network.server(1);
    const idle = 6;
    const client = await connect('v6', 'fullnat', 1, idle);
    await lab.daemon.kill();
    await new Promise((resolve) => setTimeout(resolve, idle * 1000 + 500));
    expect(await connectionsOf(server)).toBe(1);
    expect(await lab.daemon.dumpMap('ct_idle')).toEqual([]);
    await lab.daemon.start();
    expect(await client.ended()).toMatchObject({ end: 'ECONNRESET' });
    await until('the server has heard', async () => (await connectionsOf(server)) === 0);
  });

  it('is counted', async () => {
    const before = await metric('loxilb_conntrack_resets_sent_total{to="endpoint"}');
    await (await connect('v4', 'fullnat')).ended();
    const read = () => metric('loxilb_conntrack_resets_sent_total{to="endpoint"}');
    await until('both are counted', async () => (await read()) === before + 1);
    expect(await metric('loxilb_conntrack_resets_lost_total')).toBe(0);
  });

  async function metric(name: string): Promise<number> {
    const { body } = await lab.daemon.api.get('/metrics');
    const line = String(body)
      .split('\n')
      .find((one) => one.startsWith(`${name} `));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  }
});

/** Established connections to the echo server. */
async function connectionsOf(server: Host): Promise<number> {
  const text = await server.netns.sh("ss -Htn state established '( sport = :8080 )'");
  return text.split('\n').filter((line) => line !== '').length;
}

/** Connections of this namespace that a reset ended. */
function resetsOf(server: Host): Promise<number> {
  return kernelCounter(server.netns, 'Tcp', 'EstabResets');
}
