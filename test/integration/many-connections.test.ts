import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countByName, createService, holdTcp, type Lab, serverEndpoints, startLab, tcp, udp } from './harness/index.js';

/** Modes that change the source have 64 k ports per endpoint, and clients that know nothing of each other. */
describe('source ports of onearm and fullnat', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    await lab.network.client.netns.ip(
      'addr add 10.10.10.77/24 dev eth0',
      'addr add fd10::77/64 dev eth0 nodad preferred_lft 0',
    );
    await lab.network.client.netns.sysctl({ 'net.ipv4.ip_local_port_range': '20000 60999' });
  });
  afterAll(() => lab?.dispose());

  it('10 000 connections of one client live at once through onearm', async () => {
    const { network, daemon } = lab;
    const vip = network.vip.v4;
    await createService(daemon, { vip, port: 5001, mode: 'onearm', endpoints: serverEndpoints(network, 'v4') });
    const held = await holdTcp(network.client.netns, {
      host: vip,
      port: 5001,
      count: 10_000,
      parallel: 64,
      timeoutMs: 20_000,
    });
    expect(countByName(held.replies)).toEqual({ server1: 3334, server2: 3333, server3: 3333 });
    const seen = new Set(held.replies.map(({ name, from }) => `${name} ${from?.port}`));
    expect(seen.size).toBe(10_000);
    await held.program.stop();
  });

  describe.each(['onearm', 'fullnat'] as const)('%s', (mode) => {
    it.each(['v4', 'v6'] as const)('%s: two clients with one source port reach one endpoint', async (family) => {
      const { network, daemon } = lab;
      const port = mode === 'onearm' ? 5002 : 5003;
      const vip = network.vip[family];
      const endpoints = [{ ip: network.server(1)[family] }];
      const others = { v4: '10.10.10.77', v6: 'fd10::77' };
      await createService(daemon, { vip, port, mode, endpoints });
      await createService(daemon, { vip, port, mode, protocol: 'udp', endpoints });

      const options = { host: vip, port, localPort: 15_000 };
      const held = await holdTcp(network.client.netns, { ...options, localAddress: network.client[family] });
      const [second] = await tcp(network.client.netns, { ...options, localAddress: others[family] });
      expect(held.replies).toMatchObject([{ name: 'server1' }]);
      expect(second).toMatchObject({ name: 'server1' });
      expect(second?.from?.port).not.toBe(held.replies[0]?.from?.port);
      await held.program.stop();

      const [one] = await udp(network.client.netns, { ...options, localAddress: network.client[family] });
      const [two] = await udp(network.client.netns, { ...options, localAddress: others[family] });
      expect(one?.from?.port).toBe(15_000);
      expect(two).toMatchObject({ name: 'server1' });
      expect(two?.from?.port).not.toBe(15_000);
    });
  });
});
