/** SCTP between stacks that run in user space, through the balancer. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Background } from './harness/background.js';
import {
  createService,
  deleteServices,
  type Family,
  type Lab,
  type Mode,
  type Namespace,
  type Network,
  pause,
  type ServiceOptions,
  serviceBody,
  startLab,
  until,
} from './harness/index.js';
import { SctpClient, startSctpServer } from './harness/sctp.js';

const SERVICE = 5000;
const TARGET = 7000;
const KINDS = (['v4', 'v6'] as const).flatMap((family) =>
  (['default', 'onearm', 'fullnat'] as const).map((mode): { family: Family; mode: Mode } => ({ family, mode })),
);

/** Private ones: stacks do not tell private addresses to public ones. */
const VIPS = ['10.200.0.1', '10.200.0.2'] as const;
/** The client's second link, which leads to the second of them. */
const SECOND = { client: '10.10.20.1', gateway: '10.10.20.254' };

async function addSecondLink({ client, lb }: Network): Promise<void> {
  await client.netns.sysctl({ 'net.ipv4.conf.all.rp_filter': 0, 'net.ipv4.conf.default.rp_filter': 0 });
  await lb.must('ip', ['link', 'add', 'client2', 'type', 'veth', 'peer', 'name', 'eth1', 'netns', client.netns.name]);
  await lb.ip(`addr add ${SECOND.gateway}/24 dev client2`, 'link set client2 up');
  await client.netns.ip(
    `addr add ${SECOND.client}/24 dev eth1`,
    'link set eth1 up',
    `route add ${VIPS[1]} via ${SECOND.gateway}`,
  );
  // The stack knows no routes: here the source of a packet is made to fit its way out.
  const rules = [
    'add table ip source',
    'add chain ip source out { type filter hook postrouting priority 0; }',
    `add rule ip source out oifname eth0 ip protocol sctp ip saddr set ${client.v4}`,
    `add rule ip source out oifname eth1 ip protocol sctp ip saddr set ${SECOND.client}`,
  ];
  await client.netns.must('nft', ['-f', '-'], { input: `${rules.join('\n')}\n` });
}

