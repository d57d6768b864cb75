import type { LbRangeKey, LbService, LbServiceKey } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { MODE, protocolNumber, type Rule, serviceAddresses } from './model.js';

/** One address of a service and the ports there: `portMax` is `port` for a single one. A service may have several. */
export interface Place {
  readonly addr: string;
  /** IPPROTO_*. */
  readonly proto: number;
  readonly mark: number;
  readonly port: number;
  readonly portMax: number;
}

/** What packets find a service by: an exact port, or a block of ports of a range. */
export type PlaceKey =
  | { readonly map: 'service'; readonly key: LbServiceKey }
  | { readonly map: 'range'; readonly key: LbRangeKey };

type PlaceMaps = Pick<LbMaps, 'service' | 'range'>;

/** Bits of a range key in front of the port (`LB_RANGE_FIXED_BITS` in bpf/maps/lb.h). */
const RANGE_FIXED_BITS = (4 + 16 + 2) * 8;
const PORT_BITS = 16;

/** Every place of a rule. `hostAddresses` are those a rule for all addresses of this machine stands for. */
export function placesOf(rule: Rule, hostAddresses: () => readonly string[]): Place[] {
  const addresses = isHostRule(rule) ? hostAddresses() : serviceAddresses(rule);
  return addresses.map((addr) => ({
    addr,
    proto: protocolNumber(rule.protocol, addr),
    mark: rule.block,
    port: rule.port,
    portMax: rule.portMax ?? rule.port,
  }));
}

/** A rule for all addresses of this machine. One with an address of its own comes before it. */
export function isHostRule(rule: Rule): boolean {
  return rule.mode === MODE.hostonearm;
}

export function isRange({ port, portMax }: Place): boolean {
  return portMax > port;
}

export function placeText({ addr, proto, mark, port, portMax }: Place): string {
  return `${addr}|${port}-${portMax}|${proto}|${mark}`;
}

export function keysOf(place: Place): PlaceKey[] {
  const { addr, proto, mark, port, portMax } = place;
  if (!isRange(place)) return [{ map: 'service', key: { addr, proto, mark, port } }];
  return portBlocks(port, portMax).map(({ first, bits }) => ({
    map: 'range',
    key: { prefixlen: RANGE_FIXED_BITS + bits, mark, addr, proto, port: first },
  }));
}

export function keyText({ map, key }: PlaceKey): string {
  const length = map === 'range' ? `/${key.prefixlen}` : '';
  return `${key.addr}|${key.port}${length}|${key.proto}|${key.mark}`;
}

/** A block of 2^(16 - bits) ports whose first is a multiple of its size. */
export interface PortBlock {
  readonly first: number;
  readonly bits: number;
}

/** The fewest aligned blocks that are exactly these ports: at most thirty. */
export function portBlocks(first: number, last: number): PortBlock[] {
  const blocks: PortBlock[] = [];
  let port = first;
  while (port <= last) {
    let bits = port === 0 ? 0 : PORT_BITS - Math.log2(port & -port);
    while (port + sizeOf(bits) - 1 > last) bits++;
    blocks.push({ first: port, bits });
    port += sizeOf(bits);
  }
  return blocks;
}

function sizeOf(bits: number): number {
  return 2 ** (PORT_BITS - bits);
}

/** On failure some may have been written. */
export function writeKeys(maps: PlaceMaps, writes: readonly (readonly [PlaceKey, LbService])[]): void {
  const exact = writes.flatMap(([at, value]) => (at.map === 'service' ? [[at.key, value] as const] : []));
  const blocks = writes.flatMap(([at, value]) => (at.map === 'range' ? [[at.key, value] as const] : []));
  if (exact.length > 0) maps.service.setMany(exact);
  if (blocks.length > 0) maps.range.setMany(blocks);
}

export function deleteKeys(maps: PlaceMaps, keys: readonly PlaceKey[]): void {
  const exact = keys.flatMap((at) => (at.map === 'service' ? [at.key] : []));
  const blocks = keys.flatMap((at) => (at.map === 'range' ? [at.key] : []));
  if (exact.length > 0) maps.service.deleteMany(exact);
  if (blocks.length > 0) maps.range.deleteMany(blocks);
}
