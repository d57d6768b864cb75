import type { Contender } from './contender.js';

/** Plain kernel forwarding: the client talks to the servers' own addresses. No BPF, no translation. */
export const direct: Contender = {
  name: 'direct',
  title: 'kernel forwarding',
  async start(_scope, topology) {
    const first = topology.serverAddresses[0] as string;
    return { http: topology.serverAddresses, bulk: first, udp: first };
  },
};
