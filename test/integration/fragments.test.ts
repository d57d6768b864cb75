import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  connectDirectly,
  createService,
  type Daemon,
  type DirectPath,
  decapsulate,
  deleteServices,
  type Family,
  haveServiceAddress,
  type Lab,
  type Mode,
  type Namespace,
  ping,
  serverEndpoints,
  startLab,
} from './harness/index.js';

const echo = fileURLToPath(new URL('./programs/udp-echo.mjs', import.meta.url));
const PORT = 7000;
/** What `frag_held` and `frag_flow` have room for. */
const [HELD, KNOWN] = [2048, 16_384];

type Order = 'kernel' | 'forward' | 'reverse' | 'shuffle' | 'duplicate' | 'overlap' | 'headless' | 'tailless';
type Way = Mode | 'dsr:ipip';

/** Datagrams larger than a packet, through every mode, in any order, and their answers. */
describe('UDP fragments', () => {
  let lab: Lab;
  let direct: DirectPath;
  let program: string;
  let sourcePort = 20_000;

  beforeAll(async () => {
    lab = await startLab({ servers: 3 });
    const { network } = lab;
    program = await compile(network, 'fragments');
    for (const { netns } of network.servers) {
      await serveEcho(netns, PORT, '::');
      // Room for the parts of what never becomes whole.
      await netns.sysctl({ 'net.ipv4.ipfrag_high_thresh': 1 << 26, 'net.ipv6.ip6frag_high_thresh': 1 << 26 });
    }
    // The third is the server of dsr services: it answers the client itself, as nobody but the service.
    const { netns } = network.server(3);
    direct = await connectDirectly(network, [netns]);
    await haveServiceAddress(netns, network.vip);
    await decapsulate(network, netns, 'eth0');
    for (const address of [network.vip.v4, network.vip.v6]) await serveEcho(netns, PORT + 1, address);
  });
  afterAll(async () => {
    await direct?.dispose();
    await lab?.dispose();
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    await lab.network.client.netns.sh('ip route flush cache; ip -6 route flush cache');
  });

  const serve = async (family: Family, way: Way): Promise<number> => {
    const [mode, tunnel] = way.split(':') as [Mode, string | undefined];
    const port = mode === 'dsr' ? PORT + 1 : PORT;
    const all = serverEndpoints(lab.network, family, port);
    const endpoints = mode === 'dsr' ? all.slice(2) : all.slice(0, 2);
    const more = tunnel === undefined ? {} : { more: { tunnel } };
    await createService(lab.daemon, {
      ...{ vip: lab.network.vip[family], protocol: 'udp', port, mode, endpoints },
      ...more,
    });
    return port;
  };
  const send = async (family: Family, port: number, bytes: number, order: Order, count = 1): Promise<string> => {
    const { client, vip } = lab.network;
    sourcePort++;
    const parameters = [client[family], sourcePort, vip[family], port, bytes, order, count].map(String);
    return (await client.netns.must(program, parameters)).trim();
  };
  const counter = async (kind: 'drops' | 'events', reason: string): Promise<number> => {
    const { body } = await lab.daemon.api.get('/metrics');
    const name = `loxilb_dataplane_${kind}_total{reason="${reason}"}`;
    const line = String(body)
      .split('\n')
      .find((one) => one.startsWith(name));
    return Number(line?.split(' ').at(-1) ?? 0);
  };

  describe.each<Family>(['v4', 'v6'])('%s', (family) => {
    describe.each<Way>(['default', 'onearm', 'fullnat', 'dsr', 'dsr:ipip'])('%s', (way) => {
      it('datagrams of 1 to 60 KB and answers as large', async () => {
        const port = await serve(family, way);
        for (const bytes of [1_000, 1_473, 4_000, 20_000, 60_000]) {
          expect([bytes, await send(family, port, bytes, 'kernel')]).toEqual([bytes, 'echoed']);
        }
      });

      it('in any order', async () => {
        const port = await serve(family, way);
        for (const order of ['forward', 'reverse', 'shuffle', 'shuffle', 'duplicate'] as const) {
          // No more than 48 parts of one datagram wait.
          for (const bytes of [3_000, order === 'duplicate' ? 30_000 : 60_000]) {
            expect([order, bytes, await send(family, port, bytes, order)]).toEqual([order, bytes, 'echoed']);
          }
        }
      });
    });

    it('that overlap are dropped by the endpoint, and the next datagram arrives', async () => {
      const port = await serve(family, 'onearm');
      expect(await send(family, port, 6_000, 'overlap')).toBe('silent');
      expect(await send(family, port, 6_000, 'reverse')).toBe('echoed');
    });

    it('whose first never comes take a bounded part of memory, and are counted', async () => {
      const port = await serve(family, 'default');
      const [held, dropped] = [await counter('events', 'fragment_held'), await counter('drops', 'fragment')];
      expect(await send(family, port, 60_000, 'headless', 100)).toBe('sent');
      expect((await counter('events', 'fragment_held')) - held).toBeGreaterThan(2_000);
      expect(await entriesOf(lab.daemon, 'frag_held')).toBeLessThanOrEqual(HELD);
      expect(await send(family, port, 3_000, 'tailless', 2_000)).toBe('sent');
      expect(await entriesOf(lab.daemon, 'frag_flow')).toBeLessThanOrEqual(KNOWN);
      expect(await send(family, port, 20_000, 'shuffle')).toBe('echoed');
      expect(await counter('drops', 'fragment')).toBeGreaterThanOrEqual(dropped);
    });

    it.each<Mode>(['default', 'onearm', 'fullnat'])('of large pings in mode %s', async (mode) => {
      const { network, daemon } = lab;
      const endpoints = serverEndpoints(network, family).slice(0, 2);
      await createService(daemon, { vip: network.vip[family], protocol: 'icmp', mode, endpoints });
      expect(await ping(network.client.netns, network.vip[family], 3, '-s', '8000')).toBe(3);
      expect(await ping(network.client.netns, network.vip[family], 2, '-s', '60000')).toBe(2);
    });

    it('between others go their way in any order, and none of them waits', async () => {
      const { client, server } = lab.network;
      await serve(family, 'default');
      const before = await counter('events', 'fragment_held');
      // Forwarded by the balancer, which has no service there.
      const other = family === 'v4' ? '88.88.88.1' : 'fd88::1';
      await server(1).netns.ip(`addr add ${other}/${family === 'v4' ? 32 : 128} dev lo`);
      await lab.network.lb.ip(`route add ${other} via ${server(1)[family]}`);
      await serveEcho(server(1).netns, 7100, other);
      sourcePort++;
      const text = await client.netns.must(program, [
        client[family],
        `${sourcePort}`,
        other,
        '7100',
        '20000',
        'reverse',
      ]);
      expect(text.trim()).toBe('echoed');
      expect(await counter('events', 'fragment_held')).toBe(before);
    });
  });
});

async function serveEcho(netns: Namespace, port: number, address: string): Promise<void> {
  const server = netns.spawn('udp-echo', process.execPath, [echo, String(port), address]);
  await server.line(/listening/);
}

/** How many entries a map of the packet path has that is not pinned. */
async function entriesOf(daemon: Daemon, name: string): Promise<number> {
  const { network, bpfDir } = daemon;
  const bpftool = async (...args: string[]) => JSON.parse(await network.lb.must('bpftool', ['-j', ...args]));
  const { map_ids } = await bpftool('prog', 'show', 'pinned', join(bpfDir, 'programs', 'tc_ingress'));
  for (const id of map_ids as number[]) {
    if ((await bpftool('map', 'show', 'id', String(id))).name !== name) continue;
    return ((await bpftool('map', 'dump', 'id', String(id))) as unknown[]).length;
  }
  throw new Error(`the packet path has no map ${name}`);
}
