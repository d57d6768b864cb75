import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  answering,
  connectDirectly,
  countByName,
  createService,
  type DirectPath,
  deleteServices,
  type Family,
  haveServiceAddress,
  type Lab,
  pause,
  ping,
  receiveHash,
  serverEndpoints,
  startByteServer,
  startEchoServer,
  startLab,
  startNginx,
  talkingClient,
  tcp,
  udp,
  until,
  untilReached,
} from './harness/index.js';

const BYTES = 40_000_000;
const PORT = 8080;
/** Connections of which a hash gives each of three servers some: it misses one of them once in 10 billion times. */
const MANY = 60;
/** No port that the kernel gives to others. */
const SOURCE_PORT = 20_000;

/** Servers are neighbours of the balancer, and answer the client over a switch of their own. */
describe('L2-DSR', () => {
  let lab: Lab;
  let direct: DirectPath;
  /** Of what every server sends at port 9090. */
  let sha256: string;

  beforeAll(async () => {
    lab = await startLab();
    const { network } = lab;
    direct = await connectDirectly(
      network,
      network.servers.map(({ netns }) => netns),
    );
    const hashes = network.servers.map(async (server) => {
      await haveServiceAddress(server.netns, network.vip);
      await startNginx(network, server, 8000);
      // A datagram is answered from the address its socket has.
      await startEchoServer(server.netns, server.port, 7000, network.vip.v4);
      await startEchoServer(server.netns, server.port, 7000, network.vip.v6);
      return await startByteServer(server.netns, 9090, BYTES);
    });
    sha256 = (await Promise.all(hashes))[0] ?? '';
  });
  afterAll(async () => {
    await direct?.dispose();
    await lab?.dispose();
  });
  afterEach(() => deleteServices(lab.daemon));

  describe.each<Family>(['v4', 'v6'])('%s', (family) => {
    const vip = () => lab.network.vip[family];
    const client = () => lab.network.client;
    const names = () => lab.network.servers.map(({ port }) => port);
    const serve = (port: number, protocol: 'tcp' | 'udp' | 'icmp' = 'tcp', servers = [1, 2, 3]): Promise<void> => {
      const all = serverEndpoints(lab.network, family);
      const endpoints = servers.flatMap((number) => all[number - 1] ?? []);
      return createService(lab.daemon, { vip: vip(), mode: 'dsr', protocol, port, endpoints });
    };

    it('HTTP is answered by all servers, and none of the answers comes by the balancer', async () => {
      const { lb } = lab.network;
      await serve(8000);
      const filter = `src host ${vip()} and tcp`;
      const capture = lb.spawn('tcpdump', 'tcpdump', ['-nlU', '-i', 'any', filter]);
      await capture.line(/listening on/);
      expect(await answering(client().netns, vip(), 8000, names())).toEqual(new Set(names()));
      await capture.stop();
      expect(capture.output).toMatch(/^0 packets captured/m);
    });

    it('the server sees the client, its own port and the service address', async () => {
      await serve(PORT);
      const replies = await tcp(client().netns, { host: vip(), port: PORT, count: MANY });
      expect(Object.keys(countByName(replies)).sort()).toEqual(names());
      for (const { from, local } of replies) expect(from).toEqual(local);
      expect(replies[0]?.from?.address).toBe(client()[family]);
    });

    it('datagrams too', async () => {
      await serve(7000, 'udp');
      const replies = await udp(client().netns, { host: vip(), port: 7000, count: MANY });
      expect(Object.keys(countByName(replies)).sort()).toEqual(names());
      const [first] = await udp(client().netns, { host: vip(), port: 7000, size: 1_400 });
      expect(first?.from?.address).toBe(client()[family]);
    });

    it.each(['on', 'off'])('a bulk download is byte exact (offloads %s)', async (offload) => {
      const { netns } = client();
      await netns.must('ethtool', ['-K', 'eth0', 'tso', offload, 'gso', offload, 'tx', offload]);
      await serve(9090);
      expect(await receiveHash(netns, vip(), 9090)).toBe(sha256);
      await netns.must('ethtool', ['-K', 'eth0', 'tso', 'on', 'gso', 'on', 'tx', 'on']);
    });

    it('nothing is changed but the MAC addresses', async () => {
      await serve(PORT, 'tcp', [2]);
      const { netns } = client();
      // Finished checksums, which a capture can judge.
      await netns.must('ethtool', ['-K', 'eth0', 'tx', 'off']);
      await netns.sysctl({ 'net.ipv4.ip_default_ttl': 44, 'net.ipv6.conf.eth0.hop_limit': 44 });
      const pattern = family === 'v4' ? /ttl 44,/ : /hlim 44,/;
      const server = lab.network.server(2).netns;
      const arguments_ = ['-envlc', '3', '-i', 'eth0', '-Q', 'in', `tcp port ${PORT} and port ${SOURCE_PORT}`];
      const capture = server.spawn('tcpdump', 'tcpdump', arguments_);
      await capture.line(/listening on/);
      const [reply] = await tcp(netns, { host: vip(), port: PORT, localPort: SOURCE_PORT });
      await capture.end();
      await netns.must('ethtool', ['-K', 'eth0', 'tx', 'on']);
      expect(reply?.name).toBe('server2');
      const packets = capture.output.split('\n').filter((line) => / > /.test(line) && /ttl|hlim/.test(line));
      expect(packets).toHaveLength(3);
      for (const packet of packets) expect(packet).toMatch(pattern);
      const mac = JSON.parse(await server.must('ip', ['-j', 'link', 'show', 'eth0']))[0].address;
      for (const packet of packets) expect(packet).toContain(`> ${mac}`);
      expect(capture.output).toContain(`${client()[family]}.${SOURCE_PORT} > ${vip()}.${PORT}`);
      expect(capture.output).not.toContain('incorrect');
    });

    it('an endpoint that leaves takes only its own connections with it, and one that comes takes none', async () => {
      await serve(PORT);
      const talk = await talkingClient(client().netns, { host: vip(), port: PORT, count: 90 });
      const open = async (number: number): Promise<number> => {
        const netns = lab.network.server(number).netns;
        const text = await netns.sh(
          `ss -Htn state established '( sport = :${PORT} and src ${family === 'v6' ? `[${vip()}]` : vip()} )'`,
        );
        return text.split('\n').filter((line) => line !== '').length;
      };
      const openAtClient = async (): Promise<number> => {
        const text = await client().netns.sh(`ss -Htn state established '( dport = :${PORT} )'`);
        return text.split('\n').filter((line) => line !== '').length;
      };
      const before = [await open(1), await open(2), await open(3)] as const;
      expect(before[0] + before[1] + before[2]).toBe(90);
      await serve(PORT, 'tcp', [1, 3]);
      await until('its clients have heard', async () => (await openAtClient()) === before[0] + before[2]);
      await serve(PORT, 'tcp', [1, 2, 3]);
      await pause(1_000);
      expect([await open(1), await open(3)]).toEqual([before[0], before[2]]);
      expect(await talk.summary()).toMatchObject({ open: before[0] + before[2], ended: before[1] });
    });

    it('connections outlive the loss of the flow table', async () => {
      await serve(9090);
      await serve(PORT);
      const talk = await talkingClient(client().netns, { host: vip(), port: PORT, count: 50, everyMs: 50 });
      const downloads = [1, 2, 3].map(() => receiveHash(client().netns, vip(), 9090));
      for (let i = 0; i < 3; i++) {
        await pause(100);
        expect((await lab.daemon.api.delete('/config/conntrack/all')).status).toBe(200);
      }
      expect(await Promise.all(downloads)).toEqual([sha256, sha256, sha256]);
      await pause(300);
      expect(await talk.summary()).toMatchObject({ open: 50, ended: 0 });
    });

    it('pings, and ports without a socket', async () => {
      for (const protocol of ['tcp', 'udp', 'icmp'] as const) await serve(9_999, protocol);
      const host = vip();
      expect(await ping(client().netns, host, 3)).toBe(3);
      expect(await ping(client().netns, host, 3, '-s', '8000')).toBe(3);
      const [refused] = await tcp(client().netns, { host, port: 9_999 });
      expect(refused?.error).toBe('ECONNREFUSED');
      const [unreachable] = await udp(client().netns, { host, port: 9_999 });
      expect(unreachable?.error).toBe('ECONNREFUSED');
    });

    it('a process of the balancer reaches the service', async () => {
      await serve(8000);
      // Linux takes a moment until it finds an IPv6 address again that went and came back.
      await untilReached(lab.network.lb, vip());
      expect(await answering(lab.network.lb, vip(), 8000, names())).toEqual(new Set(names()));
    });
  });
});
