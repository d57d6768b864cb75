import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  addFarHosts,
  countByName,
  createService,
  deleteServices,
  type Family,
  type FarHost,
  type Lab,
  type Mode,
  must,
  type Namespace,
  ping,
  removeFarHosts,
  serverEndpoints,
  startEchoServer,
  startLab,
  startWebServer,
  tcp,
  udp,
  untilReached,
  url,
} from './harness/index.js';

const SIZE = 20_000_000;
const echo = fileURLToPath(new URL('./programs/udp-echo.mjs', import.meta.url));
const sizes = fileURLToPath(new URL('./programs/udp-sizes.mjs', import.meta.url));
const modes: readonly Mode[] = ['default', 'onearm', 'fullnat'];
/** What an IPv6 packet is longer than the same one of IPv4. */
const GROWTH = 20;

/** client - lb - server1..2, and far1 behind server1, which also routes. */
describe('services and endpoints of different families', () => {
  let lab: Lab;
  let far: FarHost[];
  let root: string;
  let sha256: string;

  beforeAll(async () => {
    lab = await startLab({ servers: 2 });
    const { network } = lab;
    far = await addFarHosts(network, network.server(1), 1);
    for (const { netns, name } of far) await startEchoServer(netns, name, 8080);
    const ports = [{ port: 8000 }];
    ({ root } = await startWebServer(network, network.server(1).netns, 'server1', ports));
    for (const host of far) await startWebServer(network, host.netns, host.name, ports);
    await startWebServer(network, network.lb, 'lb', ports);
    await serveEcho(network.server(1).netns);
    await writeFile(join(network.folder, 'file'), randomBytes(SIZE));
    await must('cp', [join(network.folder, 'file'), join(root, 'file')]);
    await must('cp', [join(network.folder, 'file'), join(root, '../../web-far1/root/file')]);
    sha256 = await hashOf(join(network.folder, 'file'));
  });
  afterAll(async () => {
    if (far) await removeFarHosts(far);
    await lab?.dispose();
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    await client().sh('ip route flush cache; ip -6 route flush cache');
  });

  const client = (): Namespace => lab.network.client.netns;
  const offloads = async (state: 'on' | 'off'): Promise<void> => {
    const { lb, client, server } = lab.network;
    const all = ['tso', 'gso', 'gro', 'tx', 'rx'].flatMap((one) => [one, state]);
    for (const host of [client, server(1)]) {
      await host.netns.must('ethtool', ['-K', 'eth0', ...all]);
      await lb.must('ethtool', ['-K', host.port, ...all]);
    }
  };
  const nameAt = async (vip: string): Promise<string> =>
    (await client().must('curl', ['-sS', '-m', '20', `${url(vip, 2020)}name`])).trim();
  const download = (vip: string, port = 2020): Promise<string> =>
    client()
      .sh(`curl -sS -m 60 '${url(vip, port)}file' | sha256sum`)
      .then((text) => text.split(' ')[0] ?? '');
  const upload = async (vip: string, folder = root): Promise<string> => {
    await must('rm', ['-f', join(folder, 'upload')]);
    await client().must('curl', ['-sS', '-m', '60', '-T', join(lab.network.folder, 'file'), `${url(vip, 2020)}upload`]);
    return hashOf(join(folder, 'upload'));
  };
  const learnedMtu = async (vip: Family): Promise<number> => {
    const text = await client().must('ip', ['route', 'get', lab.network.vip[vip]]);
    return Number(text.match(/ mtu (\d+)/)?.[1] ?? 0);
  };

  describe.each<[string, Family, Family]>([
    ['NAT64', 'v6', 'v4'],
    ['NAT46', 'v4', 'v6'],
  ])('%s', (_name, family, other) => {
    const vip = () => lab.network.vip[family];
    const server = () => lab.network.server(1);
    const serve = (mode: Mode, port = 8000, protocol: 'tcp' | 'udp' | 'icmp' = 'tcp', ip = server()[other]) =>
      createService(lab.daemon, { vip: vip(), mode, protocol, endpoints: [{ ip, port }] });

    describe.each(modes)('mode %s', (mode) => {
      it('connections are spread, and the endpoints see an address of the balancer', async () => {
        await createService(lab.daemon, { vip: vip(), mode, endpoints: serverEndpoints(lab.network, other) });
        const replies = await tcp(client(), { host: vip(), port: 2020, count: 10 });
        expect(countByName(replies)).toEqual({ server1: 5, server2: 5 });
        for (const { name, from, local } of replies) {
          const host = lab.network.servers.find(({ port }) => port === name);
          expect(from).toEqual({ address: host?.gateway[other], port: expect.any(Number) });
          expect(local?.address).toBe(lab.network.client[family]);
        }
      });

      it('a small file, and a large one both ways, with and without offloads', async () => {
        await serve(mode);
        expect(await nameAt(vip())).toBe('server1');
        for (const state of ['off', 'on'] as const) {
          await offloads(state);
          expect([state, await download(vip())]).toEqual([state, sha256]);
          expect([state, await upload(vip())]).toEqual([state, sha256]);
        }
      });

      it('datagrams of any size that fits', async () => {
        await serve(mode, 7000, 'udp');
        const list = [0, 1, 2, 3, 7, 100, 511, 513, 1000, 1399, 1400, 1452 - (family === 'v4' ? 0 : GROWTH)];
        for (const state of ['off', 'on'] as const) {
          await offloads(state);
          const echoed = await client().must(process.execPath, [sizes, vip(), '2020', ...list.map(String)]);
          expect(JSON.parse(echoed)).toEqual(list);
        }
      });

      it('echo requests of any size that fits', async () => {
        await serve(mode, 0, 'icmp');
        for (const size of [0, 1, 16, 56, 999, 1432]) {
          expect([size, await ping(client(), vip(), 2, '-s', String(size))]).toEqual([size, 2]);
        }
      });

      it('errors: nobody listens there', async () => {
        await serve(mode, 9, 'udp');
        const [reply] = await udp(client(), { host: vip(), port: 2020 });
        expect(reply).toEqual({ error: 'ECONNREFUSED' });
        await serve(mode, 9);
        const [refused] = await tcp(client(), { host: vip(), port: 2020 });
        expect(refused).toMatchObject({ error: 'ECONNREFUSED' });
      });

      it('errors: a router behind has less room', async () => {
        const host = far[0] as FarHost;
        const { netns } = server();
        await netns.ip(`route replace ${host[other]} dev ${host.name} mtu lock 1400`);
        await serve(mode, 8000, 'tcp', host[other]);
        expect(await upload(vip(), join(lab.network.folder, 'web-far1/root'))).toBe(sha256);
        expect(await download(vip())).toBe(sha256);
        expect(await learnedMtu(family)).toBe(family === 'v6' ? 1400 + GROWTH : 1400 - GROWTH);
        await netns.ip(`route del ${host[other]} dev ${host.name} mtu lock 1400`);
      });

      it('flows are listed', async () => {
        await lab.daemon.api.delete('/config/conntrack/all');
        await serve(mode, 7000, 'udp');
        await client().must(process.execPath, [sizes, vip(), '2020', '10']);
        const { body } = await lab.daemon.api.get('/config/conntrack/all');
        const flows: { sourceIP: string; protocol: string; conntrackAct: string }[] = body.ctAttr;
        const act = (from: string): string | undefined =>
          flows.find(({ protocol, sourceIP }) => protocol === 'udp' && sourceIP === from)?.conntrackAct;
        const [ours, theirs] = [lab.network.client[family], server()[other]];
        expect(act(ours)).toBe(`fdnat-${server().gateway[other]},${theirs}:7000:w0`);
        expect(act(theirs)).toBe(`fsnat-${vip()},${ours}:2020:w0`);
        expect(await lab.daemon.loxicmdOk('get', 'ct')).toContain(act(ours));
      });
    });

    it.each([1400, 1280])('a link of %d bytes behind the balancer', async (mtu) => {
      const { lb } = lab.network;
      await serve('default');
      const setMtu = async (bytes: number): Promise<void> => {
        await lb.ip(`link set server1 mtu ${bytes}`);
        await server().netns.ip(`link set eth0 mtu ${bytes}`);
      };
      await setMtu(mtu);
      expect(await upload(vip())).toBe(sha256);
      expect(await download(vip())).toBe(sha256);
      await setMtu(1500);
    });

    // The server does not know, so that it announces no smaller segment size.
    it.each([1400, 1280, ...(other === 'v4' ? [1000] : [])])('a way of %d bytes behind the balancer', async (mtu) => {
      const { lb } = lab.network;
      const route = `${server()[other]} dev server1 mtu lock ${mtu}`;
      await lb.ip(`route add ${route}`);
      await serve('default');
      expect(await upload(vip())).toBe(sha256);
      expect(await download(vip())).toBe(sha256);
      const learned = family === 'v6' ? mtu + GROWTH : mtu - GROWTH;
      if (learned > 1280) expect(await learnedMtu(family)).toBe(learned);
      await lb.ip(`route del ${route}`);
    });

    it('endpoints of both families in one rule', async () => {
      const { servers } = lab.network;
      const endpoints = servers.map((host, i) => ({ ip: i % 2 === 0 ? host[other] : host[family] }));
      await createService(lab.daemon, { vip: vip(), endpoints });
      const replies = await tcp(client(), { host: vip(), port: 2020, count: 10 });
      expect(countByName(replies)).toEqual({ server1: 5, server2: 5 });
      const seen = new Set(replies.map(({ name, from }) => `${name} ${from?.address}`));
      const expected = [`server1 ${servers[0]?.gateway[other]}`, `server2 ${lab.network.client[family]}`];
      expect([...seen].sort()).toEqual(expected);
    });

    it.each(modes)('an endpoint on the balancer itself, mode %s', async (mode) => {
      await serve(mode, 8000, 'tcp', server().gateway[other]);
      expect(await nameAt(vip())).toBe('lb');
    });

    it.each(modes)('a process of the balancer reaches the service, mode %s', async (mode) => {
      await serve(mode);
      const { lb } = lab.network;
      // Linux takes a moment until it finds an IPv6 address again that went and came back.
      await untilReached(lb, vip());
      const got = await lb.sh(`curl -sS -m 60 '${url(vip(), 2020)}file' | sha256sum`);
      expect(got.split(' ')[0]).toBe(sha256);
    });
  });
});

async function hashOf(file: string): Promise<string> {
  return (await must('sha256sum', [file])).split(' ')[0] ?? '';
}

async function serveEcho(netns: Namespace): Promise<void> {
  await netns.spawn('udp-echo', process.execPath, [echo, '7000', '::']).line(/listening/);
}
