import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  addFarHosts,
  answering,
  connectDirectly,
  countByName,
  createService,
  curlUpload,
  type DirectPath,
  decapsulate,
  deleteServices,
  type Family,
  type FarHost,
  haveServiceAddress,
  type Lab,
  type Namespace,
  pause,
  ping,
  receiveHash,
  removeFarHosts,
  startByteServer,
  startEchoServer,
  startHttpServer,
  startLab,
  talkingClient,
  tcp,
  udp,
  until,
  untilReached,
} from './harness/index.js';

const UPLOAD = 4_000_000;
const DOWNLOAD = 20_000_000;
/** Connections of which a hash gives each of two servers some: it misses one of them once in a billion times. */
const MANY = 32;
const names = ['far1', 'far2'];
/** Of the outer header. */
const overhead = { v4: 20, v6: 40 } as const;

/**
 * client - lb - server1, a router - far 1..2, which take packets out of their tunnels with a program of the test's own and
 * answer over a switch the client is on too.
 */
describe('L3-DSR', () => {
  let lab: Lab;
  let far: FarHost[];
  let direct: DirectPath;
  let sha256: string;
  let uploaded: string;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const { network } = lab;
    far = await addFarHosts(network, network.server(1), 2);
    direct = await connectDirectly(
      network,
      far.map(({ netns }) => netns),
    );
    const hashes = far.map(async ({ netns, name }) => {
      await haveServiceAddress(netns, network.vip);
      await decapsulate(network, netns, 'eth0');
      await startEchoServer(netns, name, 8080);
      await startEchoServer(netns, name, 7000, network.vip.v4);
      await startEchoServer(netns, name, 7000, network.vip.v6);
      await startHttpServer(netns, name, 8000);
      return await startByteServer(netns, 9090, DOWNLOAD);
    });
    sha256 = (await Promise.all(hashes))[0] ?? '';
    for (const { v4, v6 } of far) for (const address of [v4, v6]) await untilReached(network.lb, address);
    const file = join(network.folder, 'upload');
    await writeFile(file, randomBytes(UPLOAD));
    uploaded = (await network.lb.sh(`sha256sum < ${file}`)).split(' ')[0] ?? '';
  });
  afterAll(async () => {
    await direct?.dispose();
    if (far) await removeFarHosts(far);
    await lab?.dispose();
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    await lab.network.client.netns.sh('ip route flush cache; ip -6 route flush cache');
  });

  const client = () => lab.network.client;
  const serve = (vip: Family, endpoint: Family, port: number, hosts = far, protocol: 'tcp' | 'udp' | 'icmp' = 'tcp') =>
    createService(lab.daemon, {
      vip: lab.network.vip[vip],
      mode: 'dsr',
      protocol,
      port,
      endpoints: hosts.map((host) => ({ ip: host[endpoint] })),
    });
  const learnedMtu = async (vip: Family): Promise<number> => {
    const text = await client().netns.must('ip', ['route', 'get', lab.network.vip[vip]]);
    return Number(text.match(/ mtu (\d+)/)?.[1] ?? 0);
  };
  const offloads = (state: 'on' | 'off') =>
    client().netns.must('ethtool', ['-K', 'eth0', 'tso', state, 'gso', state, 'tx', state]);

  describe.each<[Family, Family]>([
    ['v4', 'v4'],
    ['v6', 'v4'],
    ['v4', 'v6'],
    ['v6', 'v6'],
  ])('IP%s in IP%s', (vip, endpoint) => {
    const host = () => lab.network.vip[vip];

    it('connections and datagrams reach the endpoints as the client sent them', async () => {
      await serve(vip, endpoint, 8080);
      await serve(vip, endpoint, 7000, far, 'udp');
      const { netns } = client();
      const replies = await tcp(netns, { host: host(), port: 8080, count: MANY });
      expect(Object.keys(countByName(replies)).sort()).toEqual(names);
      for (const { from, local } of replies) expect(from).toEqual(local);
      const answers = await udp(netns, { host: host(), port: 7000, count: MANY });
      expect(Object.keys(countByName(answers)).sort()).toEqual(names);
      expect(answers[0]?.from?.address).toBe(client()[vip]);
    });

    it('what is too large for the tunnel is refused, and the transfer goes on with less', async () => {
      await serve(vip, endpoint, 8000);
      const { folder } = lab.network;
      for (const state of ['on', 'off'] as const) {
        await offloads(state);
        await client().netns.sh('ip route flush cache; ip -6 route flush cache');
        const answer = await curlUpload(client().netns, host(), 8000, join(folder, 'upload'));
        expect(answer).toMatchObject({ from: client()[vip], bytes: UPLOAD, sha256: uploaded });
        expect(await learnedMtu(vip)).toBe(1500 - overhead[endpoint]);
      }
      await offloads('on');
    });

    it('a download is byte exact', async () => {
      await serve(vip, endpoint, 9090);
      expect(await receiveHash(client().netns, host(), 9090)).toBe(sha256);
    });

    it('pings, and ports without a socket', async () => {
      for (const protocol of ['tcp', 'udp', 'icmp'] as const) await serve(vip, endpoint, 9_999, far, protocol);
      const { netns } = client();
      expect(await ping(netns, host(), 3)).toBe(3);
      const [refused] = await tcp(netns, { host: host(), port: 9_999 });
      expect(refused?.error).toBe('ECONNREFUSED');
      const [unreachable] = await udp(netns, { host: host(), port: 9_999 });
      expect(unreachable?.error).toBe('ECONNREFUSED');
    });

    it('a process of the balancer reaches the service', async () => {
      await serve(vip, endpoint, 8000);
      // Linux takes a moment until it finds an IPv6 address again that went and came back.
      await untilReached(lab.network.lb, host());
      expect(await answering(lab.network.lb, host(), 8000, names)).toEqual(new Set(names));
    });
  });

  it('a router with less room behind the balancer is heeded', async () => {
    const router = lab.network.server(1).netns;
    for (const family of ['v4', 'v6'] as const) {
      for (const host of far) await router.ip(`route replace ${host[family]} dev ${host.name} mtu lock 1400`);
      await serve(family, family, 8000);
      const file = join(lab.network.folder, 'upload');
      const answer = await curlUpload(client().netns, lab.network.vip[family], 8000, file);
      expect(answer).toMatchObject({ bytes: UPLOAD, sha256: uploaded });
      expect(await learnedMtu(family)).toBe(1400 - overhead[family]);
      for (const host of far) await router.ip(`route del ${host[family]} dev ${host.name} mtu lock 1400`);
    }
  });

  it('packets with a spent TTL are answered, others lose one hop inside the tunnel', async () => {
    await serve('v4', 'v4', 8080, far.slice(0, 1));
    const { netns } = client();
    const capture = lab.network.server(1).netns.spawn('tcpdump', 'tcpdump', ['-nvlc1', '-i', 'eth0', 'ip proto 4']);
    await capture.line(/listening on/);
    await netns.sysctl({ 'net.ipv4.ip_default_ttl': 44 });
    await tcp(netns, { host: lab.network.vip.v4, port: 8080 });
    await capture.end();
    expect(capture.output).toMatch(/ttl 64, .*proto IPIP(.|\n)*ttl 43, /);
    await netns.sysctl({ 'net.ipv4.ip_default_ttl': 1 });
    const [reply] = await tcp(netns, { host: lab.network.vip.v4, port: 8080, timeoutMs: 10_000 });
    await netns.sysctl({ 'net.ipv4.ip_default_ttl': 64 });
    expect(reply).toMatchObject({ error: 'EHOSTUNREACH' });
  });

  it('connections outlive the loss of the flow table, and endpoints that come and go', async () => {
    const [first, second] = far as [FarHost, FarHost];
    await serve('v4', 'v6', 8080);
    const talk = await talkingClient(client().netns, { host: lab.network.vip.v4, port: 8080, count: 60, everyMs: 50 });
    const countAt = async (netns: Namespace, filter: string): Promise<number> => {
      const text = await netns.sh(`ss -Htn state established '( ${filter} )'`);
      return text.split('\n').filter((line) => line !== '').length;
    };
    const open = ({ netns }: FarHost): Promise<number> => countAt(netns, 'sport = :8080');
    expect((await lab.daemon.api.delete('/config/conntrack/all')).status).toBe(200);
    await pause(500);
    const [stay, go] = [await open(first), await open(second)];
    expect(stay + go).toBe(60);
    await serve('v4', 'v6', 8080, [first]);
    await until('its clients have heard', async () => (await countAt(client().netns, 'dport = :8080')) === stay);
    await serve('v4', 'v6', 8080);
    await pause(1_000);
    expect(await open(first)).toBe(stay);
    expect(await talk.summary()).toMatchObject({ open: stay, ended: go });
  });

  it('endpoints that are neighbours may be asked for a tunnel too', async () => {
    const { network, daemon } = lab;
    const body = { vip: network.vip.v4, mode: 'dsr', port: 8080, more: { tunnel: 'ipip' } } as const;
    await createService(daemon, { ...body, endpoints: [{ ip: network.server(1).v4 }] });
    const capture = network.server(1).netns.spawn('tcpdump', 'tcpdump', ['-nlc1', '-i', 'eth0', 'ip proto 4']);
    await capture.line(/listening on/);
    await client().netns.run('curl', ['-s', '-m', '1', `http://${network.vip.v4}:8080/`]);
    await capture.line(/31\.31\.31\.254 > 31\.31\.31\.1: IP 10\.10\.10\.1\.\d+ > 20\.20\.20\.1\.8080/);
  });
});
