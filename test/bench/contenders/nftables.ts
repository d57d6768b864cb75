import { run } from '../process.js';
import type { Topology } from '../topology.js';
import { BULK_PORT, type Contender, HTTP_PORT, UDP_PORT, vipTargets } from './contender.js';

/** Destination NAT by nftables, connections dealt in turn; bulk and UDP go to the first server as everywhere. */
export const nftables: Contender = {
  name: 'nft',
  title: 'nftables DNAT',
  async start(_scope, topology) {
    await run(['nft', '-f', '-'], { namespace: topology.lb, input: ruleset(topology) });
    return vipTargets(topology);
  },
};

function ruleset(topology: Topology): string {
  const first = topology.serverAddresses[0] as string;
  const turns = topology.serverAddresses.map((address, turn) => `${turn} : ${address}`).join(', ');
  return `
table ip bench {
  chain prerouting {
    type nat hook prerouting priority dstnat
    policy accept
    ip daddr ${topology.vip} tcp dport ${HTTP_PORT} dnat to numgen inc mod ${topology.serverAddresses.length} map { ${turns} }
    ip daddr ${topology.vip} tcp dport ${BULK_PORT} dnat to ${first}
    ip daddr ${topology.vip} udp dport ${UDP_PORT} dnat to ${first}
  }
}
`;
}
