import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  defaultPlugins,
  deleteServices,
  type Lab,
  loxicmdProgram,
  must,
  pause,
  startLab,
  until,
} from './harness/index.js';

/** A route that drops: a service whose endpoint is behind it loses every packet. */
const BLACKHOLE = '203.0.113.0/24';
/** Everything but what the daemon itself writes now and then. */
const STATE = ['ct_v4_map', 'ct_new', 'dp_counter', 'dp_service_drop', 'dp_observe', 'intf_map', 'lb_affinity'];
const TABLES = ['lb_endpoint', 'lb_ep_flows', 'lb_ep_stats', 'lb_svc_state', 'nat_v4_map'];

interface Answer {
  readonly steps: readonly { readonly step: string; readonly text: string }[];
  readonly verdict: { readonly name: string };
  readonly out?: { readonly interface: string; readonly destinationMac: string };
  readonly before: { readonly summary: string };
  readonly after: { readonly summary: string; readonly hex: string };
}

/** Small arrays are dumped soon. */
const small = { lb: { maxServices: 64, maxEndpoints: 256, maxSlots: 65_536 } };

let lab: Lab;

beforeAll(async () => {
  lab = await startLab({ servers: 2, plugins: { ...defaultPlugins, ...small, observe: { maxWatchers: 50 } } });
  await lab.network.lb.ip(`route add blackhole ${BLACKHOLE}`);
});
afterEach(() => deleteServices(lab.daemon));
afterAll(() => lab?.dispose());

const [vip, vip6, port] = ['20.20.20.1', 'fd20::1', 2020];

function servers(family: 'v4' | 'v6' = 'v4') {
  return lab.network.servers.map((server) => ({ ip: server[family] }));
}

async function trace(...args: readonly string[]): Promise<Answer> {
  const text = await lab.daemon.loxicmdOk('trace', ...args, '--in', lab.network.client.port, '-o', 'json');
  return JSON.parse(text) as Answer;
}

function wordsOf({ steps }: Answer): string[] {
  return steps.map(({ step }) => step);
}

/** What is in the maps, as a sum over their bytes. */
async function mapSums(): Promise<string> {
  const dumps = [...STATE, ...TABLES].map(
    (name) => `bpftool map dump pinned ${lab.daemon.pin(name)} | sha256sum | sed 's/-/${name}/'`,
  );
  return lab.network.lb.sh(dumps.join('; '), { timeoutMs: 60_000 });
}

/** The same once the daemon has tidied up after the test before: it looks every second, so they stay for two. */
async function settledSums(): Promise<string> {
  let [last, since] = ['', 0];
  return until('the maps are quiet', async () => {
    const begin = performance.now();
    const sums = await mapSums();
    if (sums !== last) [last, since] = [sums, begin];
    return begin - since > 2_000 ? sums : undefined;
  });
}

/** One connection through the service, which has its greeting and stays open until `end`. */
async function connect(sourcePort: number) {
  const options = JSON.stringify({ host: vip, port, localPort: sourcePort });
  const program = `require('node:net').connect(${options}).once('data', () => console.log('connected')).on('error', () => {})`;
  const client = lab.network.client.netns.spawn('client', process.execPath, ['-e', program]);
  await client.line(/connected/);
  return { end: () => client.kill() };
}

