import { join } from 'node:path';
import { Daemon, type Rule } from '../daemon.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, UDP_PORT, vipTargets } from './contender.js';

const MODE_DEFAULT = 0;
const MODE_ONEARM = 1;

export const loxilb = ours('loxilb', 'loxilb', MODE_DEFAULT);
/** Source translation too: the endpoints see the balancer. */
export const loxilbOnearm: Contender = { ...ours('onearm', 'loxilb onearm', MODE_ONEARM), optional: true };

function ours(name: string, title: string, mode: number): Contender {
  return {
    name,
    title,
    async start(scope, topology, workDir) {
      const daemon = await Daemon.create(scope, topology.lb, join(workDir, name));
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
