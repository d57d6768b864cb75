import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  addFarHosts,
  createService,
  deleteServices,
  type Family,
  type FarHost,
  type Lab,
  type Mode,
  type Namespace,
  names,
  pause,
  type Quote,
  quotesIn,
  removeFarHosts,
  startLab,
  tcp,
  udp,
  until,
} from './harness/index.js';

/** No port that the kernel gives to others. */
const SOURCE_PORT = 20_404;
/** Nobody listens there. */
const CLOSED = 9_999;
/** Reaches the router behind the balancer and no further. */
const HOPS = 2;
/** Type and code of what is heard. */
const kinds = {
  v4: { port: [3, 3], prohibited: [3, 13], hops: [11, 0], echo: 1 },
  v6: { port: [1, 4], prohibited: [1, 1], hops: [3, 0], echo: 58 },
} as const;

/** Answers a datagram a second later, from a socket that hears of errors. */
const lateServer = `
  const socket = require('node:dgram').createSocket('udp6');
  const answer = (port, address) => socket.connect(port, address, () => socket.send('late'));
  socket.on('error', ({ code }) => console.log('error', code));
  socket.on('message', (_, { port, address }) => setTimeout(answer, 1000, port, address));
  socket.bind(7300, '::', () => console.log('listening'));
`;

/**
 * client - lb - server1, which is an endpoint and a router - far1. Errors are about packets as the balancer translated
 * them; who sent them has to recognise his own.
 */
