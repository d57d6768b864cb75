/** The codecs agree with the compiled object: each field is where, and as large as, its BTF says. */
import { readFileSync } from 'node:fs';
import type { Codec } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { type BtfMember, sizeOfType } from '../../core/dataplane/btf/btf.js';
import { parseObject } from '../../core/dataplane/btf/object-layout.js';
import * as dataplane from '../../core/dataplane/layout.gen.js';
import * as conntrack from '../../plugins/conntrack/layout.gen.js';
import * as lb from '../../plugins/lb/layout.gen.js';
import * as fragment from './fragment-layout.js';
import { OBJECT } from './harness.js';

const HEADERS = ['include/counters.h', 'maps/dataplane.h', 'maps/conntrack.h', 'maps/lb.h', 'maps/fragment.h']
  .map((file) => readFileSync(new URL(`../../bpf/${file}`, import.meta.url), 'utf8'))
  .join('');

const { types, maps } = parseObject(readFileSync(OBJECT));

/** Without the records of rings, which leave no trace in BTF: observe.test.ts and idle-reset.test.ts read their bytes. */
const STRUCTS: readonly (readonly [string, Codec<unknown>])[] = [
  ['dp_control', dataplane.dpControl],
  ['dp_counter_value', dataplane.dpCounterValue],
  ['intf_key', dataplane.intfKey],
  ['intf_value', dataplane.intfValue],
  ['ct_key', conntrack.ctKey],
  ['ct_entry', conntrack.ctEntry],
  ['dp_observe', dataplane.dpObserve],
  ['dp_service_drop_key', dataplane.dpServiceDropKey],
  ['dp_service_drop', dataplane.dpServiceDrop],
  ['dp_trace_step', dataplane.dpTraceStep],
  ['dp_xdp_device', dataplane.dpXdpDevice],
  ['ct_pass', conntrack.ctPass],
  ['ct_half_open', conntrack.ctHalfOpen],
  ['ct_sctp_assoc_key', conntrack.ctSctpAssocKey],
  ['ct_sctp_assoc', conntrack.ctSctpAssoc],
  ['ct_sctp_opening', conntrack.ctSctpOpening],
  ['ct_sctp_offer_key', conntrack.ctSctpOfferKey],
  ['ct_sctp_offer', conntrack.ctSctpOffer],
  ['ct_idle', conntrack.ctIdle],
  ['frag_key', fragment.fragKey],
  ['frag_flow', fragment.fragFlow],
  ['frag_held_key', fragment.fragHeldKey],
  ['frag_held', fragment.fragHeld],
  ['lb_service_key', lb.lbServiceKey],
  ['lb_service', lb.lbService],
  ['lb_service_state', lb.lbServiceState],
  ['lb_range_key', lb.lbRangeKey],
  ['lb_control', lb.lbControl],
  ['lb_address', lb.lbAddress],
  ['lb_tunnel_mtu', lb.lbTunnelMtu],
  ['lb_source_key', lb.lbSourceKey],
  ['lb_source', lb.lbSource],
  ['lb_sctp_vips', lb.lbSctpVips],
  ['lb_slot', lb.lbSlot],
  ['lb_endpoint', lb.lbEndpoint],
  ['lb_endpoint_flows', lb.lbEndpointFlows],
  ['lb_endpoint_stats', lb.lbEndpointStats],
  ['lb_affinity_key', lb.lbAffinityKey],
  ['lb_affinity', lb.lbAffinity],
];

const ENUMS: readonly (readonly [string, Readonly<Record<string, number>>])[] = [
  ['dp_counter', dataplane.DpCounter],
  ['intf_flags', dataplane.IntfFlags],
  ['dp_observe_kinds', dataplane.DpObserveKinds],
  ['dp_step', dataplane.DpStep],
  ['ct_tcp_state', conntrack.CtTcpState],
  ['ct_udp_state', conntrack.CtUdpState],
  ['ct_icmp_state', conntrack.CtIcmpState],
  ['ct_sctp_state', conntrack.CtSctpState],
  ['ct_nat', conntrack.CtNat],
  ['ct_special', conntrack.CtSpecial],
  ['ct_reset_reason', conntrack.CtResetReason],
  ['ct_new_use', conntrack.CtNewUse],
  ['ct_flags', conntrack.CtFlags],
  ['ct_way', conntrack.CtWay],
  ['lb_select', lb.LbSelect],
  ['lb_mode', lb.LbMode],
  ['lb_service_flags', lb.LbServiceFlags],
  ['lb_control_flags', lb.LbControlFlags],
  ['lb_endpoint_flags', lb.LbEndpointFlags],
  ['frag_verdict', fragment.FragVerdict],
];

