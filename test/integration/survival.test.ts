import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  type Family,
  kernelCounter,
  type Lab,
  pause,
  receiveHash,
  serverEndpoints,
  startByteServer,
  startLab,
  tcp,
} from './harness/index.js';

const gibibyte = 1 << 30;

describe('a daemon that dies and comes back under load', () => {
  let lab: Lab;
  let hash: string;

  beforeAll(async () => {
    lab = await startLab();
    const [first, ...others] = lab.network.servers;
    hash = first ? await startByteServer(first.netns, 9000, gibibyte) : '';
    expect(others.length).toBe(2);
  });
  afterAll(() => lab?.dispose());

  it.each<Family>(['v4', 'v6'])('%s: 1 GiB arrives intact', async (family) => {
    const { network, daemon } = lab;
    const vip = network.vip[family];
    await createService(daemon, { vip, port: 9000, endpoints: [{ ip: network.server(1)[family], port: 9000 }] });
    let arrived = false;
    const transfer = receiveHash(network.client.netns, vip, 9000).finally(() => {
      arrived = true;
    });
    let restarts = 0;
    do {
      await daemon.kill();
      await pause(200);
      await daemon.start();
      restarts += 1;
    } while (!arrived && restarts < 20);
    expect(await transfer).toBe(hash);
    expect(restarts).toBeGreaterThanOrEqual(1);
  });

  it('loses no request and no datagram while it is killed, restarted and stopped', async () => {
    const { network, daemon } = lab;
    await createService(daemon, { vip: network.vip.v4, port: 2020, endpoints: serverEndpoints(network, 'v4') });
    let running = true;
    // A SYN that is lost is sent again. How long a request takes says more about who else uses the machine.
    const sentAgain = () => kernelCounter(network.client.netns, 'TcpExt', 'TCPSynRetrans');
    const before = await sentAgain();
    const failures: string[] = [];
    let requests = 0;
    const load = (async () => {
      while (running || requests <= 500) {
        const replies = await tcp(network.client.netns, {
          ...{ host: network.vip.v4, port: 2020, count: 200, parallel: 4, timeoutMs: 20_000 },
        });
        requests += replies.length;
        failures.push(...replies.flatMap(({ error }) => error ?? []));
      }
    })();
    const pings = network.client.netns.run('ping', ['-i', '0.01', '-c', '600', '-q', network.server(2).v4], {
      timeoutMs: 60_000,
    });
    await daemon.kill();
    await pause(500);
    await daemon.start();
    await daemon.restart();
    await daemon.kill();
    await daemon.start();
    expect((await pings).stdout).toMatch(/ 0% packet loss/);
    running = false;
    await load;
    expect(failures).toEqual([]);
    expect((await sentAgain()) - before).toBe(0);
  });
});
