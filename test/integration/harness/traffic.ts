import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Background } from './background.js';
import type { Namespace } from './namespace.js';
import type { Network } from './network.js';
import { until } from './run.js';

/** What one connection or datagram learned. */
export interface Reply {
  /** Name of the server that answered. */
  readonly name?: string;
  /** The peer as the server saw it. */
  readonly from?: { readonly address: string; readonly port: number };
  readonly local?: { readonly address: string; readonly port: number };
  /** That was reached, where servers with many of them tell. */
  readonly port?: number;
  readonly error?: string;
  readonly ms?: number;
}

export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  readonly count?: number;
  readonly parallel?: number;
  readonly hold?: boolean;
  readonly stay?: boolean;
  /** A list is gone through again and again. */
  readonly localAddress?: string | readonly string[];
  readonly localPort?: number;
  readonly timeoutMs?: number;
}

export interface UdpOptions {
  readonly host: string;
  readonly port: number;
  readonly count?: number;
  readonly sameSocket?: boolean;
  /** A list is gone through again and again. */
  readonly localAddress?: string | readonly string[];
  readonly localPort?: number;
  readonly timeoutMs?: number;
  readonly size?: number;
}

let pings = 0;

const programs = fileURLToPath(new URL('../programs', import.meta.url));

function node(netns: Namespace, program: string, args: readonly string[]): Background {
  return netns.spawn(program, process.execPath, [join(programs, program), ...args]);
}

/** TCP and UDP echo on `port` that tells its name, in every server's namespace: server1, server2, ... */
export async function startEchoServers(network: Network, port = 8080): Promise<void> {
  await Promise.all(network.servers.map((server) => startEchoServer(server.netns, server.port, port)));
}

export async function startEchoServer(
  netns: Namespace,
  name: string,
  port: number,
  address = '::',
): Promise<Background> {
  const server = node(netns, 'echo-server.mjs', [name, String(port), address]);
  await server.line(/listening/);
  return server;
}

/** TCP and UDP on all these ports; answers have the one that was reached. */
export async function startManyPorts(netns: Namespace, name: string, first: number, last: number): Promise<void> {
  await node(netns, 'many-ports.mjs', [name, String(first), String(last)]).line(/listening/);
}

/** Serves the same `bytes` bytes to every connection; returns their sha256. */
export async function startByteServer(netns: Namespace, port: number, bytes: number): Promise<string> {
  const server = node(netns, 'byte-server.mjs', [String(port), String(bytes)]);
  await server.line(/listening/, 60_000);
  return (await server.line(/sha256 (\w+)/))[1] ?? '';
}

export async function tcp(netns: Namespace, options: TcpOptions): Promise<Reply[]> {
  const text = await netns.must(process.execPath, [join(programs, 'tcp-client.mjs'), JSON.stringify(options)], {
    timeoutMs: 120_000,
  });
  return JSON.parse(text);
}

/** Opens connections and keeps them until the returned program is stopped. */
export async function holdTcp(
  netns: Namespace,
  options: TcpOptions,
): Promise<{ replies: Reply[]; program: Background }> {
  const program = node(netns, 'tcp-client.mjs', [JSON.stringify({ ...options, hold: true, stay: true })]);
  const [, text = '[]'] = await program.line(/^(\[.*\])\n/m, 120_000);
  return { replies: JSON.parse(text), program };
}

/** What became of connections that talked all the time. */
export interface Talks {
  readonly open: number;
  readonly ended: number;
  /** How often the slowest of the open ones was answered. */
  readonly rounds: number;
}

/** Connections to an echo server that say something every 200 ms, until `summary` ends them. */
export async function talkingClient(
  netns: Namespace,
  options: { readonly host: string; readonly port: number; readonly count: number; readonly everyMs?: number },
): Promise<{ summary(): Promise<Talks> }> {
  const program = node(netns, 'talking-client.mjs', [JSON.stringify(options)]);
  await program.line(/talking/, 30_000);
  return {
    async summary() {
      await program.stop(20_000);
      return JSON.parse((await program.line(/(\{"open".*\})/))[1] ?? '');
    },
  };
}

export async function udp(netns: Namespace, options: UdpOptions): Promise<Reply[]> {
  const text = await netns.must(process.execPath, [join(programs, 'udp-client.mjs'), JSON.stringify(options)], {
    timeoutMs: 120_000,
  });
  return JSON.parse(text);
}

/** sha256 of all that a connection delivers until its end. */
export async function receiveHash(netns: Namespace, host: string, port: number, timeoutMs = 120_000): Promise<string> {
  const target = host.includes(':') ? `TCP6:[${host}]:${port}` : `TCP4:${host}:${port}`;
  const text = await netns.sh(`socat -u '${target}' - | sha256sum`, { timeoutMs });
  return text.split(' ')[0] ?? '';
}

/** Echo requests answered out of those sent. No two calls have one identifier, which is what makes a flow. */
export async function ping(netns: Namespace, host: string, count: number, ...args: readonly string[]): Promise<number> {
  pings += 1;
  const options = ['-c', String(count), '-i', '0.05', '-W', '5', '-e', String(pings)];
  const { stdout } = await netns.run('ping', [...options, ...args, host]);
  return Number(stdout.match(/(\d+) received/)?.[1] ?? 0);
}

export function names(replies: readonly Reply[]): string[] {
  return replies.map(({ name, error }) => name ?? `error ${error}`);
}

export function countByName(replies: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names(replies)) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** Waits until there is an answer from there: on links just made the first packets may find no neighbour yet. */
export async function untilReached(netns: Namespace, address: string): Promise<void> {
  await until(`${netns.name} reaches ${address}`, async () => (await ping(netns, address, 1)) === 1);
}

/** Waits until the balancer knows the neighbours, so that a first packet does not measure ARP. */
export async function warmUp(network: Network): Promise<void> {
  for (const { netns, gateway } of [network.client, ...network.servers]) {
    for (const address of [gateway.v4, gateway.v6]) await untilReached(netns, address);
  }
}