const MAPS: readonly (readonly [string, number, number])[] = [
  ['dp_control', 4, dataplane.dpControl.size],
  ['dp_counter', 4, dataplane.dpCounterValue.size],
  ['intf_map', dataplane.intfKey.size, dataplane.intfValue.size],
  ['ct_flow', conntrack.ctKey.size, conntrack.ctEntry.size],
  ['ct_new', conntrack.ctKey.size, conntrack.ctEntry.size],
  ['ct_half_open', 4, conntrack.ctHalfOpen.size],
  ['ct_idle', conntrack.ctKey.size, conntrack.ctIdle.size],
  ['ct_sctp_assoc', conntrack.ctSctpAssocKey.size, conntrack.ctSctpAssoc.size],
  ['ct_sctp_begun', 4, conntrack.ctSctpOpening.size],
  ['ct_sctp_offer', conntrack.ctSctpOfferKey.size, conntrack.ctSctpOffer.size],
  ['lb_tunnel_mtu', 16, lb.lbTunnelMtu.size],
  ['ct_reset', 0, 0],
  ['dp_event', 0, 0],
  ['dp_xdp_device', 4, dataplane.dpXdpDevice.size],
  ['dp_observe', 4, dataplane.dpObserve.size],
  ['dp_service_drop', dataplane.dpServiceDropKey.size, dataplane.dpServiceDrop.size],
  ['dp_trace', 4, dataplane.dpTraceStep.size],
  ['frag_flow', fragment.fragKey.size, fragment.fragFlow.size],
  ['frag_held', fragment.fragHeldKey.size, fragment.fragHeld.size],
  ['frag_scratch', 4, fragment.fragHeld.size],
  ['lb_service', lb.lbServiceKey.size, lb.lbService.size],
  ['lb_range', lb.lbRangeKey.size, lb.lbService.size],
  ['lb_control', 4, lb.lbControl.size],
  ['lb_address', 16, lb.lbAddress.size],
  ['lb_source', lb.lbSourceKey.size, lb.lbSource.size],
  ['lb_sctp_vips', 4, lb.lbSctpVips.size],
  ['lb_svc_state', 4, lb.lbServiceState.size],
  ['lb_slot', 4, lb.lbSlot.size],
  ['lb_endpoint', 4, lb.lbEndpoint.size],
  ['lb_ep_flows', 4, lb.lbEndpointFlows.size],
  ['lb_ep_stats', 4, lb.lbEndpointStats.size],
  ['lb_affinity', lb.lbAffinityKey.size, lb.lbAffinity.size],
];

function structOf(name: string): { size: number; members: readonly BtfMember[] } {
  const found = types.find((type) => type.kind === 'struct' && type.name === name);
  if (found?.kind !== 'struct') throw new Error(`the object has no struct ${name}`);
  return found;
}

const camelCase = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Enumerators by the C headers: clang leaves enums out of BTF that no variable has for its type. */
function readEnum(name: string): Record<string, number> {
  const [, body = ''] = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(HEADERS) ?? [];
  const values: Record<string, number> = {};
  let next = 0;
  for (const part of body.replace(/\/\*.*?\*\//gs, '').split(',')) {
    const [, enumerator, base, shift] = /^\s*(\w+)(?:\s*=\s*(\d+)(?:\s*<<\s*(\d+))?)?\s*$/.exec(part) ?? [];
    if (enumerator === undefined) continue;
    const value = base === undefined ? next : Number(base) << Number(shift ?? 0);
    values[enumerator] = value;
    next = value + 1;
  }
  return values;
}

/** A value unlike zero in a number's lowest byte, and in all bytes of all else. */
function mark(value: unknown): unknown {
  if (typeof value === 'number') return 1;
  if (typeof value === 'bigint') return 1n;
  if (typeof value === 'string') return '101:101:101:101:101:101:101:101';
  if (value instanceof Uint8Array) return value.map(() => 1);
  if (Array.isArray(value)) return value.map(mark);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, mark(part)]));
  }
  throw new Error(`a field of type ${typeof value}`);
}

/** Offsets of the bytes that change when one field does. */
function touchedBytes(codec: Codec<unknown>, field: string): number[] {
  const zero = new DataView(new ArrayBuffer(codec.size));
  const value = codec.decode(zero, 0) as Record<string, unknown>;
  const out = new Uint8Array(codec.size);
  codec.encode({ ...value, [field]: mark(value[field]) }, new DataView(out.buffer), 0);
  return Array.from(out.keys()).filter((at) => out[at] !== 0);
}

describe('layout', () => {
  it.each(STRUCTS)('struct %s', (name, codec) => {
    const { members, size } = structOf(name);
    expect(codec.size).toBe(size);
    const zero = codec.decode(new DataView(new ArrayBuffer(size)), 0) as Record<string, unknown>;
    const named = members.filter((member) => !member.name.startsWith('pad'));
    expect(Object.keys(zero)).toEqual(named.map((member) => camelCase(member.name)));
    for (const member of named) {
      const touched = touchedBytes(codec, camelCase(member.name));
      expect(touched.length).toBeGreaterThan(0);
      const start = member.bitOffset / 8;
      const end = start + sizeOfType(types, member.type);
      for (const at of touched) expect(at >= start && at < end).toBe(true);
      expect(touched.includes(start) || touched.includes(end - 1)).toBe(true);
    }
  });

  it.each(ENUMS)('enum %s', (name, table) => {
    expect(table).toEqual(readEnum(name));
  });

  it.each(MAPS)('map %s', (name, keySize, valueSize) => {
    expect(maps.get(name)).toMatchObject({ keySize, valueSize });
  });

  it('no map is forgotten here', () => {
    const own = [...maps.keys()].filter((name) => !name.startsWith('.') && name !== 'ct_pass');
    expect(MAPS.map(([name]) => name).sort()).toEqual(own.sort());
  });
});
