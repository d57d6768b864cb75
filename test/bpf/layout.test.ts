/** The codecs agree with the compiled object: each field is where, and as large as, its BTF says. */
import { readFileSync } from 'node:fs';
import type { Codec } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { type BtfMember, sizeOfType } from '../../core/dataplane/btf/btf.js';
import { parseObject } from '../../core/dataplane/btf/object-layout.js';
import * as dataplane from '../../core/dataplane/layout.gen.js';
import * as conntrack from '../../plugins/conntrack/layout.gen.js';
import * as lb from '../../plugins/lb/layout.gen.js';
import { OBJECT } from './harness.js';

const HEADERS = ['include/counters.h', 'maps/dataplane.h', 'maps/conntrack.h', 'maps/lb.h']
  .map((file) => readFileSync(new URL(`../../bpf/${file}`, import.meta.url), 'utf8'))
  .join('');

const { types, maps } = parseObject(readFileSync(OBJECT));

const STRUCTS: readonly (readonly [string, Codec<unknown>])[] = [
  ['dp_control', dataplane.dpControl],
  ['dp_counter_value', dataplane.dpCounterValue],
  ['intf_key', dataplane.intfKey],
  ['intf_value', dataplane.intfValue],
  ['ct_key', conntrack.ctKey],
  ['ct_entry', conntrack.ctEntry],
  ['ct_pass', conntrack.ctPass],
  ['lb_service_key', lb.lbServiceKey],
  ['lb_service', lb.lbService],
  ['lb_service_state', lb.lbServiceState],
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
  ['ct_tcp_state', conntrack.CtTcpState],
  ['ct_udp_state', conntrack.CtUdpState],
  ['ct_icmp_state', conntrack.CtIcmpState],
  ['ct_nat', conntrack.CtNat],
  ['ct_flags', conntrack.CtFlags],
  ['ct_way', conntrack.CtWay],
  ['lb_select', lb.LbSelect],
];

const MAPS: readonly (readonly [string, number, number])[] = [
  ['dp_control', 4, dataplane.dpControl.size],
  ['dp_counter', 4, dataplane.dpCounterValue.size],
  ['intf_map', dataplane.intfKey.size, dataplane.intfValue.size],
  ['ct_flow', conntrack.ctKey.size, conntrack.ctEntry.size],
  ['ct_new', conntrack.ctKey.size, conntrack.ctEntry.size],
  ['ct_half_open', 4, 8],
  ['lb_service', lb.lbServiceKey.size, lb.lbService.size],
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

/** A value unlike zero in every byte of a number's lowest, in the last of an address, in all of a byte string. */
function mark(value: unknown): unknown {
  if (typeof value === 'number') return 1;
  if (typeof value === 'bigint') return 1n;
  if (typeof value === 'string') return '::1';
  if (value instanceof Uint8Array) return value.map(() => 1);
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
