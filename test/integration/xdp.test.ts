/** Real traffic through XDP. On veth that needs `--xdp native`; there it is a test of the path, not of its speed. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bpf, closeFd } from '../../core/dataplane/sys/libc.js';
import {
  createNetwork,
  createService,
  Daemon,
  defaultPlugins,
  must,
  type Network,
  receiveHash,
  serverEndpoints,
  startByteServer,
  startEchoServers,
  tcp,
  udp,
  until,
  warmUp,
} from './harness/index.js';

const BYTES = 8_000_000;
const BPF_ENABLE_STATS = 32;

let network: Network;
let daemon: Daemon;
let stats: number;

/** Ends of veth pairs that finish their checksums and take redirected frames, as machines behind real wires do. */
async function behaveLikeWires(network: Network): Promise<void> {
  for (const { netns } of [network.client, ...network.servers]) {
    await netns.must('ethtool', ['-K', 'eth0', 'tx', 'off', 'gro', 'on']);
  }
}

/** A wire from the first server to the client, and the way back over it. */
async function linkDirectly({ client, server }: Network): Promise<void> {
  const [near, far] = [client.netns, server(1).netns];
  await must('ip', ['link', 'add', 'direct', 'netns', near.name, 'type', 'veth', 'peer', 'direct', 'netns', far.name]);
  await near.ip('link set direct up', 'addr add 172.31.0.1/24 dev direct');
  await far.ip('link set direct up', 'addr add 172.31.0.2/24 dev direct', `route add ${client.v4}/32 via 172.31.0.1`);
  await near.sysctl({ 'net.ipv4.conf.all.rp_filter': 0, 'net.ipv4.conf.direct.rp_filter': 0 });
}

async function startDaemon(...args: readonly string[]): Promise<void> {
  daemon = new Daemon(network, { args, plugins: { ...defaultPlugins, observe: {} } });
  await daemon.start();
}

/** How often a program of the packet path has run. */
async function runs(program: string): Promise<number> {
  const path = join(daemon.bpfDir, 'programs', program);
  if (!existsSync(path)) return 0;
  return JSON.parse(await must('bpftool', ['-j', 'prog', 'show', 'pinned', path])).run_cnt ?? 0;
}

/** Packets each program saw during `action`. */
async function during(action: () => Promise<void>): Promise<{ xdp: number; tc: number }> {
  const count = async () => [(await runs('xdp_ingress')) + (await runs('xdp_generic')), await runs('tc_ingress')];
  const [xdp = 0, tc = 0] = await count();
  await action();
  const [xdpAfter = 0, tcAfter = 0] = await count();
  return { xdp: xdpAfter - xdp, tc: tcAfter - tc };
}

/** The tc program saw what XDP passed on, which are not the packets of the open flow. */
function expectThroughXdp({ xdp, tc }: { xdp: number; tc: number }, packets: number): void {
  expect(xdp).toBeGreaterThan(packets);
  expect(tc).toBeLessThan(xdp / 10);
}

async function programsOf(port: string): Promise<string> {
  const { body } = await daemon.api.get('/config/port/all');
  const ports: { portName: string; portSoftwareInformation: { bpf?: string } }[] = body.portAttr;
  return ports.find(({ portName }) => portName === port)?.portSoftwareInformation.bpf ?? '';
}

beforeEach(async () => {
  // As long as the descriptor is open; the sysctl would be everybody's to put back.
  stats = bpf(BPF_ENABLE_STATS, new Uint8Array(4));
  expect(stats).toBeGreaterThan(0);
  network = await createNetwork(2);
  await behaveLikeWires(network);
  await startEchoServers(network);
  await warmUp(network);
});

afterEach(async () => {
  closeFd(stats);
  await daemon.process?.stop(3_000);
  await daemon.cleanup().catch(() => {});
  await network.dispose();
});

