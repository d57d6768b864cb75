/** Interfaces that go and come back, change their names, or change places: the packet path is where they are. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  createService,
  deleteServices,
  type Host,
  type Lab,
  must,
  names,
  startLab,
  tcp,
  until,
} from './harness/index.js';

const KINDS = [
  ['tcx', { hook: 'tcx' }],
  ['clsact', { hook: 'clsact' }],
  ['XDP', { hook: 'tcx', args: ['--xdp', 'generic'] }],
] as const;

describe.each(KINDS)('%s', (kind, options) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 2, ...options });
    for (const host of [lab.network.client, ...lab.network.servers]) await finishChecksums(host);
  });
  afterEach(async () => {
    await deleteServices(lab.daemon);
    await putBack();
  });
  afterAll(() => lab?.dispose());

  const ports = () => ['client', 'lo', 'server1', 'server2'];
  const one = (): Host => lab.network.server(1);
  /** A namespace that knows nothing of the interface; its index is free there. */
  const elsewhere = (): string => lab.network.server(2).netns.name;

  /** Of a veth pair both ends do; XDP cannot finish the checksums of its other end. */
  async function finishChecksums({ netns }: Host): Promise<void> {
    if (kind === 'XDP') await netns.must('ethtool', ['-K', 'eth0', 'tx', 'off', 'gro', 'on']);
  }

  /** Removes both ends of the wire to the first server, and puts up another one like it, this many times. */
  async function wireAgain(times: number): Promise<void> {
    const { lb } = lab.network;
    const add = `link add server1 type veth peer name eth0 netns ${one().netns.name}`;
    await lb.ip(...Array.from({ length: times }, () => ['link del server1', add]).flat());
    await setUp();
  }

  /** As it was, whatever a test that failed has left. */
  async function putBack(): Promise<void> {
    const { lb } = lab.network;
    const there = JSON.parse(await lb.must('ip', ['-j', 'link'])).map(({ ifname }: { ifname: string }) => ifname);
    if (there.sort().join() !== ports().join()) {
      for (const name of there) if (!['lo', 'client', 'server2'].includes(name)) await lb.ip(`link del ${name}`);
      await must('ip', ['-n', elsewhere(), '-force', '-batch', '-'], { input: 'link del server1\n' }).catch(() => {});
      await lb.ip(`link add server1 type veth peer name eth0 netns ${one().netns.name}`);
      await setUp();
    }
    await expectAttached(ports());
  }

  /** What is lost with a device, or with its way through another namespace. */
  async function setUp(): Promise<void> {
    const { gateway, netns, v4, v6 } = one();
    const far = (address: string) =>
      address.includes(':') ? `${address}/64 dev eth0 nodad` : `${address}/24 dev eth0`;
    await lab.network.lb.ip(
      `addr replace ${gateway.v4}/24 dev server1`,
      `addr replace ${gateway.v6}/64 dev server1 nodad`,
      'link set server1 up',
    );
    await netns.ip(...[v4, v6].map((address) => `addr replace ${far(address)}`), 'link set eth0 up');
    await netns.ip(`route replace default via ${gateway.v4}`, `route replace default via ${gateway.v6}`);
    await finishChecksums(one());
  }

  /** What is told of the interfaces, by `get port`. */
  async function told(): Promise<Record<string, string>> {
    const { body } = await lab.daemon.api.get('/config/port/all');
    const rows: { portName: string; portSoftwareInformation: { bpfLoaded?: boolean; bpf?: string } }[] = body.portAttr;
    return Object.fromEntries(
      rows.map(({ portName, portSoftwareInformation: { bpfLoaded, bpf } }) => [
        portName,
        bpfLoaded ? (bpf ?? 'tc') : '',
      ]),
    );
  }

  async function metric(): Promise<string[]> {
    const { body } = await lab.daemon.api.get('/metrics');
    return [...String(body).matchAll(/^loxilb_dataplane_attached\{interface="([^"]+)"/gm)]
      .map(([, name]) => name ?? '')
      .sort();
  }

  /** Listing, metric and pins say the same; the listing asks the kernel each time. */
  async function expectAttached(present: readonly string[]): Promise<void> {
    const expected = present.flatMap((name) => [
      ...(kind === 'clsact' ? [] : [`${name}_egress`, `${name}_ingress`]),
      ...(kind === 'XDP' && name !== 'lo' ? [`${name}_xdpgeneric`] : []),
    ]);
    const on = (name: string) => (kind === 'XDP' && name !== 'lo' ? 'tc+xdp generic' : 'tc');
    const truth = {
      listed: Object.fromEntries(present.map((name) => [name, on(name)])),
      counted: [...present].sort(),
      pinned: expected.sort(),
    };
    await vi.waitFor(async () => expect(await facts()).toEqual(truth), { timeout: 30_000, interval: 50 });
  }

  async function facts() {
    const listed = Object.entries(await told()).filter(([, on]) => on !== '');
    const pinned = readdirSync(join(lab.daemon.bpfDir, 'links')).sort();
    return { listed: Object.fromEntries(listed), counted: await metric(), pinned };
  }

  async function serve(): Promise<void> {
    const endpoints = lab.network.servers.map(({ v4 }) => ({ ip: v4 }));
    await createService(lab.daemon, { vip: lab.network.vip.v4, endpoints });
  }

  async function expectTraffic(): Promise<void> {
    const options = { host: lab.network.vip.v4, port: 2020, count: 4 };
    const seen = await until('both servers answer', async () => {
      const answers = names(await tcp(lab.network.client.netns, options));
      return new Set(answers).size === 2 && answers.length === 4 ? answers : undefined;
    });
    expect(new Set(seen)).toEqual(new Set(['server1', 'server2']));
  }

  it('an interface that is deleted, and made again later', async () => {
    await serve();
    await lab.network.lb.ip('link del server1');
    await expectAttached(['client', 'lo', 'server2']);
    const { lb } = lab.network;
    await lb.ip(`link add server1 type veth peer name eth0 netns ${one().netns.name}`);
    await setUp();
    await expectAttached(ports());
    await expectTraffic();
  });

  it.each([1, 2, 5])('an interface that is made again at once, %d times', async (times) => {
    await serve();
    await wireAgain(times);
    await expectAttached(ports());
    await expectTraffic();
  });

  it('an interface with another name', async () => {
    await serve();
    await lab.network.lb.ip('link set server1 down', 'link set server1 name port.1', 'link set port.1 up');
    await until('the new name is told', async () => (await told())['port.1'] || undefined);
    await lab.network.lb.ip('link set port.1 down', 'link set port.1 name server1');
    await setUp();
    await expectAttached(ports());
    await expectTraffic();
  });

  it("interfaces that take one another's names", async () => {
    await serve();
    const swap = ['link set server1 name aside', 'link set server2 name server1', 'link set aside name server2'];
    await lab.network.lb.ip(...swap);
    await expectAttached(ports());
    await expectTraffic();
    await lab.network.lb.ip(...swap);
    await expectAttached(ports());
    await expectTraffic();
  });

  it('a new interface under the name one has just given up', async () => {
    await serve();
    const spare = `link add server1 type veth peer name spare netns ${elsewhere()}`;
    await lab.network.lb.ip('link set server1 name older', spare, 'link set server1 up');
    await expectAttached([...ports(), 'older']);
    await expectTraffic();
    await lab.network.lb.ip('link del server1', 'link set older name server1');
    await expectAttached(ports());
    await expectTraffic();
  });

  it('an interface that is moved to another namespace, and back', async () => {
    await serve();
    const other = elsewhere();
    const { lb } = lab.network;
    await lb.ip(`link set server1 netns ${other}`);
    await expectAttached(['client', 'lo', 'server2']);
    await must('ip', ['-n', other, 'link', 'set', 'server1', 'netns', lb.name]);
    await setUp();
    await expectAttached(ports());
    await expectTraffic();
  });

  it('the same so fast that nobody sees it gone', async () => {
    await serve();
    const other = elsewhere();
    const { lb } = lab.network;
    await must('bash', [
      '-c',
      `ip -n ${lb.name} link set server1 netns ${other} && ip -n ${other} link set server1 netns ${lb.name}`,
    ]);
    await setUp();
    await expectAttached(ports());
    await expectTraffic();
  });

  it('an interface that is set down and up', async () => {
    await serve();
    await lab.network.lb.ip('link set server1 down', 'link set server1 up');
    await setUp();
    await expectAttached(ports());
    await expectTraffic();
  });
});
