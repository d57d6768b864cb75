import { existsSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Namespace } from './namespace.js';
import { must, run } from './run.js';

/** One address of each family. */
export interface Addresses {
  readonly v4: string;
  readonly v6: string;
}

export type Family = keyof Addresses;

export interface Host extends Addresses {
  readonly netns: Namespace;
  /** Interface of the balancer that leads here; the other end is `eth0`. */
  readonly port: string;
  /** The balancer's addresses on that link. */
  readonly gateway: Addresses;
}

export interface Network {
  readonly client: Host;
  readonly lb: Namespace;
  readonly servers: readonly Host[];
  /** Counted from 1, as their names are. */
  server(number: number): Host;
  /** Routed by the client (and the servers) to the balancer; nobody's address until a service has it. */
  readonly vip: Addresses;
  /** Scratch folder of this network, removed with it. */
  readonly folder: string;
  /** Links one more host to the balancer, as server number `servers.length + 1` would be. */
  addHost(name: string): Promise<Host>;
  dispose(): Promise<void>;
}

/** Every namespace and folder of the tests is called `lxt<pid>...`, so that a later run finds what a killed one left. */
const prefix = 'lxt';
let created = 0;

/**
 * client --- lb --- server 1..n, one veth pair each. The balancer forwards; everybody's default route leads to it.
 * Links: client 10.10.10.0/24 and fd10::/64, server i 3i.3i.3i.0/24 and fd3i::/64. Host .1, balancer .254.
 */
export async function createNetwork(serverCount = 3): Promise<Network> {
  await removeLeftovers();
  created += 1;
  const base = `${prefix}${process.pid}-${created}`;
  const folder = await mkdtemp(join(tmpdir(), `${base}-`));
  const lb = new Namespace(`${base}-lb`);
  const hosts: Host[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all([lb.stopAll(), ...hosts.map((host) => host.netns.stopAll())]);
    for (const name of [lb.name, ...hosts.map((host) => host.netns.name)]) await removeNamespace(name);
    await removeFolder(folder);
  };
  const addHost = async (name: string): Promise<Host> => {
    const host = hostOf(base, name, hosts.length);
    hosts.push(host);
    await connect(lb, host);
    return host;
  };
  try {
    await createBalancer(lb);
    const client = await addHost('client');
    for (let i = 1; i <= serverCount; i++) await addHost(`server${i}`);
    const vip = { v4: '20.20.20.1', v6: 'fd20::1' };
    const server = (number: number): Host => {
      const host = number > 0 ? hosts[number] : undefined;
      if (!host) throw new Error(`this network has no server ${number}`);
      return host;
    };
    return { client, lb, servers: hosts.slice(1), server, vip, folder, addHost, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function hostOf(base: string, name: string, index: number): Host {
  const v4 = index === 0 ? '10.10.10' : [0, 0, 0].map(() => 30 + index).join('.');
  const v6 = index === 0 ? 'fd10::' : `fd${30 + index}::`;
  return {
    netns: new Namespace(`${base}-${name}`),
    port: name,
    v4: `${v4}.1`,
    v6: `${v6}1`,
    gateway: { v4: `${v4}.254`, v6: `${v6}254` },
  };
}

async function createBalancer(lb: Namespace): Promise<void> {
  await must('ip', ['netns', 'add', lb.name]);
  await lb.ip('link set lo up');
  await lb.sysctl({
    'net.ipv4.ip_forward': 1,
    'net.ipv6.conf.all.forwarding': 1,
    'net.ipv4.conf.all.rp_filter': 0,
    'net.ipv4.conf.default.rp_filter': 0,
  });
}

async function connect(lb: Namespace, host: Host): Promise<void> {
  await must('ip', ['netns', 'add', host.netns.name]);
  await must('ip', [
    'link',
    'add',
    host.port,
    'netns',
    lb.name,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    host.netns.name,
  ]);
  await lb.ip(
    `addr add ${host.gateway.v4}/24 dev ${host.port}`,
    `addr add ${host.gateway.v6}/64 dev ${host.port} nodad`,
    `link set ${host.port} up`,
  );
  await host.netns.ip(
    'link set lo up',
    `addr add ${host.v4}/24 dev eth0`,
    `addr add ${host.v6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${host.gateway.v4}`,
    `route add ::/0 via ${host.gateway.v6}`,
  );
}

async function removeNamespace(name: string): Promise<void> {
  const pids = await run('ip', ['netns', 'pids', name]);
  for (const pid of pids.stdout.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself in the meantime.
    }
  }
  await run('ip', ['netns', 'del', name]);
}

/** Unmounts what daemons mounted below, then removes the folder. */
async function removeFolder(folder: string): Promise<void> {
  const { stdout } = await run('findmnt', ['-rno', 'TARGET']);
  const mounts = stdout.split('\n').filter((target) => target.startsWith(`${folder}/`));
  for (const target of mounts.reverse()) await run('umount', ['-l', target]);
  rmSync(folder, { recursive: true, force: true });
}

/** Namespaces and folders of test runs whose process is gone. */
async function removeLeftovers(): Promise<void> {
  const isDead = (name: string): boolean => {
    const pid = name.match(new RegExp(`^${prefix}(\\d+)-`))?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  for (const name of namespaces.filter(isDead)) await removeNamespace(name);
  for (const name of readdirSync(tmpdir()).filter(isDead)) await removeFolder(join(tmpdir(), name));
}
