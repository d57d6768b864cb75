import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Lab,
  type Mode,
  must,
  Namespace,
  startEchoServer,
  startLab,
} from './harness/index.js';

const size = 2_000_000;
/** Without the error nothing arrives and nothing ends. */
const patienceMs = 60_000;
const far = { v4: '44.44.44.1', v6: 'fd44::1' };
const farGateway = { v4: '44.44.44.254', v6: 'fd44::254' };

/**
 * client - lb - server1 - far: server1 also routes, and its way to `far` has the smaller MTU. The error it sends quotes
 * the packet as the balancer translated it.
 */
describe('path MTU through a service', () => {
  let lab: Lab;
  let farHost: Namespace;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    farHost = await addFarHost(lab);
    await startEchoServer(farHost, 'far', 8080);
    await writeFile(join(lab.network.folder, 'upload'), randomBytes(size));
  });
  afterAll(async () => {
    await farHost?.stopAll();
    await lab?.dispose();
    if (farHost) await must('ip', ['netns', 'del', farHost.name]);
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    const { client, lb, server } = lab.network;
    await client.netns.sh('ip route flush cache; ip -6 route flush cache');
    for (const address of [server(1).v4, server(1).v6]) await lb.run('ip', ['route', 'del', address, 'dev', 'server1']);
  });

  /** Sends the file to an echo service and compares what comes back. */
  const upload = async (family: Family): Promise<void> => {
    const { client, folder, vip } = lab.network;
    const target = family === 'v6' ? `TCP6:[${vip.v6}]:2020` : `TCP4:${vip.v4}:2020`;
    const sent = await client.netns.sh(`sha256sum < ${folder}/upload`);
    const echoed = `socat -t 50 '${target}' - < ${folder}/upload | tail -n +2 | sha256sum`;
    expect(await client.netns.sh(echoed, { timeoutMs: patienceMs })).toBe(sent);
  };
  const learnedMtu = async (family: Family): Promise<number> => {
    const text = await lab.network.client.netns.must('ip', ['route', 'get', lab.network.vip[family]]);
    return Number(text.match(/ mtu (\d+)/)?.[1] ?? 0);
  };

  describe.each<Mode>(['default', 'onearm', 'fullnat'])('mode %s', (mode) => {
    it.each<Family>(['v4', 'v6'])('%s: a smaller MTU behind the balancer is learned by the client', async (family) => {
      const { network, daemon } = lab;
      const server = network.server(1)[family];
      await createService(daemon, { vip: network.vip[family], mode, endpoints: [{ ip: server }] });
      // A route with an MTU and not a smaller link: the server must not know, or it would announce a smaller segment size.
      await network.lb.ip(`route add ${server} dev server1 mtu lock 1320`);
      await upload(family);
      expect(await learnedMtu(family)).toBe(1320);
    });

    it.each<Family>(['v4', 'v6'])(
      '%s: the error of a router behind the balancer reaches the client',
      async (family) => {
        const { network, daemon } = lab;
        await createService(daemon, { vip: network.vip[family], mode, endpoints: [{ ip: far[family] }] });
        await upload(family);
        expect(await learnedMtu(family)).toBe(1300);
      },
    );
  });
});

async function addFarHost({ network }: Lab): Promise<Namespace> {
  const router = network.server(1);
  const host = new Namespace(`${network.lb.name.replace(/-lb$/, '')}-far`);
  await must('ip', ['netns', 'add', host.name]);
  await must('ip', [
    'link',
    'add',
    'far',
    'netns',
    router.netns.name,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    host.name,
  ]);
  await router.netns.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  await router.netns.ip(
    `addr add ${farGateway.v4}/24 dev far`,
    `addr add ${farGateway.v6}/64 dev far nodad`,
    'link set far up',
    `route replace ${far.v4} dev far mtu lock 1300`,
    `route replace ${far.v6} dev far mtu lock 1300`,
  );
  await host.ip(
    'link set lo up',
    `addr add ${far.v4}/24 dev eth0`,
    `addr add ${far.v6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${farGateway.v4}`,
    `route add ::/0 via ${farGateway.v6}`,
  );
  await network.lb.ip(`route add 44.44.44.0/24 via ${router.v4}`, `route add fd44::/64 via ${router.v6}`);
  return host;
}
