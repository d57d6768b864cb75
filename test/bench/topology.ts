import { readlinkSync, statSync } from 'node:fs';
import { run, tryRun } from './process.js';
import type { Scope } from './scope.js';

/** Every namespace of the bench begins so; what carries this name belongs to a run. */
export const PREFIX = 'llbbench-';

export const SERVERS = 2;

/** One contender's world: client - lb - two servers, joined by veth pairs, with addresses no other contender uses. */
export interface Topology {
  readonly name: string;
  readonly client: string;
  readonly lb: string;
  readonly servers: readonly string[];
  readonly clientAddress: string;
  readonly lbAddress: string;
  readonly serverAddresses: readonly string[];
  /** Routed by the client to lb; whether lb owns it is the contender's business. */
  readonly vip: string;
}

export function describeTopology(name: string, index: number): Topology {
  const net = `10.${60 + index}`;
  const numbers = Array.from({ length: SERVERS }, (_, server) => server + 1);
  return {
    name,
    client: `${PREFIX}${name}-c`,
    lb: `${PREFIX}${name}-lb`,
    servers: numbers.map((server) => `${PREFIX}${name}-s${server}`),
    clientAddress: `${net}.1.10`,
    lbAddress: `${net}.1.1`,
    serverAddresses: numbers.map((server) => `${net}.${10 + server}.10`),
    vip: `20.20.${20 + index}.1`,
  };
}

export function namespacesOf(topology: Topology): string[] {
  return [topology.client, topology.lb, ...topology.servers];
}

export async function buildTopology(scope: Scope, topology: Topology): Promise<void> {
  scope.defer(`namespaces of ${topology.name}`, () => removeNamespaces(namespacesOf(topology)));
  await run(['ip', '-batch', '-'], { input: linkCommands(topology).join('\n') });
  await Promise.all([
    configure(topology.client, [['lb0', `${topology.clientAddress}/24`, topology.lbAddress]]),
    configure(topology.lb, [
      ['c0', `${topology.lbAddress}/24`],
      ...topology.serverAddresses.map((address, i): [string, string] => [`s${i + 1}`, `${gatewayOf(address)}/24`]),
    ]),
    ...topology.servers.map((server, i) => {
      const address = topology.serverAddresses[i] as string;
      return configure(server, [['lb0', `${address}/24`, gatewayOf(address)]]);
    }),
  ]);
}

function gatewayOf(address: string): string {
  return address.replace(/\d+$/, '1');
}

function linkCommands(topology: Topology): string[] {
  const pair = (inside: string, far: string) =>
    `link add ${inside} netns ${topology.lb} type veth peer name lb0 netns ${far}`;
  return [
    ...namespacesOf(topology).map((namespace) => `netns add ${namespace}`),
    pair('c0', topology.client),
    ...topology.servers.map((server, i) => pair(`s${i + 1}`, server)),
  ];
}

/** Addresses and default route of one namespace; the kernel forwards, and believes what routes say. */
async function configure(namespace: string, devices: readonly (readonly [string, string, string?])[]): Promise<void> {
  const commands = ['link set lo up'];
  for (const [device, address, gateway] of devices) {
    commands.push(`addr add ${address} dev ${device}`, `link set ${device} up`);
    if (gateway) commands.push(`route add default via ${gateway}`);
  }
  await run(['ip', '-n', namespace, '-batch', '-'], { input: commands.join('\n') });
  await run(
    ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0'],
    { namespace },
  );
}

/** The kernel's name of a namespace as seen in /proc/PID/ns/net. */
export function namespaceId(namespace: string): string {
  return `net:[${statSync(`/run/netns/${namespace}`).ino}]`;
}

export function ownNamespaceId(): string {
  return readlinkSync('/proc/self/ns/net');
}

/** Ends what still runs in the namespaces, then deletes them. */
export async function removeNamespaces(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { stdout } = await tryRun(['ip', 'netns', 'pids', name]);
    for (const pid of stdout.split('\n').filter(Boolean)) endProcess(Number(pid));
    await tryRun(['ip', 'netns', 'del', name]);
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** Namespaces a run left behind when it could not clean up. */
export async function staleNamespaces(): Promise<string[]> {
  const { stdout } = await tryRun(['ip', 'netns', 'list']);
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0] as string)
    .filter((name) => name.startsWith(PREFIX));
}