describe.each(['native', 'generic'] as const)('--xdp %s', (mode) => {
  it.each(['v4', 'v6'] as const)('%s: TCP and UDP of open flows never reach tc', async (family) => {
    await startDaemon('--xdp', mode);
    const vip = network.vip[family];
    const expected = await startByteServer(network.server(1).netns, 9090, BYTES);
    const [first] = serverEndpoints(network, family, 9090);
    for (const [port, way] of [
      [2020, 'default'],
      [2021, 'onearm'],
      [2022, 'fullnat'],
    ] as const) {
      await createService(daemon, { vip, port, mode: way, endpoints: first ? [first] : [] });
      const counts = await during(async () => {
        expect(await receiveHash(network.client.netns, vip, port)).toBe(expected);
      });
      expectThroughXdp(counts, BYTES / 1500);
    }
    await createService(daemon, { vip, protocol: 'udp', endpoints: serverEndpoints(network, family) });
    const counts = await during(async () => {
      const replies = await udp(network.client.netns, { host: vip, port: 2020, count: 300, sameSocket: true });
      expect(replies.filter(({ name }) => name === undefined)).toEqual([]);
    });
    expectThroughXdp(counts, 550);
  });
});

describe('direct server return', () => {
  const add = async (vip: string, protocol: 'tcp' | 'udp', port: number, endpoint: string): Promise<void> => {
    const { status, body } = await daemon.api.post('/config/loadbalancer', {
      serviceArguments: { externalIP: vip, port, protocol, mode: 3, sel: 1 },
      endpoints: [{ endpointIP: endpoint, targetPort: port, weight: 1 }],
    });
    expect([status, body]).toEqual([200, expect.anything()]);
  };

  it('to a neighbour, which answers the client itself', async () => {
    await startDaemon('--xdp', 'native');
    const { vip, client } = network;
    const server = network.server(1);
    // Only acknowledgments pass the balancer, one for many packets.
    const expected = await startByteServer(server.netns, 9090, 10 * BYTES);
    await linkDirectly(network);
    await server.netns.ip(`addr add ${vip.v4}/32 dev lo`);
    await add(vip.v4, 'tcp', 9090, server.v4);
    const counts = await during(async () => {
      expect(await receiveHash(client.netns, vip.v4, 9090)).toBe(expected);
    });
    expectThroughXdp(counts, 100);
  });

  it('in a tunnel to who is behind a router', async () => {
    await startDaemon('--xdp', 'native');
    const { vip, client, lb } = network;
    const router = network.server(2);
    await lb.ip(`route add 50.50.50.1/32 via ${router.v4}`);
    await add(vip.v4, 'udp', 7000, '50.50.50.1');
    const capture = router.netns.spawn('tcpdump', 'tcpdump', ['-nvli', 'eth0', '-c', '200', 'ip proto 4']);
    await capture.line(/listening/);
    const counts = await during(async () => {
      // 200 datagrams of one flow, five bytes each.
      await client.netns.sh(`seq 1000 1199 | socat -u -b5 STDIN UDP4:${vip.v4}:7000`);
      await capture.end();
    });
    expect(capture.output.match(/32\.32\.32\.254 > 50\.50\.50\.1/g)).toHaveLength(200);
    expect(capture.output).not.toContain('bad');
    expect(counts.xdp).toBeGreaterThanOrEqual(200);
    expect(counts.tc).toBeLessThan(40);
  });
});

it('tells where it is, and is gone when it is off; an open connection notices nothing', async () => {
  await startDaemon('--xdp', 'native');
  const vip = network.vip.v4;
  const { netns } = network.client;
  expect(await programsOf('client')).toBe('tc+xdp native');
  expect(await programsOf('lo')).toBe('tc');
  expect(await daemon.loxicmdOk('get', 'port', '-o', 'wide')).toContain('tc+xdp native');
  const metrics = await daemon.api.get('/metrics');
  expect(metrics.body).toContain('loxilb_dataplane_attached{interface="client",hook="tcx",xdp="native"} 1');
  const expected = await startByteServer(network.server(1).netns, 9090, 400_000_000);
  const [endpoint] = serverEndpoints(network, 'v4', 9090);
  await createService(daemon, { vip, endpoints: endpoint ? [endpoint] : [] });
  const download = receiveHash(netns, vip, 2020);
  for (const choice of ['native', 'off', 'native']) {
    await daemon.stop();
    await startDaemon('--xdp', choice);
    expect(await programsOf('client')).toBe(choice === 'off' ? 'tc' : 'tc+xdp native');
    const pins = readdirSync(join(daemon.bpfDir, 'links')).filter((pin) => pin.endsWith('_xdp'));
    expect(pins.length).toBe(choice === 'off' ? 0 : 3);
  }
  expect(await download).toBe(expected);
  await daemon.stop();
  expect((await daemon.cleanup()).code).toBe(0);
  expect(await network.lb.must('ip', ['link'])).not.toContain('xdp');
});

