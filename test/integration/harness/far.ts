import { Namespace } from './namespace.js';
import type { Addresses, Host, Network } from './network.js';
import { must } from './run.js';

/** A host behind a router: `eth0` leads there. */
export interface FarHost extends Addresses {
  readonly netns: Namespace;
  readonly name: string;
  /** The router's addresses on the link. */
  readonly gateway: Addresses;
}

/**
 * client - lb - router - far 1..n: makes a server a router with hosts behind it. Links: 4n.4n.4n.0/24 and fd4n::/64, host
 * .1, router .254 on its interface `farN`.
 */
export async function addFarHosts(network: Network, router: Host, count: number): Promise<FarHost[]> {
  await router.netns.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  const hosts = Array.from({ length: count }, (_, index) => hostOf(network, index + 1));
  for (const host of hosts) await connect(network, router, host);
  return hosts;
}

export async function removeFarHosts(hosts: readonly FarHost[]): Promise<void> {
  for (const { netns } of hosts) {
    await netns.stopAll();
    await must('ip', ['netns', 'del', netns.name]);
  }
}

function hostOf({ lb }: Network, number: number): FarHost {
  const prefix = { v4: [0, 0, 0].map(() => 40 + number).join('.'), v6: `fd${40 + number}::` };
  return {
    netns: new Namespace(lb.name.replace(/-lb$/, `-far${number}`)),
    name: `far${number}`,
    v4: `${prefix.v4}.1`,
    v6: `${prefix.v6}1`,
    gateway: { v4: `${prefix.v4}.254`, v6: `${prefix.v6}254` },
  };
}

async function connect({ lb }: Network, router: Host, host: FarHost): Promise<void> {
  const { netns, name, v4, v6, gateway } = host;
  await must('ip', ['netns', 'add', netns.name]);
  const pair = ['link', 'add', name, 'netns', router.netns.name, 'type', 'veth', 'peer', 'name', 'eth0'];
  await must('ip', [...pair, 'netns', netns.name]);
  await router.netns.ip(
    `addr add ${gateway.v4}/24 dev ${name}`,
    `addr add ${gateway.v6}/64 dev ${name} nodad`,
    `link set ${name} up`,
  );
  await netns.ip(
    'link set lo up',
    `addr add ${v4}/24 dev eth0`,
    `addr add ${v6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${gateway.v4}`,
    `route add ::/0 via ${gateway.v6}`,
  );
  await netns.sysctl({ 'net.ipv4.conf.all.rp_filter': 0, 'net.ipv4.conf.eth0.rp_filter': 0 });
  await lb.ip(`route add ${v4} via ${router.v4}`, `route add ${v6} via ${router.v6}`);
}
