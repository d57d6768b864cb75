import type { LbService } from '../layout.gen.js';
import type { World } from './world.js';

/** Bits of a range key before the port, as the C header has them. */
const FIXED_BITS = 176;

interface Packet {
  readonly addr: string;
  readonly proto: number;
  readonly mark: number;
  readonly port: number;
}

/** The service a packet meets, found as the packet path finds it: the very port, else the longest block of a range. */
export function lookup({ maps }: Pick<World, 'maps'>, packet: Packet): LbService | undefined {
  const exact = maps.service.get(packet);
  if (exact || maps.control.get(0)?.flags !== 1) return exact;
  let best: { bits: number; value: LbService } | undefined;
  for (const [key, value] of maps.range.entries()) {
    const bits = key.prefixlen - FIXED_BITS;
    const same = key.addr === packet.addr && key.proto === packet.proto && key.mark === packet.mark;
    if (!same || packet.port >>> (16 - bits) !== key.port >>> (16 - bits)) continue;
    if (best === undefined || bits > best.bits) best = { bits, value };
  }
  return best?.value;
}

/** Tells whether the list of a service lets a client in: the way of `lb_source`. */
export function admits({ maps }: Pick<World, 'maps'>, serviceId: number, client: string): boolean {
  return [...maps.source.entries()].some(([key]) => {
    if (key.serviceId !== serviceId) return false;
    const bits = key.prefixlen - 32;
    return bitsOf(client).slice(0, bits) === bitsOf(key.addr).slice(0, bits);
  });
}

/** 128 digits; an IPv4 address is IPv4-mapped. Takes no `::`, except alone. */
function bitsOf(address: string): string {
  if (address.includes('.')) {
    const digits = address.split('.').map((part) => Number(part).toString(2).padStart(8, '0'));
    return `${'0'.repeat(80)}${'1'.repeat(16)}${digits.join('')}`;
  }
  const [head = '', tail = ''] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}