it('is not used on veth by itself', async () => {
  await startDaemon();
  expect(await programsOf('client')).toBe('tc');
  expect(existsSync(join(daemon.bpfDir, 'programs', 'xdp_ingress'))).toBe(false);
  await createService(daemon, { vip: network.vip.v4, endpoints: serverEndpoints(network, 'v4') });
  const replies = await tcp(network.client.netns, { host: network.vip.v4, port: 2020, count: 4 });
  expect(replies.filter(({ name }) => name === undefined)).toEqual([]);
});

describe.each(['native', 'generic'] as const)('a trace where XDP is %s', (mode) => {
  const program = mode === 'native' ? 'xdp_ingress' : 'xdp_generic';

  interface Answer {
    readonly steps: readonly { readonly program: string; readonly step: string; readonly text: string }[];
    readonly verdict: { readonly name: string };
    readonly out?: { readonly interface: string; readonly how: string };
    readonly after: { readonly summary: string };
    readonly notes: readonly string[];
  }

  const trace = async (sourcePort: number): Promise<Answer> =>
    JSON.parse(
      await daemon.loxicmdOk(
        ...['trace', network.client.v4, network.vip.v4, `--udp=${sourcePort}:2020`, '--in', 'client', '-o', 'json'],
      ),
    );

  it('asks XDP first, and tc for what that leaves', { timeout: 120_000 }, async () => {
    await startDaemon('--xdp', mode);
    const [endpoint] = serverEndpoints(network, 'v4');
    await createService(daemon, { vip: network.vip.v4, protocol: 'udp', endpoints: endpoint ? [endpoint] : [] });
    const first = await trace(40_000);
    expect(first.steps[0]).toMatchObject({ program, step: 'xdp', text: expect.stringContaining('no confirmed flow') });
    expect(new Set(first.steps.slice(1).map((step) => step.program))).toEqual(new Set(['tc_ingress']));
    expect(first.verdict.name).toBe('sent');

    const sending = `const socket = require('node:dgram').createSocket('udp4').bind(40000, () =>
      setInterval(() => socket.send('x', 2020, '20.20.20.1'), 50));`;
    const sender = network.client.netns.spawn('sender', process.execPath, ['-e', sending]);
    // Every two seconds the way out is looked up again, by tc.
    const later = await until(
      'XDP sends it',
      async () => {
        const answer = await trace(40_000);
        return answer.steps.some((step) => step.program === 'tc_ingress') ? undefined : answer;
      },
      40_000,
    );
    expect(later.steps.map((step) => [step.program, step.step])).toEqual([
      [program, 'flow_found'],
      [program, 'way'],
      [program, 'xdp'],
    ]);
    expect(later.out).toMatchObject({ interface: 'server1', how: 'by XDP, with known MAC addresses' });
    expect(later.after.summary).toContain(`> ${network.server(1).v4}:8080 UDP`);
    await sender.kill();
    const flows = async () => (await daemon.api.get('/config/conntrack/all')).body.ctAttr;
    // Packets that were on their way still count.
    let before: unknown;
    await until('the flow is quiet', async () => {
      const earlier = before;
      before = await flows();
      return isDeepStrictEqual(before, earlier);
    });
    expect(before).toHaveLength(2);
    await trace(40_000);
    expect(await flows()).toEqual(before);
    expect(later.notes.join()).not.toContain('this kernel');
    expect(await daemon.loxicmdOk('trace', '10.10.10.1', '20.20.20.1', '--tcp=1:2', '--in', 'client')).toContain(
      `\n${program}:\n1. xdp `,
    );
  });
});
