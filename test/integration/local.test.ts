import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Lab,
  type Mode,
  names,
  ping,
  type Reply,
  receiveHash,
  serverEndpoints,
  startByteServer,
  startEchoServer,
  startLab,
  tcp,
  udp,
  untilReached,
} from './harness/index.js';

const BYTES = 20_000_000;
const modes = ['default', 'onearm', 'fullnat'] as const;

/** Clients and endpoints that are processes of the balancer. */
describe('the balancer itself', () => {
  let lab: Lab;
  let sha256: string;
  let ownSha256: string;

  beforeAll(async () => {
    lab = await startLab({ servers: 2 });
    const { lb, server } = lab.network;
    // A datagram is answered from the address its socket has.
    for (const address of Object.values(server(2).gateway)) await startEchoServer(lb, 'balancer', 7000, address);
    ownSha256 = await startByteServer(lb, 9090, BYTES);
    await startEchoServer(lb, 'balancer', 7001);
    sha256 = await startByteServer(lab.network.server(1).netns, 9090, BYTES);
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  describe.each<[Family, Family]>([
    ['v4', 'v4'],
    ['v6', 'v6'],
    ['v6', 'v4'],
    ['v4', 'v6'],
  ])('service IP%s, endpoints IP%s', (family, other) => {
    const { lb, client, server, vip, own } = {
      lb: () => lab.network.lb,
      client: () => lab.network.client.netns,
      server: (number: number) => lab.network.server(number),
      vip: () => lab.network.vip[family],
      own: () => ({ ip: lab.network.server(2).gateway[other], port: 7000 }),
    };
    const serve = async (mode: Mode, endpoints: { ip: string; port?: number }[], port = 2020): Promise<void> => {
      for (const protocol of ['tcp', 'udp'] as const) {
        await createService(lab.daemon, { vip: vip(), protocol, mode, port, endpoints });
      }
      // Linux takes a moment until it finds an IPv6 address again that went and came back.
      await untilReached(lb(), vip());
    };
    const ask = async (netns: typeof lab.network.lb, count: number): Promise<{ ofTcp: Reply[]; ofUdp: Reply[] }> => ({
      ofTcp: await tcp(netns, { host: vip(), port: 2020, count }),
      ofUdp: await udp(netns, { host: vip(), port: 2020, count }),
    });

    // test/integration/nat64.test.ts has the others.
    describe.each<Mode>(family === other ? modes : ['default'])('mode %s', (mode) => {
      it('its processes reach servers through the service', async () => {
        await serve(mode, serverEndpoints(lab.network, other));
        const { ofTcp, ofUdp } = await ask(lb(), 4);
        const expected = ['server1', 'server2', 'server1', 'server2'];
        expect(names(ofTcp)).toEqual(expected);
        expect(names(ofUdp)).toEqual(expected);
        await serve(mode, [{ ip: server(1)[other], port: 9090 }], 2021);
        expect(await receiveHash(lb(), vip(), 2021)).toBe(sha256);
      });

      it('its processes serve others', async () => {
        await serve(mode, [own()]);
        const { ofTcp, ofUdp } = await ask(client(), 3);
        const expected = ['balancer', 'balancer', 'balancer'];
        expect(names(ofTcp)).toEqual(expected);
        expect(names(ofUdp)).toEqual(expected);
        await serve(mode, [{ ...own(), port: 9090 }], 2021);
        expect(await receiveHash(client(), vip(), 2021)).toBe(ownSha256);
      });

      it('its processes serve its processes', async () => {
        await serve(mode, [own()]);
        const { ofTcp, ofUdp } = await ask(lb(), 2);
        expect(names(ofTcp)).toEqual(['balancer', 'balancer']);
        expect(names(ofUdp)).toEqual(['balancer', 'balancer']);
      });
    });

    it('a server and the balancer share the work', async () => {
      await serve('onearm', [{ ip: server(1)[other] }, own()]);
      const { ofTcp, ofUdp } = await ask(client(), 4);
      expect(names(ofTcp)).toEqual(['server1', 'balancer', 'server1', 'balancer']);
      expect(names(ofUdp)).toEqual(['server1', 'balancer', 'server1', 'balancer']);
    });
  });

  describe.each<Family>(['v4', 'v6'])('%s', (family) => {
    it.each<Mode>(modes)('an ICMP service takes its pings, mode %s', async (mode) => {
      const { vip } = lab.network;
      const endpoints = serverEndpoints(lab.network, family);
      // Any service: the address has come back before the pings are.
      await createService(lab.daemon, { vip: vip[family], endpoints });
      await untilReached(lab.network.lb, vip[family]);
      await createService(lab.daemon, { vip: vip[family], protocol: 'icmp', mode, endpoints });
      expect(await ping(lab.network.lb, vip[family], 3)).toBe(3);
    });

    it('a process of its own takes part in direct server return', async () => {
      const { network, daemon } = lab;
      const endpoints = [{ ip: network.server(2).gateway[family] }];
      await createService(daemon, { vip: network.vip[family], mode: 'dsr', port: 7001, endpoints });
      const replies = await tcp(network.client.netns, {
        host: network.vip[family],
        port: 7001,
        count: 3,
      });
      expect(names(replies)).toEqual(['balancer', 'balancer', 'balancer']);
      for (const { from, local } of replies) expect(from).toEqual(local);
    });

    it('a service at all its addresses has its processes as clients', async () => {
      const { network, daemon } = lab;
      const vip = family === 'v4' ? '0.0.0.0' : '::';
      const endpoints = [{ ip: network.server(1)[family] }];
      await createService(daemon, { vip, mode: 'hostonearm', port: 7100, endpoints });
      for (const { gateway } of network.servers) {
        const replies = await tcp(network.lb, { host: gateway[family], port: 7100 });
        expect(names(replies)).toEqual(['server1']);
      }
    });

    it('a port without an endpoint refuses its processes at once', async () => {
      const { network, daemon } = lab;
      const endpoints = [{ ip: network.server(1)[family], port: 9_999 }];
      for (const protocol of ['tcp', 'udp'] as const) {
        await createService(daemon, { vip: network.vip[family], protocol, endpoints });
      }
      await untilReached(network.lb, network.vip[family]);
      const options = { host: network.vip[family], port: 2020 };
      expect(names(await tcp(network.lb, options))).toEqual(['error ECONNREFUSED']);
      expect(names(await udp(network.lb, options))).toEqual(['error ECONNREFUSED']);
    });
  });
});
