import { join } from 'node:path';
import { Daemon, type Rule } from '../daemon.js';
import { run } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, UDP_PORT, vipTargets } from './contender.js';

const MODE_DEFAULT = 0;
const MODE_ONEARM = 1;

export const loxilb = ours('loxilb', 'loxilb', MODE_DEFAULT);
/** Source translation too: the endpoints see the balancer. */
export const loxilbOnearm: Contender = { ...ours('onearm', 'loxilb onearm', MODE_ONEARM), optional: true };

/**
 * XDP forced on veth, and tc alone with the same ends: what finishes its checksums and cuts its segments itself, as XDP
 * needs it there, is slower whoever forwards it.
 */
export const loxilbXdp = onWires('xdp', 'loxilb XDP', 'native');
export const loxilbWires = onWires('wires', 'loxilb tc, ends as for XDP', 'off');

function onWires(name: string, title: string, xdp: 'native' | 'off'): Contender {
  return {
    ...ours(name, title, MODE_DEFAULT, ['--xdp', xdp], async ({ client, servers }) => {
      for (const namespace of [client, ...servers]) {
        await run(['ethtool', '-K', 'lb0', 'tx', 'off', 'gro', 'on'], { namespace });
      }
    }),
    optional: true,
  };
}

function ours(
  name: string,
  title: string,
  mode: number,
  options: readonly string[] = [],
  prepare: (topology: Topology) => Promise<void> = () => Promise.resolve(),
): Contender {
  return {
    name,
    title,
    async start(scope, topology, workDir) {
      await prepare(topology);
      const daemon = await Daemon.create(scope, topology.lb, join(workDir, name), options);
      await daemon.start();
      for (const rule of rules(topology, mode)) await daemon.request('POST', '/config/loadbalancer', rule);
      return vipTargets(topology);
    },
  };
}

function rules(topology: Topology, mode: number): Rule[] {
  const endpoints = (addresses: readonly string[], port: number) =>
    addresses.map((endpointIP) => ({ endpointIP, targetPort: port, weight: 1 }));
  const first = topology.serverAddresses.slice(0, 1);
  const service = (port: number, protocol: 'tcp' | 'udp') => ({ externalIP: topology.vip, port, protocol, mode });
  return [
    { serviceArguments: service(HTTP_PORT, 'tcp'), endpoints: endpoints(topology.serverAddresses, HTTP_PORT) },
    { serviceArguments: service(BULK_PORT, 'tcp'), endpoints: endpoints(first, BULK_PORT) },
    { serviceArguments: service(UDP_PORT, 'udp'), endpoints: endpoints(first, UDP_PORT) },
  ];
}
