import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createNetwork,
  Daemon,
  deleteServices,
  markBySource,
  type Network,
  names,
  startEchoServers,
  tcp,
  warmUp,
} from './harness/index.js';

/** A program of somebody else marks what comes in with the last number of its source, before the balancer sees it. */
describe('a mark', () => {
  let network: Network;
  let daemon: Daemon;

  beforeAll(async () => {
    network = await createNetwork(3);
    await startEchoServers(network);
    await warmUp(network);
    for (const last of [2, 3]) await network.client.netns.ip(`addr add 10.10.10.${last}/24 dev eth0`);
    await markBySource(network, 'client');
    daemon = await new Daemon(network).start();
  });
  afterAll(async () => {
    await daemon?.process?.stop(3_000);
    await daemon?.cleanup().catch(() => {});
    await network?.dispose();
  });
  afterEach(() => deleteServices(daemon));

  const create = (...args: readonly string[]) => daemon.loxicmdOk('create', 'lb', network.vip.v4, ...args);
  const ask = async (
    netns = network.client.netns,
    localAddress: string[] = [],
    timeoutMs = 5_000,
  ): Promise<string[]> => {
    const list = localAddress.length > 0 ? { localAddress } : {};
    const count = Math.max(1, localAddress.length);
    return names(await tcp(netns, { host: network.vip.v4, port: 2020, count, ...list, timeoutMs }));
  };
  const clients = ['10.10.10.1', '10.10.10.2', '10.10.10.3'];

  it('chooses among rules of one address and port; the one without takes the rest', async () => {
    await create('--tcp=2020:8080', '--mark=2', '--endpoints=32.32.32.1:1');
    expect((await ask(network.client.netns, clients)).map((name) => name === 'server2')).toEqual([false, true, false]);
    await create('--tcp=2020:8080', '--mark=3', '--endpoints=33.33.33.1:1');
    await create('--tcp=2020:8080', '--endpoints=31.31.31.1:1');
    expect(await ask(network.client.netns, clients)).toEqual(['server1', 'server2', 'server3']);
    await daemon.loxicmdOk('delete', 'lb', network.vip.v4, '--tcp=2020', '--mark=3');
    expect(await ask(network.client.netns, clients)).toEqual(['server1', 'server2', 'server1']);
  });

  it('of a range too', async () => {
    await create('--tcp=2000-2999:8080', '--mark=2', '--endpoints=32.32.32.1:1');
    await create('--tcp=2000-2999:8080', '--endpoints=31.31.31.1:1');
    expect(await ask(network.client.netns, clients)).toEqual(['server1', 'server2', 'server1']);
  });

  it('comes before the port, and the port before a range', async () => {
    await create('--tcp=2000-2999:8080', '--endpoints=31.31.31.1:1');
    await create('--tcp=2020:8080', '--endpoints=32.32.32.1:1');
    expect(await ask(network.client.netns, clients)).toEqual(['server2', 'server2', 'server2']);
    await create('--tcp=2000-2999:8080', '--mark=2', '--endpoints=33.33.33.1:1');
    expect(await ask(network.client.netns, clients)).toEqual(['server2', 'server3', 'server2']);
    await create('--tcp=2020:8080', '--mark=2', '--endpoints=31.31.31.1:1');
    expect(await ask(network.client.netns, clients)).toEqual(['server2', 'server1', 'server2']);
    await daemon.loxicmdOk('delete', 'lb', network.vip.v4, '--tcp=2020');
    expect(await ask(network.client.netns, clients)).toEqual(['server1', 'server1', 'server1']);
  });

  it('and allowed sources do not know of each other', async () => {
    await create('--tcp=2020:8080', '--mark=2', '--endpoints=32.32.32.1:1', '--sources=10.10.10.3/32');
    await create('--tcp=2020:8080', '--endpoints=31.31.31.1:1', '--sources=10.10.10.1/32');
    expect(await ask(network.client.netns, clients, 3_000)).toEqual(['server1', 'error ETIMEDOUT', 'error ETIMEDOUT']);
    await create('--tcp=2020:8080', '--mark=2', '--endpoints=32.32.32.1:1', '--sources=10.10.10.2/32');
    expect(await ask(network.client.netns, clients, 3_000)).toEqual(['server1', 'server2', 'error ETIMEDOUT']);
  });

  it('of a local process, given by nftables', async () => {
    await create('--tcp=2020:8080', '--mark=77', '--endpoints=33.33.33.1:1');
    await create('--tcp=2020:8080', '--endpoints=31.31.31.1:1');
    expect(await ask(network.lb)).toEqual(['server1']);
    await network.lb.must('nft', ['-f', '-'], {
      input:
        'table ip marking { chain output { type route hook output priority 0; tcp dport 2020 meta mark set 77; }; }\n',
    });
    expect(await ask(network.lb)).toEqual(['server3']);
    await network.lb.must('nft', ['delete', 'table', 'ip', 'marking']);
  });
});
