/** Who is where: the machine's networks are those of test/bpf. */
import { CLIENT_SIDE, type Device, SERVER_SIDE } from '../bpf/network.js';
import { type Host, host } from '../bpf/scenario.js';

/** All addresses of the machine but loopback. */
export const MACHINE = ['10.0.1.1', '2001:db8:1::1', '10.0.2.1', '2001:db8:2::1'] as const;
/** One it gets and loses. */
export const FURTHER_ADDRESS = '10.7.7.7';

export function isV6(address: string): boolean {
  return address.includes(':');
}

/** The machine's own address towards endpoints. */
export function towardsEndpoints(endpoint: string): string {
  return isV6(endpoint) ? SERVER_SIDE.addresses[1] : SERVER_SIDE.addresses[0];
}

/** A neighbour by its address. Clients are on one side, endpoints (clients too, now and then) on the other. */
export function hostOf(address: string): Host {
  const number = Number(/\d+$/.exec(address)?.[0]);
  return host(sideOf(address), isV6(address) ? 6 : 4, number);
}

function sideOf(address: string): Device {
  return /^10\.0\.1\.|^2001:db8:1:/.test(address) ? CLIENT_SIDE : SERVER_SIDE;
}

/** `10.0.0.0/8`, `2001:db8::/32`. */
export function covers(prefix: string, address: string): boolean {
  const [network = '', length] = prefix.split('/');
  if (isV6(network) !== isV6(address)) return false;
  return bits(address).startsWith(bits(network).slice(0, Number(length)));
}

function bits(address: string): string {
  if (!isV6(address))
    return address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('');
  const [head = '', tail = ''] = address.split('::');
  const [left, right] = [head.split(':').filter(Boolean), tail.split(':').filter(Boolean)];
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}
