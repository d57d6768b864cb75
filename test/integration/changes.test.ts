import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  type Lab,
  names,
  pause,
  serverEndpoints,
  startLab,
  tcp,
  until,
  untilReached,
} from './harness/index.js';

/** The way out of a flow is remembered; the network may change under it. */
describe('changes of the network while flows run', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    await createService(lab.daemon, { vip: lab.network.vip.v4, endpoints: serverEndpoints(lab.network, 'v4') });
  });
  afterAll(() => lab?.dispose());

  /** A connection through the service that says a line every 50 ms and counts the echoes. */
  const talk = async (change: () => Promise<void>): Promise<number> => {
    const { client, vip } = lab.network;
    const script = `(for i in $(seq 100); do echo line $i; sleep 0.05; done) | socat -t 20 - TCP4:${vip.v4}:2020 | grep -c line`;
    const connection = client.netns.sh(script);
    await until('it is open', async () => (await client.netns.sh(`ss -Htn state established dst ${vip.v4}`)) !== '');
    await pause(500);
    await change();
    return Number(await connection);
  };

  it('a server gets another MAC address', async () => {
    const echoed = await talk(async () => {
      for (const server of lab.network.servers) {
        await server.netns.must('ip', ['link', 'set', 'eth0', 'address', `02:00:00:00:77:0${server.port.at(-1)}`]);
        await untilReached(server.netns, server.gateway.v4);
      }
    });
    expect(echoed).toBe(100);
  });

  it('the client gets another MAC address', async () => {
    const echoed = await talk(async () => {
      const { client } = lab.network;
      await client.netns.must('ip', ['link', 'set', 'eth0', 'address', '02:00:00:00:77:77']);
      await untilReached(client.netns, client.gateway.v4);
    });
    expect(echoed).toBe(100);
  });

  it('the way to an endpoint moves to another router', async () => {
    const { lb, server } = lab.network;
    // 55.55.55.1 lives on server 1 and on server 2; which one is meant is a matter of routes.
    for (const number of [1, 2]) await server(number).netns.ip('addr add 55.55.55.1/32 dev lo');
    await lb.ip(`route add 55.55.55.1 via ${server(1).v4}`);
    await createService(lab.daemon, { vip: lab.network.vip.v4, port: 2021, endpoints: [{ ip: '55.55.55.1' }] });
    const ask = () => tcp(lab.network.client.netns, { host: lab.network.vip.v4, port: 2021, count: 2 });
    expect(names(await ask())).toEqual(['server1', 'server1']);
    await lb.ip(`route replace 55.55.55.1 via ${server(2).v4}`);
    await until('the new way is known', async () => names(await ask()).includes('server2'));
    expect(names(await ask())).toEqual(['server2', 'server2']);
  });

  it('an interface comes after the daemon', async () => {
    const late = await lab.network.addHost('late');
    const pin = join(lab.daemon.bpfDir, 'links', 'late_egress');
    await until('it has the programs', () => existsSync(pin));
    await untilReached(late.netns, late.gateway.v4);
    const replies = await tcp(late.netns, { host: lab.network.vip.v4, port: 2020, count: 3 });
    expect([...names(replies)].sort()).toEqual(['server1', 'server2', 'server3']);
  });
});
