import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  addFarHosts,
  connectDirectly,
  type DirectPath,
  decapsulate,
  defaultPlugins,
  type FarHost,
  type Lab,
  type Namespace,
  removeFarHosts,
  startLab,
  until,
} from '../integration/harness/index.js';
import { SctpClient, startSctpServer } from '../integration/harness/sctp.js';
import { checkLinks, type Example, examplesOf, runExample } from './examples.js';

const PAGE = 'docs/load-balancing.md';

/** The network of the page; its commands do what the page says, in its order, on one daemon. */
describe(PAGE, () => {
  let lab: Lab;
  let far: FarHost[];
  let direct: DirectPath;

  beforeAll(async () => {
    lab = await startLab({ plugins: { ...defaultPlugins, observe: {} } });
    const { network } = lab;
    far = await addFarHosts(network, network.server(2), 1);
    const direct3 = [network.server(3).netns, ...far.map(({ netns }) => netns)];
    direct = await connectDirectly(network, direct3);
    for (const name of ['server1', 'server2', 'server3', 'far']) await startNginx(name, `${name}-web`, webServer(name));
  });
  afterAll(async () => {
    await direct?.dispose();
    if (far) await removeFarHosts(far);
    await lab?.dispose();
  });

  const place = (where: string): Namespace => {
    const { network } = lab;
    const found = network.servers.find(({ port }) => port === where)?.netns;
    const others: Record<string, Namespace | undefined> = {
      ...{ lb: network.lb, client: network.client.netns, far: far[0]?.netns },
    };
    const netns = found ?? others[where];
    if (!netns) throw new Error(`the page runs something in '${where}', which is not in its network`);
    return netns;
  };

  async function startNginx(where: string, name: string, server: string): Promise<void> {
    const home = join(lab.network.folder, name);
    await mkdir(home);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((one) => `${one}_temp_path ${home};`);
    const http = `http { access_log off; default_type text/plain; ${temporary.join(' ')} server { ${server} } }`;
    const main = `user root; daemon off; worker_processes 1; pid ${home}/pid; events { worker_connections 256; }`;
    await writeFile(join(home, 'nginx.conf'), `${main}\n${http}\n`);
    const args = ['-c', join(home, 'nginx.conf'), '-p', home, '-e', join(home, 'error.log')];
    place(where).spawn('nginx', 'nginx', args);
    await listens(where, Number(server.match(/listen (\d+)/)?.[1]));
  }

  async function startHaproxy(where: string, text: string): Promise<void> {
    const file = join(lab.network.folder, 'haproxy.cfg');
    const defaults = 'defaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  timeout server 5s\n';
    await writeFile(file, `global\n  maxconn 100\n${defaults}${text}`);
    place(where).spawn('haproxy', 'haproxy', ['-db', '-f', file]);
    await listens(where, Number(text.match(/bind :(\d+)/)?.[1]));
  }

  const listens = (where: string, port: number): Promise<unknown> =>
    until(`port ${port} of ${where} listens`, async () =>
      (await place(where).must('ss', ['-Hltn'])).includes(`:${port} `),
    );

  /** Kernels without the devices the page tells of get a program that does the same. */
  async function prepareTunnel(example: Example): Promise<void> {
    const netns = place(example.where);
    const has = await netns.run('sh', ['-c', 'modprobe ipip && ip link show tunl0']);
    if (has.code === 0) await runExample(netns, example);
    else await decapsulate(lab.network, netns, 'eth0');
  }

  it('has examples of every place', () => {
    const places = new Set(examplesOf(PAGE).map(({ where }) => where));
    expect([...places].sort()).toEqual(['client', 'far', 'lb', 'server1', 'server2', 'server3']);
  });

  it.each(examplesOf(PAGE))('line $line works ($language, $where)', async (example) => {
    const { language, where, text } = example;
    if (language === 'nginx') await startNginx(where, 'proxied', text);
    else if (language === 'haproxy') await startHaproxy(where, text);
    else if (example.more.includes('ipip')) await prepareTunnel(example);
    else await runExample(place(where), example);
  });

  it('its SCTP service takes associations', async () => {
    const { network } = lab;
    for (const number of [1, 2]) {
      const { netns, v4 } = network.server(number);
      await startSctpServer(network, netns, 3868, [v4]);
    }
    const { netns, v4 } = network.client;
    for (const host of ['20.20.20.10', '20.20.20.11']) {
      const client = await SctpClient.start(network, netns, { host, port: 3868 }, [v4]);
      await client.echo(`to ${host}`);
      await client.stop();
    }
  });

  it('names only files and headings that exist', () => {
    checkLinks(PAGE);
  });
});

function webServer(name: string): string {
  return `listen 80; listen [::]:80; location / { return 200 "${name}\\n"; } location = /peer { return 200 "$remote_addr\\n"; }`;
}