describe('ICMP errors', () => {
  let lab: Lab;
  let far: FarHost;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const { network } = lab;
    [far] = (await addFarHosts(network, network.server(1), 1)) as [FarHost];
    // Checksums as on a wire, which a capture can judge.
    const hosts = [network.client, network.server(1)];
    for (const { netns } of hosts) {
      await netns.must('ethtool', ['-K', 'eth0', 'tx', 'off']);
      // Six errors in a row, and then one a second, are what Linux tells one host.
      await netns.sysctl({ 'net.ipv4.icmp_ratemask': 0, 'net.ipv6.icmp.ratelimit': 0 });
    }
  });
  afterAll(async () => {
    if (far) await removeFarHosts([far]);
    await lab?.dispose();
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    await setHops(lab.network.client.netns, 64);
  });

  describe.each<Family>(['v4', 'v6'])('%s', (family) => {
    const kind = kinds[family];
    const client = () => lab.network.client.netns;
    const vip = () => lab.network.vip[family];
    const server = () => lab.network.server(1);
    const ask = () => ({ host: vip(), port: 2020, localAddress: lab.network.client[family], localPort: SOURCE_PORT });

    /** Linux waits for IPv6, where such errors are not taken for final. */
    const patient = () => ({ ...ask(), timeoutMs: family === 'v4' ? 10_000 : 500 });

    /** What the client hears while something happens. */
    const heard = async (action: () => Promise<void>): Promise<Quote[]> => {
      const filter = family === 'v4' ? 'icmp[0] != 0' : 'icmp6 and ip6[40] < 128';
      const options = ['--immediate-mode', '-nvvxlUi', 'eth0', '-Q', 'in'];
      const capture = client().spawn('tcpdump', 'tcpdump', [...options, filter]);
      await capture.line(/listening on/);
      await action();
      await until('something is heard', () => quotesIn(capture.output, family).length > 0);
      // One more than there should be would come at once.
      await pause(200);
      await capture.stop();
      // Without the bytes, which may spell any of these words.
      expect(capture.output.replace(/^\t0x.*$/gm, '')).not.toMatch(/wrong|bad|incorrect/);
      return quotesIn(capture.output, family);
    };
    /** About the client's own packet. */
    const quote = (from: string, [type, code]: readonly [number, number], protocol: number): object => ({
      ...{ from, type, code, protocol, source: lab.network.client[family], destination: vip() },
      ...(protocol === 6 || protocol === 17 ? { sourcePort: SOURCE_PORT, destinationPort: 2020 } : {}),
    });

    describe.each<Mode>(['default', 'onearm', 'fullnat'])('mode %s', (mode) => {
      const serve = (protocol: 'tcp' | 'udp' | 'icmp', ip: string, port = 8080) =>
        createService(lab.daemon, { vip: vip(), protocol, mode, endpoints: [{ ip, port }] });

      it("an endpoint without a socket: the client's socket is told", async () => {
        await serve('udp', server()[family], CLOSED);
        const quotes = await heard(async () => {
          expect(names(await udp(client(), ask()))).toEqual(['error ECONNREFUSED']);
        });
        // The endpoint is nobody the client knows.
        expect(quotes).toMatchObject([quote(vip(), kind.port, 17)]);
      });

      it('an endpoint that rejects connections', async () => {
        await serve('tcp', server()[family], 8081);
        const [table, protocol] = family === 'v4' ? ['ip', 'icmp'] : ['ip6', 'icmpv6'];
        const rule = `tcp dport 8081 reject with ${protocol} type admin-prohibited`;
        await server().netns.must('nft', ['-f', '-'], {
          input: `table ${table} wall { chain input { type filter hook input priority 0; ${rule}; }; }\n`,
        });
        const quotes = await heard(async () => {
          const [reply] = await tcp(client(), patient());
          expect(reply?.error).toBe(family === 'v4' ? 'EHOSTUNREACH' : 'ETIMEDOUT');
        });
        await server().netns.must('nft', ['delete', 'table', String(table), 'wall']);
        expect(quotes[0]).toMatchObject(quote(vip(), kind.prohibited, 6));
      });

      it('a router behind the balancer where the hops end: TCP, UDP, and ping', async () => {
        for (const protocol of ['tcp', 'udp', 'icmp'] as const) await serve(protocol, far[family]);
        await setHops(client(), HOPS);
        // Routers keep their own address, as a trace of the way shows them.
        const router = server()[family];
        const ofTcp = await heard(async () => {
          const [reply] = await tcp(client(), patient());
          expect(reply?.error).toBe(family === 'v4' ? 'EHOSTUNREACH' : 'ETIMEDOUT');
        });
        expect(ofTcp[0]).toMatchObject(quote(router, kind.hops, 6));
        const ofUdp = await heard(async () => void (await udp(client(), { ...ask(), timeoutMs: 300 })));
        expect(ofUdp).toMatchObject([quote(router, kind.hops, 17)]);
        const ofPing = await heard(async () => {
          const { stdout } = await client().run('ping', ['-c1', '-W5', '-t', String(HOPS), vip()]);
          expect(stdout).toMatch(/Time to live exceeded|Time exceeded: Hop limit/);
        });
        expect(ofPing).toMatchObject([quote(router, kind.hops, kind.echo)]);
      });

      it('a ping too large for what is behind the balancer', async () => {
        await serve('icmp', far[family]);
        await server().netns.ip(`route replace ${far[family]} dev far1 mtu lock 1300`);
        const { stdout } = await client().run('ping', ['-c2', '-i0.2', '-W5', '-Mdo', '-s1400', vip()]);
        expect(stdout).toMatch(/Frag needed and DF set \(mtu = 1300\)|Packet too big: mtu=1300/);
        await server().netns.ip(`route del ${far[family]} dev far1 mtu lock 1300`);
        await client().sh('ip route flush cache; ip -6 route flush cache');
      });

      it("a client that is gone: the endpoint's socket is told", async () => {
        await serve('udp', server()[family], 7300);
        const late = server().netns.spawn('late-server', process.execPath, ['-e', lateServer]);
        await late.line(/listening/);
        await udp(client(), { host: vip(), port: 2020, timeoutMs: 50 });
        await late.line(/error ECONNREFUSED/);
        await late.stop();
      });
    });
  });
});

async function setHops(netns: Namespace, hops: number): Promise<void> {
  await netns.sysctl({ 'net.ipv4.ip_default_ttl': hops, 'net.ipv6.conf.eth0.hop_limit': hops });
}
