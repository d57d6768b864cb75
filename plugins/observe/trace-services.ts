/** Services a packet may be for: more than one rule may match, and which one wins is the packet path's to say. */
import { type DataPlane, encodeBytes, u32 } from '@loxilb/sdk';
import { readEntries } from './labels.js';
import { type CtKey, LbSelect, type LbService, lbRangeKey, lbService, lbServiceKey, lbSlot } from './layout.gen.js';
import { PROTOCOL_NUMBER } from './packet.js';

type Reader = Pick<DataPlane, 'rawEntries'>;

/** LB_RANGE_FIXED_BITS of bpf/maps/lb.h: mark, address, protocol and a byte of padding; then the port. */
const RANGE_FIXED_BITS = (4 + 16 + 2) * 8;
const PORT_BITS = 16;

export function findServices(dataplane: Reader, key: CtKey, mark: number): LbService[] {
  const isIcmp = key.proto === PROTOCOL_NUMBER.icmp || key.proto === PROTOCOL_NUMBER.icmp6;
  const place = { addr: key.daddr, port: isIcmp ? 0 : key.dport, proto: key.proto };
  const marks = mark === 0 ? [0] : [mark, 0];
  const exact = marks.map((one) => encodeBytes(lbServiceKey, { ...place, mark: one }));
  const blocks = marks.flatMap((one) =>
    Array.from({ length: PORT_BITS + 1 }, (_, bits) => {
      const port = place.port & ~((1 << (PORT_BITS - bits)) - 1);
      return encodeBytes(lbRangeKey, { ...place, port, mark: one, prefixlen: RANGE_FIXED_BITS + bits });
    }),
  );
  return [...decodeServices(dataplane, 'lb_service', exact), ...decodeServices(dataplane, 'lb_range', blocks)];
}

function decodeServices(dataplane: Reader, map: string, keys: readonly Uint8Array[]): LbService[] {
  const { values, count } = readEntries(dataplane, map, keys);
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length: count }, (_, index) => lbService.decode(view, index * lbService.size));
}

/** Endpoints whose live flows decide; none for selections that do not count. */
export function countedEndpoints(dataplane: Reader, services: readonly LbService[]): number[] {
  const slots = services
    .filter(({ select }) => select === LbSelect.LB_SELECT_LC)
    .flatMap(({ slotBase, slotCount }) => Array.from({ length: slotCount }, (_, index) => slotBase + index));
  const { values, count } = readEntries(dataplane, 'lb_slot', slots.map(indexKey));
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length: count }, (_, index) => lbSlot.decode(view, index * lbSlot.size).endpointId);
}

/** Key of an array map. */
export function indexKey(index: number): Uint8Array {
  return encodeBytes(u32, index);
}
