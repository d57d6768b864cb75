import { run } from '../process.js';
import type { Scope } from '../scope.js';
import { PREFIX, removeNamespaces } from '../topology.js';
import { addressAfter } from './frame.js';

/**
 * The namespace TEST_RUN happens in: a client-side and a server-side device with fixed neighbours behind them, so that
 * routes and neighbours are found at once. Nothing is really sent.
 */
export const PACKET_NAMESPACE = `${PREFIX}packet`;
export const FAR_NAMESPACE = `${PREFIX}packet-far`;

export const WORLD = {
  clientMac: '02:00:00:00:01:10',
  serverMac: '02:00:00:00:02:10',
  /** Flow n has source address base + n / 2^15, base in host byte order. */
  clients: { 4: '10.80.0.1', 6: 'fd80::1' },
  clientBase: { 4: 0x0a500001, 6: 1 },
  vip: { 4: '20.20.20.1', 6: 'fd20::1' },
  server: { 4: '10.59.2.10', 6: 'fd59:2::10' },
  /** The balancer's address towards the server. */
  self: { 4: '10.59.2.1', 6: 'fd59:2::1' },
} as const;

export async function buildPacketWorld(scope: Scope): Promise<void> {
  scope.defer('packet namespaces', () => removeNamespaces([PACKET_NAMESPACE, FAR_NAMESPACE]));
  await run(['ip', '-batch', '-'], {
    input: [
      `netns add ${PACKET_NAMESPACE}`,
      `netns add ${FAR_NAMESPACE}`,
      `link add c0 netns ${PACKET_NAMESPACE} type veth peer name c0 netns ${FAR_NAMESPACE}`,
      `link add s1 netns ${PACKET_NAMESPACE} type veth peer name s1 netns ${FAR_NAMESPACE}`,
    ].join('\n'),
  });
  await run(['ip', '-n', FAR_NAMESPACE, '-batch', '-'], { input: 'link set c0 up\nlink set s1 up\n' });
  await run(
    [
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
    ],
    { namespace: PACKET_NAMESPACE },
  );
  await run(['ip', '-n', PACKET_NAMESPACE, '-batch', '-'], { input: worldCommands().join('\n') });
}

/** Endpoints' addresses with a neighbour behind them: WORLD.server and those that follow. */
export const SERVERS = 16;

function worldCommands(): string[] {
  return [
    'link set lo up',
    'addr add 10.59.1.1/24 dev c0',
    'addr add 10.59.2.1/24 dev s1',
    'addr add fd59:1::1/64 dev c0 nodad',
    'addr add fd59:2::1/64 dev s1 nodad',
    'link set c0 up',
    'link set s1 up',
    `neigh add 10.59.1.10 lladdr ${WORLD.clientMac} dev c0 nud permanent`,
    `neigh add fd59:1::10 lladdr ${WORLD.clientMac} dev c0 nud permanent`,
    ...([4, 6] as const).flatMap((family) =>
      Array.from(
        { length: SERVERS },
        (_, index) =>
          `neigh add ${addressAfter(WORLD.server[family], index)} lladdr ${WORLD.serverMac} dev s1 nud permanent`,
      ),
    ),
    'route add 10.80.0.0/12 via 10.59.1.10',
    'route add fd80::/64 via fd59:1::10',
  ];
}

export interface Device {
  readonly ifindex: number;
  readonly mac: string;
}

/** A device of the namespace this process is in, or of another. */
export async function readDevice(name: string, namespace?: string): Promise<Device> {
  const options = namespace === undefined ? {} : { namespace };
  const [link] = JSON.parse(await run(['ip', '-j', 'link', 'show', 'dev', name], options)) as {
    ifindex: number;
    address: string;
  }[];
  if (!link) throw new Error(`no device ${name} in this network namespace`);
  return { ifindex: link.ifindex, mac: link.address };
}
