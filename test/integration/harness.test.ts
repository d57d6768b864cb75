import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createNetwork,
  type Network,
  ping,
  receiveHash,
  startByteServer,
  startEchoServers,
  tcp,
  udp,
  warmUp,
} from './harness/index.js';

/** The namespaces alone, without the daemon: what later tests blame on the balancer must be right here. */
describe('the test network', () => {
  let network: Network;

  beforeAll(async () => {
    network = await createNetwork(3);
    await startEchoServers(network);
    await warmUp(network);
  });
  afterAll(() => network?.dispose());

  it.each(['v4', 'v6'] as const)('forwards %s between client and servers', async (family) => {
    for (const server of network.servers) {
      const [reply] = await tcp(network.client.netns, { host: server[family], port: 8080 });
      expect(reply).toMatchObject({ name: server.port, from: { address: network.client[family] } });
      const [answer] = await udp(network.client.netns, { host: server[family], port: 8080 });
      expect(answer).toMatchObject({ name: server.port, from: { address: network.client[family] } });
      expect(await ping(network.client.netns, server[family], 1)).toBe(1);
    }
  });

  it('delivers a stream whose hash the server tells', async () => {
    const server = network.server(1);
    const hash = await startByteServer(server.netns, 9000, 3_000_001);
    expect(await receiveHash(network.client.netns, server.v4, 9000)).toBe(hash);
    expect(await receiveHash(network.client.netns, server.v6, 9000)).toBe(hash);
  });
});