describe('trace', () => {
  it.each([
    ['v4', '10.10.10.1', vip, `--tcp=40000:${port}`],
    ['v6', 'fd10::1', vip6, `--tcp=40000:${port}`],
  ] as const)('%s: tells what becomes of a first packet, and leaves nothing behind', async (family, from, to, flow) => {
    await createService(lab.daemon, { vip: to, endpoints: servers(family) });
    const sums = await settledSums();
    const answer = await trace(from, to, flow);
    expect(wordsOf(answer)).toEqual(
      expect.arrayContaining(['parsed', 'no_flow', 'service_found', 'endpoint', 'flow_opened', 'way']),
    );
    expect(answer.verdict.name).toBe('sent');
    expect(answer.out?.interface).toMatch(/^server[12]$/);
    expect(answer.before.summary).toContain(`${port} TCP SYN`);
    expect(answer.after.summary).toContain('8080 TCP SYN');
    expect(await mapSums()).toBe(sums);
  });

  it('chooses as the next real packet will, as often as it is asked', async () => {
    await createService(lab.daemon, { vip, endpoints: servers() });
    const outs = [];
    for (let index = 0; index < 3; index++)
      outs.push((await trace('10.10.10.1', vip, '--tcp=40000:2020')).out?.interface);
    expect(new Set(outs).size).toBe(1);
  });

  it('knows running connections, in both directions', async () => {
    await createService(lab.daemon, { vip, mode: 'fullnat', name: 'web', endpoints: servers().slice(0, 1) });
    const connection = await connect(41_000);
    const sums = await settledSums();
    const packet = await trace('10.10.10.1', vip, '--tcp=41000:2020', '--ack');
    expect(wordsOf(packet)).toContain('flow_found');
    expect(packet.steps.find(({ step }) => step === 'flow_found')?.text).toContain('web (20.20.20.1:2020/tcp)');
    expect(packet.after.summary).toContain('8080 TCP ACK');
    expect(await mapSums()).toBe(sums);
    await connection.end();
  });

  it('knows that a source port is taken', async () => {
    // Two services, one endpoint, and the client's port towards it is in use.
    await createService(lab.daemon, { vip, endpoints: servers().slice(0, 1) });
    await createService(lab.daemon, { vip, port: 2021, endpoints: servers().slice(0, 1) });
    const connection = await connect(42_000);
    const packet = await trace('10.10.10.1', vip, '--tcp=42000:2021');
    expect(packet.steps.some(({ text }) => text.includes('port_translated'))).toBe(true);
    expect(packet.after.summary).not.toContain('10.10.10.1:42000');
    await connection.end();
  });

  it('knows what a router has said about a tunnel', async () => {
    const far = '50.50.50.1';
    await lab.network.lb.ip(`route replace ${far}/32 via ${lab.network.server(1).v4}`);
    await createService(lab.daemon, { vip, protocol: 'udp', mode: 'dsr', endpoints: [{ ip: far }] });
    const ask = () => trace('10.10.10.1', vip, `--udp=40000:${port}`, '--size=1300');
    const roomy = await ask();
    expect(roomy.after.summary).toContain(`> ${far}`);
    expect(roomy.steps.find(({ step }) => step === 'way')?.text).toContain('MTU 1480');
    await learn(far, 1200);
    await lab.network.lb.ip(`route replace ${far}/32 via ${lab.network.server(1).v4} metric 7`);
    const narrow = await ask();
    expect(narrow.steps.map(({ text }) => text).join('\n')).toContain('1300 bytes do not fit the MTU of 1180');
    expect(narrow.after.summary).toContain('ICMP');
  });

  /** As when a router has told the balancer; the map has no pin. */
  async function learn(endpoint: string, mtu: number): Promise<void> {
    const { map_ids } = JSON.parse(
      await must('bpftool', ['-j', 'prog', 'show', 'pinned', join(lab.daemon.bpfDir, 'programs', 'tc_ingress')]),
    );
    const maps: { id: number; name: string }[] = JSON.parse(await must('bpftool', ['-j', 'map', 'show']));
    const id = maps.find((map) => map_ids.includes(map.id) && map.name.startsWith('lb_tunnel_mtu'))?.id ?? 0;
    const value = new Uint8Array(8);
    // Units of 2^20 ns.
    const ticks = Number((process.hrtime.bigint() >> 20n) & 0xffffffffn);
    new DataView(value.buffer).setUint32(0, mtu, true);
    new DataView(value.buffer).setUint32(4, ticks, true);
    const bytes = (list: Iterable<number>) => [...list].map(String);
    const address = [...Array(10).fill(0), 255, 255, ...endpoint.split('.').map(Number)];
    await must('bpftool', ['map', 'update', 'id', String(id), 'key', ...bytes(address), 'value', ...bytes(value)]);
  }

  it('remembers clients that are to stay', async () => {
    await createService(lab.daemon, { vip, select: 'persist', endpoints: servers() });
    const connection = await connect(43_000);
    const [real] = await lab.daemon.dumpMap('lb_affinity');
    const endpoints = await lab.daemon.lookUp<{ addr: { w: number[] } }>('lb_endpoint', [real?.value.endpoint_id ?? 0]);
    const packet = await trace('10.10.10.1', vip, '--tcp=43001:2020');
    const last = (endpoints.get(real?.value.endpoint_id ?? 0)?.addr.w[3] ?? 0) & 0xff;
    expect(packet.after.summary).toContain(`> ${last}.${last}.${last}.1:8080`);
    await connection.end();
  });

  it.each([
    ['nobody serves this port', ['10.10.10.1', vip, '--tcp=1:9'], 'no_service', 'kernel'],
    ['a packet without a flow', ['10.10.10.1', vip, '--tcp=1:2020', '--ack'], 'not_opening', 'kernel'],
    ['its time to live is spent', ['10.10.10.1', vip, '--tcp=1:2020', '--ttl=1'], 'ttl_spent', 'sent'],
  ] as const)('says why: %s', async (_, args, step, verdict) => {
    await createService(lab.daemon, { vip, endpoints: servers() });
    const answer = await trace(...args);
    expect(wordsOf(answer)).toContain(step);
    expect(answer.verdict.name).toBe(verdict);
  });

  it('prints it for people', async () => {
    await createService(lab.daemon, { vip, name: 'web', endpoints: servers() });
    const { client } = lab.network;
    const text = await lab.daemon.loxicmdOk('trace', '10.10.10.1', vip, '--tcp=40000:2020', '--in', client.port);
    expect(text).toContain('packet:  10.10.10.1:40000 > 20.20.20.1:2020 TCP SYN');
    expect(text).toMatch(/service_found +is for service web \(20\.20\.20\.1:2020\/tcp\): mode default, selection rr/);
    expect(text).toMatch(/verdict: sent out of server[12]/);
  });

  it('refuses what it cannot do', async () => {
    const missing = await lab.daemon.loxicmd('trace', '10.10.10.1', vip, '--tcp=1:2', '--in', 'eth99');
    expect([missing.code, missing.stdout]).toEqual([1, 'Error: there is no interface eth99\n']);
    const mixed = await lab.daemon.loxicmd('trace', '10.10.10.1', vip6, '--tcp=1:2', '--in', 'lo');
    expect(mixed.stdout).toContain('destination is not an address of the same family as the source');
  });
});

