import { Namespace } from './namespace.js';
import type { Addresses, Network } from './network.js';
import { must } from './run.js';

/** A switch that does not belong to the balancer. */
export interface DirectPath {
  readonly client: Addresses;
  /** Removes the switch; the hosts' interfaces go with it. */
  dispose(): Promise<void>;
}

/**
 * Puts the client and these hosts on a switch of their own (`direct`, 172.31.0.0/24 and fd99::/64): what the hosts send to
 * the client goes over it and not over the balancer, as answers of direct server return do.
 */
export async function connectDirectly(network: Network, hosts: readonly Namespace[]): Promise<DirectPath> {
  const { client, lb } = network;
  const wire = new Namespace(lb.name.replace(/-lb$/, '-wire'));
  await must('ip', ['netns', 'add', wire.name]);
  await wire.ip('link add wire type bridge', 'link set wire up');
  const members = [client.netns, ...hosts];
  for (const [index, host] of members.entries()) await plugIn(wire, host, index + 1);
  for (const host of hosts) {
    await host.ip(`route replace ${client.v4}/32 via 172.31.0.1`, `route replace ${client.v6}/128 via fd99::1`);
  }
  return {
    client: { v4: '172.31.0.1', v6: 'fd99::1' },
    async dispose() {
      await must('ip', ['netns', 'del', wire.name]);
    },
  };
}

async function plugIn(wire: Namespace, host: Namespace, number: number): Promise<void> {
  const pair = ['link', 'add', `p${number}`, 'netns', wire.name, 'type', 'veth', 'peer', 'direct'];
  await must('ip', [...pair, 'netns', host.name]);
  await wire.ip(`link set p${number} master wire up`);
  await host.ip(
    'link set direct up',
    `addr add 172.31.0.${number}/24 dev direct`,
    `addr add fd99::${number}/64 dev direct nodad`,
  );
  // Answers come another way than what they answer went.
  await host.sysctl({ 'net.ipv4.conf.all.rp_filter': 0, 'net.ipv4.conf.direct.rp_filter': 0 });
}

/** Gives a server of a DSR service the service's addresses, as the guide says. */
export async function haveServiceAddress(host: Namespace, vip: Addresses): Promise<void> {
  await host.sysctl({ 'net.ipv4.conf.all.arp_ignore': 1, 'net.ipv4.conf.all.arp_announce': 2 });
  await host.ip(`addr add ${vip.v4}/32 dev lo`, `addr add ${vip.v6}/128 dev lo nodad`);
}
