import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Host,
  type Lab,
  type Mode,
  names,
  startLab,
  tcp,
} from './harness/index.js';

const MODES: readonly Mode[] = ['default', 'onearm', 'fullnat'];
/** Addresses of hosts that are reached through the tunnel, and of its ends. */
const FAR = { v4: '10.77.0', v6: 'fd77:' } as const;
const ENDS = { v4: ['172.31.0.1', '172.31.0.2'], v6: ['fd88::1', 'fd88::2'] } as const;
const FAMILIES: readonly Family[] = ['v4', 'v6'];
const FAR_MAC = '02:00:00:77:00:02';

/** Of the balancer's own making: an address that its route wraps in VXLAN, which no program can look up. */
async function addTunnelled({ network }: Lab, host: Host, id: number): Promise<Record<Family, string>> {
  const addresses = { v4: `${FAR.v4}.${id}`, v6: `${FAR.v6}:${id}` };
  const wide = { v4: '32', v6: '128' };
  await network.lb.sh('ip link show vx0 2>/dev/null || ip link add vx0 type vxlan external dstport 4789');
  await network.lb.sh('ip link set vx0 up');
  await host.netns.sh(`ip link add vx0 address ${FAR_MAC} type vxlan id ${id} remote ${host.gateway.v4} dstport 4789`);
  await host.netns.sh('ip link set vx0 up');
  for (const family of FAMILIES) {
    const [near, far] = ENDS[family];
    const [bits, ip] = family === 'v4' ? ['24', 'ip'] : ['64', 'ip -6'];
    const nodad = family === 'v6' ? 'nodad' : '';
    await network.lb.sh(`ip addr replace ${near}/${bits} dev vx0 ${nodad}`);
    await network.lb.sh(`${ip} neigh replace ${far} lladdr ${FAR_MAC} dev vx0 nud permanent`);
    await host.netns.sh(`ip addr add ${addresses[family]}/${wide[family]} dev lo ${nodad}`);
    const encap = `encap ip id ${id} dst ${host.v4}`;
    await network.lb.sh(`${ip} route add ${addresses[family]} ${encap} via ${far} dev vx0`);
  }
  return addresses;
}

/** Ways out that only the kernel's stack can take: translated packets are handed to it. */
describe('routes with encapsulation', () => {
  let lab: Lab;
  let server: Record<Family, string>;
  let client: Record<Family, string>;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const { network } = lab;
    server = await addTunnelled(lab, network.server(1), 7);
    client = await addTunnelled(lab, network.client, 8);
  });
  afterAll(() => lab?.dispose());

  describe.each(FAMILIES)('%s', (family) => {
    const talk = async (from: string | undefined): Promise<string[]> => {
      const { client, vip } = lab.network;
      const options = {
        host: vip[family],
        port: 2020,
        count: 2,
        timeoutMs: 10_000,
        ...(from === undefined ? {} : { localAddress: from }),
      };
      return names(await tcp(client.netns, options));
    };
    const serve = async (mode: Mode, ip: string): Promise<void> => {
      await deleteServices(lab.daemon);
      await createService(lab.daemon, { vip: lab.network.vip[family], mode, endpoints: [{ ip }] });
    };
    const ALL = ['server1', 'server1'];

    it.each(MODES)('to the endpoint, mode %s', async (mode) => {
      await serve(mode, server[family]);
      expect(await talk(undefined)).toEqual(ALL);
    });

    it.each(MODES)('to the client, mode %s', async (mode) => {
      await serve(mode, lab.network.server(1)[family]);
      expect(await talk(client[family])).toEqual(ALL);
    });
  });
});

/** Packets too big for their way that may be fragmented: the kernel's stack does it. */
describe('narrow routes, IPv4', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const { client, lb, server } = lab.network;
    for (const host of [client, server(1)]) {
      // Datagrams without the DF bit.
      await host.netns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 1 });
      await lb.sh(`ip route add ${host.v4}/32 dev ${host.port} mtu lock 1300`);
    }
    const echo = fileURLToPath(new URL('./programs/udp-echo.mjs', import.meta.url));
    const server1Echo = server(1).netns.spawn('udp-echo', process.execPath, [echo, '7000', '::']);
    await server1Echo.line(/listening/);
  });
  afterAll(() => lab?.dispose());

  it.each(MODES)('datagrams of a packet and answers as large, mode %s', async (mode) => {
    const { client, server, vip } = lab.network;
    await deleteServices(lab.daemon);
    const endpoints = [{ ip: server(1).v4, port: 7000 }];
    await createService(lab.daemon, { vip: vip.v4, mode, protocol: 'udp', endpoints });
    const sizes = fileURLToPath(new URL('./programs/udp-sizes.mjs', import.meta.url));
    const echoed = await client.netns.must(process.execPath, [sizes, vip.v4, '2020', '1000', '1400']);
    expect(JSON.parse(echoed)).toEqual([1000, 1400]);
  });
});
