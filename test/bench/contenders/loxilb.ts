import { join } from 'node:path';
import { Daemon, type Rule, type ServiceArguments } from '../daemon.js';
import { run } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, PROXIED_PORT, type Targets, UDP_PORT, vipTargets } from './contender.js';

const MODE = { default: 0, onearm: 1, fullnat: 2, dsr: 3 } as const;
const SELECT_HASH = 1;

interface Setup {
  readonly name: string;
  readonly title: string;
  /** What all its services have. */
  readonly service?: Pick<ServiceArguments, 'mode' | 'sel' | 'proxyprotocolv2'>;
  /** Of the daemon. */
  readonly options?: readonly string[];
  /** Port of the HTTP servers. */
  readonly httpPort?: number;
  /** Gets the topology ready; what it returns is used instead of the VIP. */
  readonly prepare?: (topology: Topology) => Promise<string | undefined>;
  /** What it does not serve. */
  readonly without?: readonly ('bulk' | 'udp')[];
}

export const loxilb = ours({ name: 'loxilb', title: 'loxilb' });

/** Other modes: measured when asked for by name. */
export const loxilbModes: readonly Contender[] = [
  // Source translation too: the endpoints see the balancer, or the service.
  ours({ name: 'onearm', title: 'loxilb onearm', service: { mode: MODE.onearm } }),
  ours({ name: 'fullnat', title: 'loxilb fullnat', service: { mode: MODE.fullnat } }),
  // Answers pass through the balancer's namespace, as there is no other way here, but not through a flow.
  ours({
    name: 'dsr',
    title: 'loxilb L2-DSR',
    service: { mode: MODE.dsr, sel: SELECT_HASH },
    prepare: addVipToServers,
  }),
  // The load programs of UDP know IPv4 only.
  ours({ name: 'nat64', title: 'loxilb NAT64', prepare: addIpv6, without: ['udp'] }),
  // iperf3 does not understand the header.
  ours({
    name: 'ppv2',
    title: 'loxilb PROXY v2',
    service: { proxyprotocolv2: true },
    httpPort: PROXIED_PORT,
    without: ['bulk', 'udp'],
  }),
  // XDP forced on veth, and tc alone with the same ends: what finishes its checksums and cuts its segments itself, as
  // XDP needs it there, is slower whoever forwards it.
  ours({ name: 'wires', title: 'loxilb tc, ends as for XDP', options: ['--xdp', 'off'], prepare: useWires }),
  ours({ name: 'xdp', title: 'loxilb XDP', options: ['--xdp', 'native'], prepare: useWires }),
].map((contender) => ({ ...contender, optional: true }));

function ours(setup: Setup): Contender {
  const { name, title, options = [], prepare, without = [] } = setup;
  return {
    name,
    title,
    async start(scope, topology, workDir) {
      const vip = (await prepare?.(topology)) ?? topology.vip;
      const daemon = await Daemon.create(scope, topology.lb, join(workDir, name), options);
      await daemon.start();
      for (const rule of rules(topology, vip, setup)) await daemon.request('POST', '/config/loadbalancer', rule);
      const { http, bulk, udp } = vipTargets({ ...topology, vip });
      const targets: Targets = { http };
      return {
        ...targets,
        ...(without.includes('bulk') ? {} : { bulk }),
        ...(without.includes('udp') ? {} : { udp }),
      };
    },
  };
}

function rules(topology: Topology, vip: string, { service = {}, httpPort = HTTP_PORT, without = [] }: Setup): Rule[] {
  const rule = (port: number, protocol: 'tcp' | 'udp', addresses: readonly string[], targetPort = port): Rule => ({
    serviceArguments: { externalIP: vip, port, protocol, ...service },
    endpoints: addresses.map((endpointIP) => ({ endpointIP, targetPort, weight: 1 })),
  });
  const first = topology.serverAddresses.slice(0, 1);
  return [
    rule(HTTP_PORT, 'tcp', topology.serverAddresses, httpPort),
    ...(without.includes('bulk') ? [] : [rule(BULK_PORT, 'tcp', first)]),
    ...(without.includes('udp') ? [] : [rule(UDP_PORT, 'udp', first)]),
  ];
}

/** Direct server return: servers have the service's address, and the way back takes packets from it. */
async function addVipToServers({ lb, servers, vip }: Topology): Promise<undefined> {
  await run(['sysctl', '-qw', 'net.ipv4.conf.all.accept_local=1'], { namespace: lb });
  for (const server of servers) await run(['ip', '-n', server, 'addr', 'add', `${vip}/32`, 'dev', 'lo']);
}

/** Clients speak IPv6, servers do not. The service's address. */
async function addIpv6({ client, lb, vip }: Topology): Promise<string> {
  await run(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1'], { namespace: lb });
  await run(['ip', '-n', lb, 'addr', 'add', 'fd60::1/64', 'dev', 'c0', 'nodad']);
  await run(['ip', '-n', client, 'addr', 'add', 'fd60::10/64', 'dev', 'lb0', 'nodad']);
  await run(['ip', '-n', client, '-6', 'route', 'add', 'default', 'via', 'fd60::1']);
  return `fd20::${vip.split('.')[2]}:1`;
}

async function useWires({ client, servers }: Topology): Promise<undefined> {
  for (const namespace of [client, ...servers]) {
    await run(['ethtool', '-K', 'lb0', 'tx', 'off', 'gro', 'on'], { namespace });
  }
}
