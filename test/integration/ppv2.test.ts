import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  defaultPlugins,
  deleteServices,
  type Family,
  hostPort,
  type Lab,
  type Mode,
  must,
  type Namespace,
  startLab,
  startWebServer,
  until,
  type WebServer,
} from './harness/index.js';

const SIZE = 20_000_000;
const HTTP = 8000;
const TLS = 8443;
const HAPROXY = 8001;
const GREETER = 8025;
const greeter = fileURLToPath(new URL('./programs/greeter.mjs', import.meta.url));
const greeted = fileURLToPath(new URL('./programs/greeted-client.mjs', import.meta.url));
const modes: readonly Mode[] = ['default', 'onearm', 'fullnat'];
const families: readonly Family[] = ['v4', 'v6'];

/** client - lb - server1 with nginx, HAProxy and a server that speaks first, all of which want the header. */
describe('PROXY protocol v2', () => {
  let lab: Lab;
  let web: WebServer;
  let sha256: string;
  let haproxyLog: () => string;

  beforeAll(async () => {
    lab = await startLab({ servers: 1, plugins: { ...defaultPlugins, observe: {} } });
    const { network } = lab;
    const { netns } = network.server(1);
    web = await startWebServer(network, netns, 'server1', [
      { port: HTTP, proxied: true },
      { port: TLS, proxied: true, tls: true },
    ]);
    haproxyLog = await startHaproxy(lab, netns);
    await netns.spawn('greeter', process.execPath, [greeter, String(GREETER)]).line(/listening/);
    await writeFile(join(network.folder, 'file'), randomBytes(SIZE));
    await must('cp', [join(network.folder, 'file'), join(web.root, 'file')]);
    sha256 = await hashOf(join(network.folder, 'file'));
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const client = (): Namespace => lab.network.client.netns;
  const serve = (family: Family, mode: Mode, port: number) =>
    createService(lab.daemon, {
      vip: lab.network.vip[family],
      ...{ mode, port, more: { proxyprotocolv2: true } },
      endpoints: [{ ip: lab.network.server(1)[family], port }],
    });
  /** Segments that were sent again by client and server. */
  const repeats = async (): Promise<number> => {
    const hosts = [client(), lab.network.server(1).netns];
    const texts = await Promise.all(hosts.map((host) => host.sh('nstat -az TcpRetransSegs')));
    return texts.reduce((sum, text) => sum + Number(/TcpRetransSegs\s+(\d+)/.exec(text)?.[1]), 0);
  };
  const offloads = async (state: 'on' | 'off'): Promise<void> => {
    const all = ['tso', 'gso', 'gro', 'tx', 'rx'].flatMap((one) => [one, state]);
    for (const host of [lab.network.client, lab.network.server(1)]) {
      await host.netns.must('ethtool', ['-K', 'eth0', ...all]);
      await lab.network.lb.must('ethtool', ['-K', host.port, ...all]);
    }
  };
  /** The log once it has so many requests: nginx writes one when the client has its answer already. */
  const logged = async (count: number): Promise<Awaited<ReturnType<WebServer['log']>>> => {
    await until(`${count} requests are logged`, async () => (await web.lines()) >= count);
    return web.log();
  };
  const urlOf = (family: Family, port: number, path: string): string =>
    `${port === TLS ? 'https' : 'http'}://${hostPort(lab.network.vip, family, port)}/${path}`;
  /** curl with a known local port. */
  const curl = (localPort: number, ...args: readonly string[]): Promise<string> =>
    client().must('curl', ['-sSk', '-m', '60', '--local-port', String(localPort), ...args]);
  /** Address of the peer the server has. */
  const peerOf = (family: Family, mode: Mode): string => {
    const { client, server, vip } = lab.network;
    return { default: client[family], onearm: server(1).gateway[family], fullnat: vip[family] }[mode as 'default'];
  };
  const counter = async (kind: 'drops' | 'events', reason: string): Promise<number> => {
    const { body } = await lab.daemon.api.get('/metrics');
    const match = String(body).match(new RegExp(`^loxilb_dataplane_${kind}_total{reason="${reason}"} (\\d+)`, 'm'));
    return Number(match?.[1] ?? 0);
  };
  // Below those that the kernel gives out.
  let localPort = 20_000;
  const nextPort = (): number => ++localPort;

  describe.each(modes)('mode %s', (mode) => {
    describe.each(families)('%s', (family) => {
      it.each([
        ['HTTP', HTTP, '-'],
        ['TLS 1.3', TLS, 'TLSv1.3'],
      ])('%s: the server knows the client, whatever is sent', async (_name, port, protocol) => {
        await serve(family, mode, port);
        const before = await counter('events', 'ppv2_sent');
        await web.forget();
        const seen = [];
        for (const state of ['off', 'on'] as const) {
          await offloads(state);
          const [first, second] = [nextPort(), nextPort()];
          const got = await client().sh(
            `curl -sSk -m 60 --local-port ${first} '${urlOf(family, port, 'file')}' | sha256sum`,
          );
          expect([state, got.split(' ')[0]]).toEqual([state, sha256]);
          await must('rm', ['-f', join(web.root, 'upload')]);
          await curl(second, '-T', join(lab.network.folder, 'file'), urlOf(family, port, 'upload'));
          expect([state, await hashOf(join(web.root, 'upload'))]).toEqual([state, sha256]);
          seen.push(['GET', first], ['PUT', second]);
        }
        const { client: host, vip } = lab.network;
        expect(await logged(seen.length)).toEqual(
          seen.map(([method, from]) => ({
            client: `[${host[family]}]:${from}`,
            service: `[${vip[family]}]:${port}`,
            ...{ peer: peerOf(family, mode), number: 1, method, protocol },
          })),
        );
        expect((await counter('events', 'ppv2_sent')) - before).toBe(4);
      });

      it('many requests on one connection have one header', async () => {
        await serve(family, mode, HTTP);
        await web.forget();
        const names = await curl(nextPort(), ...Array(20).fill(urlOf(family, HTTP, 'name')));
        expect(names).toBe('server1\n'.repeat(20));
        const log = await logged(20);
        expect(log.map(({ number }) => number)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
        const who = `[${lab.network.client[family]}]:${localPort}`;
        expect(new Set(log.map((request) => request.client))).toEqual(new Set([who]));
      });

      it('many connections at once', async () => {
        await serve(family, mode, HTTP);
        await web.forget();
        const one = `curl -sS -m 60 '${urlOf(family, HTTP, 'name')}' -w '%{local_ip} %{local_port}\\n'`;
        const text = await client().sh(`for i in {1..40}; do ${one} & done; wait`);
        const [, ...lines] = [...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, ip, port]) => `[${ip}]:${port}`);
        expect(lines).toHaveLength(39);
        expect((await logged(40)).map((request) => request.client)).toEqual(expect.arrayContaining(lines));
      });

      it('HAProxy knows the client too', async () => {
        await serve(family, mode, HAPROXY);
        expect((await curl(nextPort(), urlOf(family, HAPROXY, ''))).trim()).toBe('haproxy');
        const { client: host, vip } = lab.network;
        const line = `from ${host[family]} ${localPort} to ${vip[family]} ${HAPROXY}\n`;
        await until(`HAProxy logs "${line}"`, () => haproxyLog().includes(line));
      });

      it('a server that speaks first greets at once, and then echoes', async () => {
        await serve(family, mode, GREETER);
        const address = (text: string): string => (family === 'v4' ? text : text.replace('::', ':0:0:0:0:0:0:'));
        const sentAgain = [];
        for (let connection = 0; connection < 3; connection++) {
          const options = {
            host: lab.network.vip[family],
            port: GREETER,
            localPort: nextPort(),
            bytes: 300_000,
          };
          const before = await repeats();
          const answer = JSON.parse(await client().must(process.execPath, [greeted, JSON.stringify(options)]));
          sentAgain.push((await repeats()) - before);
          expect(answer).toEqual({
            greeting: {
              client: { address: address(lab.network.client[family]), port: options.localPort },
              service: { address: address(lab.network.vip[family]), port: GREETER },
            },
            echoed: true,
          });
        }
        // A header that came late or wrong would cost every connection some. A single one may be a tail loss probe
        // (RFC 8985 section 7) of a host whose peer was kept off the processor.
        expect(Math.min(...sentAgain), `segments sent again: ${sentAgain}`).toBe(0);
      });
    });
  });

  describe.each(families)('%s', (family) => {
    it.each([
      ['HTTP', HTTP],
      ['a server that speaks first', GREETER],
    ])('%s: a header that is lost is sent again', async (_name, port) => {
      await serve(family, 'onearm', port);
      const before = await counter('events', 'ppv2_resent');
      const { netns } = lab.network.server(1);
      // The first packet of the connection that is longer than an acknowledgment: the one with the header.
      const [headers, room] = family === 'v4' ? [60, 100] : [80, 150];
      const rule = `tcp dport ${port} meta length > ${headers} quota until ${room} bytes counter drop`;
      const chain = 'chain inet loss in { type filter hook input priority 0; }';
      await netns.must('nft', [`add table inet loss; add ${chain}; add rule inet loss in ${rule}`]);
      const options = { host: lab.network.vip[family], port, localPort: nextPort(), bytes: 10 };
      if (port === HTTP) expect(await curl(nextPort(), urlOf(family, HTTP, 'name'))).toBe('server1\n');
      else expect(await client().must(process.execPath, [greeted, JSON.stringify(options)])).toContain('"echoed":true');
      expect(await netns.must('nft', ['list', 'table', 'inet', 'loss'])).toContain('counter packets 1 ');
      await netns.must('nft', ['delete', 'table', 'inet', 'loss']);
      expect(await counter('events', 'ppv2_resent')).toBeGreaterThan(before);
    });

    it('a rule with endpoints of the other family is refused, and nothing of it stays', async () => {
      const { vip, server } = lab.network;
      const other = family === 'v4' ? 'v6' : 'v4';
      const rule = createService(lab.daemon, {
        ...{ vip: vip[family], port: HTTP, more: { proxyprotocolv2: true } },
        endpoints: [{ ip: server(1)[other], port: HTTP }],
      });
      await expect(rule).rejects.toThrow('LB_PROXY_PROTOCOL_FAMILY');
      expect((await lab.daemon.api.get('/config/loadbalancer/all')).body.lbAttr).toEqual([]);
    });
  });
});

async function hashOf(file: string): Promise<string> {
  return (await must('sha256sum', [file])).split(' ')[0] ?? '';
}

/** HAProxy that answers every request with its name, and logs who asked. */
async function startHaproxy({ network }: Lab, netns: Namespace): Promise<() => string> {
  const file = join(network.folder, 'haproxy.cfg');
  const configuration = `
    global
      log stdout format raw local0
    defaults
      mode http
      timeout connect 60s
      timeout client 60s
      timeout server 60s
    frontend front
      bind :::${HAPROXY} v4v6 accept-proxy
      log global
      log-format "from %[src] %[src_port] to %[dst] %[dst_port]"
      http-request return status 200 content-type text/plain string haproxy
    `;
  await writeFile(file, `${configuration}\n`);
  const haproxy = netns.spawn('haproxy', 'haproxy', ['-db', '-f', file]);
  await until('HAProxy listens', async () => (await netns.must('ss', ['-Hltn'])).includes(`:${HAPROXY} `));
  return () => haproxy.output;
}