describe('SCTP', () => {
  let lab: Lab;
  const clients: SctpClient[] = [];
  const running: Background[] = [];

  beforeAll(async () => {
    lab = await startLab({ servers: 2 });
    await addSecondLink(lab.network);
  });
  afterAll(() => lab?.dispose());
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
    await Promise.all(running.splice(0).map((program) => program.stop()));
    await deleteServices(lab.daemon);
  });

  const serve = async (number: number, addresses: readonly string[]): Promise<Background> => {
    const server = await startSctpServer(lab.network, lab.network.server(number).netns, TARGET, addresses);
    running.push(server);
    return server;
  };
  const connect = async (host: string, addresses: readonly string[] = [], from?: number): Promise<SctpClient> => {
    const to = { host, port: SERVICE, ...(from === undefined ? {} : { from }) };
    const client = await SctpClient.start(lab.network, lab.network.client.netns, to, addresses);
    clients.push(client);
    return client;
  };
  const service = (family: Family, mode: Mode, servers: readonly number[] = [1]): ServiceOptions => ({
    vip: lab.network.vip[family],
    protocol: 'sctp',
    port: SERVICE,
    mode,
    endpoints: servers.map((number) => ({ ip: lab.network.server(number)[family], port: TARGET })),
  });
  const balance = (family: Family, mode: Mode, servers?: readonly number[]) =>
    createService(lab.daemon, service(family, mode, servers));

  it.each(KINDS)('IP$family $mode: there and back, with right checksums', async ({ family, mode }) => {
    const { network } = lab;
    await balance(family, mode);
    const server = await serve(1, [network.server(1)[family]]);
    const captures = [await capture(network.client.netns, 'client'), await capture(network.server(1).netns, 'server')];
    const client = await connect(network.vip[family], [network.client[family]]);
    await client.process.line(/^up$/m);
    for (const length of [1, 2, 3, 100, 1000, 20_000]) await client.echo(`${length}-${'x'.repeat(length)}`);
    await client.say('.shutdown');
    await client.process.line(/^shutdown$/m);
    await server.line(/^shutdown$/m);
    for (const { bad, good } of await Promise.all(captures.map((one) => one.judge()))) {
      expect(bad).toBe(0);
      expect(good).toBeGreaterThan(20);
    }
  });

  it('ABORT ends it on both sides', async () => {
    await balance('v4', 'default');
    const server = await serve(1, [lab.network.server(1).v4]);
    const client = await connect(lab.network.vip.v4, [lab.network.client.v4]);
    await client.echo('hello');
    await client.say('.abort');
    await server.line(/^lost$/m);
  });

  it('an endpoint that does not listen refuses at once, and so does a service without any', async () => {
    const { network } = lab;
    await balance('v4', 'default');
    // A stack that knows no such port.
    running.push(await startSctpServer(network, network.server(1).netns, TARGET + 1, [network.server(1).v4]));
    const client = await connect(network.vip.v4, [network.client.v4]);
    // Nobody's silence would be called a refusal.
    await client.process.line(/refused/);
  });

  it('a client that was killed begins anew with the same port', async () => {
    const { network } = lab;
    await balance('v4', 'fullnat', [1, 2]);
    const servers = [await serve(1, [network.server(1).v4]), await serve(2, [network.server(2).v4])];
    const first = await connect(network.vip.v4, [network.client.v4], 40_001);
    await first.echo('before');
    await first.process.kill();
    const second = await connect(network.vip.v4, [network.client.v4], 40_001);
    await second.echo('after');
    const restarted = () => servers.filter(({ output }) => /^restart$/m.test(output));
    // The client's output may be read before the server's.
    await until('a server tells of the restart', () => restarted().length > 0);
    expect(restarted()).toHaveLength(1);
  });

  describe.each<Mode>(['default', 'onearm', 'fullnat'])('two paths, %s', (mode) => {
    afterEach(async () => {
      const { client: host } = lab.network;
      await host.netns.ip('link set eth0 up', `route replace default via ${host.gateway.v4}`);
      await host.netns.ip('link set eth1 up', `route replace ${VIPS[1]} via ${SECOND.gateway}`);
    });
    it('an association outlives the loss of either', async () => {
      const { client: host, server: at } = lab.network;
      const body = serviceBody({ ...service('v4', mode), vip: VIPS[0] });
      const answer = await lab.daemon.api.post('/config/loadbalancer', {
        ...body,
        secondaryIPs: [{ secondaryIP: VIPS[1] }],
      });
      expect(answer.status).toBe(200);
      const server = await serve(1, [at(1).v4]);
      const client = await connect(VIPS[0], [host.v4, SECOND.client]);
      await client.echo('hello');
      await client.say('.peers');
      await client.process.line(new RegExp(`^peers ${VIPS.join(' ')}$`, 'm'));
      await host.netns.ip('link set eth0 down');
      for (let i = 0; i < 10; i++) await client.echo(`over-the-second-${i}.`, 60_000);
      await host.netns.ip('link set eth0 up', `route replace default via ${host.gateway.v4}`);
      await pause(3_000);
      await host.netns.ip('link set eth1 down');
      for (let i = 0; i < 10; i++) await client.echo(`over-the-first-${i}.`, 60_000);
      await client.say('.shutdown');
      await client.process.line(/^shutdown$/m, 20_000);
      expect(`${client.process.output}${server.output}`).not.toMatch(/^(lost|restart|failed)$/m);
    });
  });

  /** Captures on eth0; `judge` ends it and counts packets by their checksum. */
  const capture = async (netns: Namespace, name: string) => {
    const file = join(lab.network.folder, `${name}-${Date.now()}.pcap`);
    const options = ['--immediate-mode', '-U', '-Z', 'root', '-i', 'eth0', '-w', file];
    const program = netns.spawn('tcpdump', 'tcpdump', [...options, 'ip proto 132 or ip6 proto 132']);
    running.push(program);
    await program.line(/listening on/);
    const judge = async (): Promise<{ bad: number; good: number }> => {
      await pause(300);
      await program.stop();
      const fields = ['-T', 'fields', '-e', 'sctp.checksum.status'];
      const states = await netns.must('tshark', ['-r', file, '-o', 'sctp.checksum:CRC 32c', ...fields]);
      const all = states.split('\n').filter(Boolean);
      return { bad: all.filter((state) => state !== '1').length, good: all.filter((state) => state === '1').length };
    };
    return { judge };
  };
});