describe('drops', () => {
  const lost = [{ ip: '203.0.113.9' }];

  /** Sends datagrams that a blackhole route drops. */
  async function loseDatagrams(count: number): Promise<void> {
    const send = `for i in $(seq ${count}); do echo x > /dev/udp/${vip}/${port}; done`;
    await lab.network.client.netns.sh(send);
  }

  it('are shown by reason and service', async () => {
    await createService(lab.daemon, { vip, protocol: 'udp', name: 'lossy', endpoints: lost });
    await loseDatagrams(5);
    const { dropAttr } = JSON.parse(await lab.daemon.loxicmdOk('get', 'drops', '-o', 'json'));
    const entry = dropAttr.find(({ reason }: { reason: string }) => reason === 'unreachable');
    expect(entry).toMatchObject({ number: 5, services: [{ service: 'lossy', address: '20.20.20.1:2020/udp' }] });
    expect(entry.services[0].packets).toBeGreaterThanOrEqual(5);
    expect(await lab.daemon.loxicmdOk('get', 'drops')).toMatch(
      /\| unreachable +\| lossy +\| 20\.20\.20\.1:2020\/udp \| +\d+ \|/,
    );
    const metrics = await (await fetchText('/metrics')).split('\n');
    expect(
      metrics.some((line) => line.startsWith('loxilb_service_drops_total{service="lossy",reason="unreachable"}')),
    ).toBe(true);
  });

  it('are forgotten with their service', async () => {
    await until('no drop is told of a service that is gone', async () => {
      const entries = await lab.daemon.dumpMap('dp_service_drop');
      return entries.length === 0;
    });
  });

  it('are seen live, while somebody watches and no longer', async () => {
    await createService(lab.daemon, { vip, protocol: 'udp', name: 'lossy', endpoints: lost });
    const watcher = lab.network.lb.spawn('observe', loxicmdProgram, [
      ...['observe', '--drop', '--service=lossy', '--count=3', '-o', 'json'],
    ]);
    await until('the packet path is told', async () => (await kinds()) === 1);
    await loseDatagrams(4);
    expect(await watcher.end()).toBe(0);
    const events = watcher.output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toHaveLength(3);
    expect(events[0]).toMatchObject({
      ...{ kind: 'drop', reason: 'unreachable', service: 'lossy', endpoint: '203.0.113.9:8080', protocol: 'udp' },
      ...{ interface: lab.network.client.port, destination: '20.20.20.1:2020' },
    });
    expect(Math.abs(Date.parse(events[0].time) - Date.now())).toBeLessThan(30_000);
    await until('the packet path is told to be silent', async () => (await kinds()) === 0);
  });

  it('cost a bounded share when a client does not read, and it is told what it missed', async () => {
    await createService(lab.daemon, { vip, protocol: 'udp', endpoints: lost });
    const { pid } = lab.daemon.process;
    const client = lab.network.lb.spawn('client', process.execPath, ['-e', watchProgram(1)]);
    await client.line(/watching/);
    process.kill(client.pid, 'SIGSTOP');
    const before = residentKilobytes(pid);
    const already = await dropped();
    expect(await slowestAnswer(floodDatagrams(150_000))).toBeLessThan(3_000);
    expect(residentKilobytes(pid) - before).toBeLessThan(80_000);
    process.kill(client.pid, 'SIGCONT');
    const [, summary = '{}'] = await client.line(/^summary (.*)$/m, 90_000);
    const { packet, lostByClient, lostInPath } = JSON.parse(summary);
    expect(lostByClient).toBeGreaterThan(0);
    expect(packet + lostByClient + lostInPath).toBe((await dropped()) - already);
    const metrics = await fetchText('/metrics');
    expect(metrics).toContain(`loxilb_observe_lost_packets_total{where="client"} ${lostByClient}`);
    await client.kill();
    await until('nothing is told any more', async () => (await kinds()) === 0);
  });

  it('are seen by many clients at once, whose sudden end leaves nothing', async () => {
    await createService(lab.daemon, { vip, protocol: 'udp', endpoints: lost });
    const { pid } = lab.daemon.process;
    const files = () => readdirSync(`/proc/${pid}/fd`).length;
    const before = files();
    const clients = lab.network.lb.spawn('clients', process.execPath, ['-e', watchProgram(50)]);
    await clients.line(/watching/);
    const refused = await lab.daemon.loxicmd('observe');
    expect([refused.code, refused.stdout]).toEqual([1, expect.stringContaining('50')]);
    await loseDatagrams(20);
    const [, summary = '{}'] = await clients.line(/^summary (.*)$/m, 90_000);
    expect(JSON.parse(summary)).toEqual({ packet: 50 * 20, lostByClient: 0, lostInPath: 0 });
    await clients.kill();
    await until('nothing is told any more', async () => (await kinds()) === 0);
    await until('all files are closed', () => files() <= before);
    expect(await fetchText('/metrics')).toContain('loxilb_observe_watchers 0');
  });

  it('do not hold up a daemon that stops', async () => {
    const watcher = lab.network.lb.spawn('observe', loxicmdProgram, ['observe']);
    await until('somebody watches', async () => (await lab.daemon.dumpMap('dp_observe'))[0]?.value.kinds === 7);
    const begin = performance.now();
    await lab.daemon.stop();
    expect(performance.now() - begin).toBeLessThan(2_500);
    expect(await watcher.end()).toBe(1);
    expect(watcher.output).toContain('Error: the daemon has ended the stream');
    expect((await lab.daemon.dumpMap('dp_observe'))[0]?.value.kinds).toBe(0);
    await lab.daemon.start();
  });

  async function kinds(): Promise<number> {
    return (await lab.daemon.dumpMap('dp_observe'))[0]?.value.kinds;
  }

  /** Datagrams that were dropped so far, by the packet path's own counter. */
  async function dropped(): Promise<number> {
    const { dropAttr } = JSON.parse(await lab.daemon.loxicmdOk('get', 'drops', '-o', 'json'));
    return dropAttr.find(({ reason }: { reason: string }) => reason === 'unreachable')?.packets ?? 0;
  }

  function residentKilobytes(pid: number): number {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  }

  /** Connections that watch drops, and a summary when nothing has come for a second. */
  function watchProgram(count: number): string {
    return `const http = require('node:http');
      const sum = { packet: 0, lostByClient: 0, lostInPath: 0 };
      let timer, open = 0;
      const told = (text) => {
        for (const [, name, data] of text.matchAll(/event: (\\w+)\\ndata: (.*)\\n/g)) {
          const { events, where } = JSON.parse(data);
          if (name === 'packet') sum.packet++;
          else if (name === 'lost') sum[where === 'client' ? 'lostByClient' : 'lostInPath'] += events;
          else if (++open === ${count}) console.log('watching');
          if (name === 'open') continue;
          clearTimeout(timer);
          timer = setTimeout(() => console.log('summary ' + JSON.stringify(sum)), 6000);
        }
      };
      for (let i = 0; i < ${count}; i++)
        http.get({ port: ${lab.daemon.port}, path: '/netlox/v1/observe?kind=drop', agent: false }, (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (piece) => {
            text += piece;
            const end = text.lastIndexOf('\\n\\n') + 2;
            if (end < 2) return;
            told(text.slice(0, end));
            text = text.slice(end);
          });
        });`;
  }

  function floodDatagrams(count: number): Promise<string> {
    const program = `const socket = require('node:dgram').createSocket('udp4');
      let left = ${count};
      const burst = () => {
        for (let i = 0; i < 500 && left > 0; i++, left--) socket.send('x', ${port}, '${vip}');
        if (left > 0) setTimeout(burst, 1); else setTimeout(() => socket.close(), 500);
      };
      burst();`;
    return lab.network.client.netns.must(process.execPath, ['-e', program], { timeoutMs: 60_000 });
  }

  /** Milliseconds the slowest of the answers took while the work goes on. */
  async function slowestAnswer(work: Promise<unknown>): Promise<number> {
    let [slowest, busy] = [0, true];
    void work.finally(() => {
      busy = false;
    });
    while (busy) {
      const begin = performance.now();
      expect((await lab.daemon.api.get('/version')).status).toBe(200);
      slowest = Math.max(slowest, performance.now() - begin);
      await pause(50);
    }
    await work;
    return slowest;
  }

  async function fetchText(path: string): Promise<string> {
    return lab.network.lb.sh(`curl -s http://127.0.0.1:${lab.daemon.port}/netlox/v1${path}`);
  }
});
