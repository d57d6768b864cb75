import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, startLab, startNginx } from './harness/index.js';

/** A connection that stays until its program is ended. */
const OPEN = 'exec 3<>/dev/tcp/20.20.20.1/2020 && echo open && exec sleep 600';

/** What the guide shows first: one command, then web requests through the service address. */
describe('a service as the guide creates it', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    for (const server of lab.network.servers) await startNginx(lab.network, server, 80);
  });
  afterAll(() => lab?.dispose());

  const request = (url: string): Promise<string> =>
    lab.network.client.netns.must('curl', ['-sS', '--max-time', '20', '-g', url]);

  it('spreads HTTP requests over IPv4', async () => {
    const endpoints = '--endpoints=31.31.31.1:1,32.32.32.1:1,33.33.33.1:1';
    const printed = await lab.daemon.loxicmdOk('create', 'lb', '20.20.20.1', '--tcp=2020:80', endpoints);
    expect(printed).toContain('Success');
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push((await request('http://20.20.20.1:2020/')).trim());
    expect(answers).toEqual(['server1', 'server2', 'server3', 'server1', 'server2', 'server3']);
  });

  it('spreads HTTP requests over IPv6', async () => {
    const endpoints = '--endpoints=fd31::1:1,fd32::1:1,fd33::1:1';
    await lab.daemon.loxicmdOk('create', 'lb', 'fd20::1', '--tcp=2020:80', endpoints);
    const answers: string[] = [];
    for (let i = 0; i < 3; i++) answers.push((await request('http://[fd20::1]:2020/')).trim());
    expect(answers).toEqual(['server1', 'server2', 'server3']);
  });

  it('shows the service, its endpoints, its flows and the ports', async () => {
    // A flow that is over is forgotten after a few seconds.
    const open = lab.network.client.netns.spawn('open connection', 'bash', ['-c', OPEN]);
    await open.line(/open/);
    expect(await lab.daemon.loxicmdOk('get', 'lb', '-o', 'wide')).toMatch(/20\.20\.20\.1.*2020.*tcp/);
    expect(await lab.daemon.loxicmdOk('get', 'ep')).toContain('31.31.31.1');
    expect(await lab.daemon.loxicmdOk('get', 'ct')).toMatch(/10\.10\.10\.1/);
    expect(await lab.daemon.loxicmdOk('get', 'port')).toMatch(/server1/);
    await open.stop();
  });

  it('counts packets and bytes per endpoint', async () => {
    const { body } = await lab.daemon.api.get('/config/loadbalancer/all');
    const service = body.lbAttr.find(
      (entry: { serviceArguments: { externalIP: string } }) => entry.serviceArguments.externalIP === '20.20.20.1',
    );
    for (const endpoint of service.endpoints) {
      const [packets, bytes] = endpoint.counter.split(':').map(Number);
      // Two requests each: at least SYN, request, two ACKs and FIN one way, as many the other.
      expect(packets).toBeGreaterThanOrEqual(16);
      expect(bytes).toBeGreaterThan(packets * 40);
    }
  });

  it('leaves the address alone after the service is deleted', async () => {
    await lab.daemon.loxicmdOk('delete', 'lb', '20.20.20.1', '--tcp=2020');
    const { code } = await lab.network.client.netns.run('curl', ['-sS', '--max-time', '2', 'http://20.20.20.1:2020/']);
    expect(code).not.toBe(0);
    expect(await request('http://[fd20::1]:2020/')).toMatch(/server\d/);
  });
});
