/** A network namespace of the test's own: the programs ask the kernel's routing tables, so there must be some. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';

const CLONE_NEWNET = 0x40000000;

/** A device of the balancer. `mac` is its own; neighbours behind it are in `NEIGHBOR`. */
export interface Device {
  readonly name: string;
  readonly mac: string;
  readonly addresses: readonly [string, string];
}

/** Towards clients, towards servers, and towards servers behind a narrow link (MTU 1400). */
export const CLIENT_SIDE: Device = { name: 'c0', mac: '02:00:00:00:01:01', addresses: ['10.0.1.1', '2001:db8:1::1'] };
export const SERVER_SIDE: Device = { name: 's0', mac: '02:00:00:00:02:01', addresses: ['10.0.2.1', '2001:db8:2::1'] };
export const NARROW_SIDE: Device = { name: 'm0', mac: '02:00:00:00:03:01', addresses: ['10.0.3.1', '2001:db8:3::1'] };
export const NARROW_MTU = 1400;
/** Of a route through the server side, below its device's; locked, or forwarding would not look at it. */
export const ROUTE_MTU = 1300;

/** MAC address of the host with this number in a device's subnet. */
export function neighborMac(device: Device, host: number): string {
  return `${device.mac.slice(0, -2)}${host.toString(16).padStart(2, '0')}`;
}

const NEIGHBORS = 40;
export const FIRST_NEIGHBOR = 10;
/** Addresses with a route through this host of the server side; see `ROUTED`. */
export const ROUTER = 30;
/** Host without a neighbour entry. */
export const STRANGER = 200;

export const ROUTED = {
  viaRouter: ['10.9.0.0/16', '2001:db8:9::/48'],
  narrowRoute: ['10.8.0.0/16', '2001:db8:8::/48'],
  blackhole: ['10.99.0.0/16', '2001:db8:99::/48'],
} as const;

export interface Network {
  readonly ifindex: (device: Device | 'lo') => number;
  /** Of the other end of the device's pair. */
  readonly farIfindex: (device: Device) => number;
}

let current: Network | undefined;

/**
 * Moves this thread, and with it the whole test, into a new namespace that vanishes with the process. Once per process.
 */
export function enterNetwork(): Network {
  if (current) return current;
  const libc = koffi.load('libc.so.6');
  if (libc.func('int unshare(int flags)')(CLONE_NEWNET) !== 0) throw new Error('cannot make a network namespace');
  setSysctl('ipv4/conf/all/forwarding', '1');
  setSysctl('ipv6/conf/all/forwarding', '1');
  setSysctl('ipv6/conf/default/accept_dad', '0');
  setSysctl('ipv6/conf/default/addr_gen_mode', '1');
  const commands = ['link set lo up', ...deviceCommands(CLIENT_SIDE), ...deviceCommands(SERVER_SIDE)];
  commands.push(...deviceCommands(NARROW_SIDE, NARROW_MTU), ...routeCommands());
  execFileSync('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n` });
  const names = [CLIENT_SIDE, SERVER_SIDE, NARROW_SIDE].flatMap(({ name }) => [name, `${name}-peer`]);
  const indexes = new Map(['lo', ...names].map((name) => [name, ifindexOf(name)]));
  current = {
    ifindex: (device) => indexes.get(device === 'lo' ? 'lo' : device.name) ?? 0,
    farIfindex: ({ name }) => indexes.get(`${name}-peer`) ?? 0,
  };
  return current;
}

function deviceCommands({ name, mac, addresses }: Device, mtu = 1500): string[] {
  const device: Device = { name, mac, addresses };
  const [v4, v6] = addresses;
  const commands = [
    `link add ${name} address ${mac} mtu ${mtu} type veth peer name ${name}-peer`,
    `link set ${name} up`,
    `link set ${name}-peer up`,
    `addr add ${v4}/24 dev ${name}`,
    `addr add ${v6}/64 dev ${name} nodad`,
  ];
  for (let host = FIRST_NEIGHBOR; host < FIRST_NEIGHBOR + NEIGHBORS; host++) {
    for (const address of [hostAddress(v4, host), hostAddress(v6, host)]) {
      commands.push(`neigh add ${address} lladdr ${neighborMac(device, host)} dev ${name} nud permanent`);
    }
  }
  return commands;
}

/** Another host of the subnet that `address` is in; the host number is read as text, so that it looks alike in both. */
export function hostAddress(address: string, host: number): string {
  return address.replace(/\d+$/, String(host));
}

function routeCommands(): string[] {
  const routers = SERVER_SIDE.addresses.map((address) => hostAddress(address, ROUTER));
  return [
    ...ROUTED.viaRouter.map((to, index) => `route add ${to} via ${routers[index]}`),
    ...ROUTED.narrowRoute.map((to, index) => `route add ${to} via ${routers[index]} mtu lock ${ROUTE_MTU}`),
    ...ROUTED.blackhole.map((to) => `route add blackhole ${to}`),
  ];
}

/** Runs `ip` inside the namespace. */
export function ip(...words: readonly string[]): void {
  execFileSync('ip', words);
}

function setSysctl(path: string, value: string): void {
  writeFileSync(`/proc/sys/net/${path}`, value);
}

function ifindexOf(name: string): number {
  // /sys/class/net shows the namespace it was mounted in; the route dump of proc shows that of the reader.
  const output = execFileSync('ip', ['-o', 'link', 'show', 'dev', name], { encoding: 'utf8' });
  return Number.parseInt(output, 10);
}

/** Whether this process may do all this; `reason` says why not. */
export function kernelAccess(): { readonly allowed: boolean; readonly reason: string } {
  if (process.platform !== 'linux') return { allowed: false, reason: 'eBPF needs Linux' };
  const effective = /CapEff:\s*([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const CAP_SYS_ADMIN = 21n;
  const allowed = ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
  return { allowed, reason: allowed ? '' : 'packets through the programs need root' };
}
