import { expect } from 'vitest';
import type { LbService } from '../layout.gen.js';
import { MODE, protocolNumber, type Rule, SELECTION } from '../model.js';
import { lookup } from './lookup.js';
import type { World } from './world.js';

/** The data plane does exactly what the stored rules say, worked out apart from the code under test. */
export function checkProgrammed(world: World): void {
  const taken: { base: number; end: number }[] = [];
  const rules = [...world.stored.values()].filter(({ egress }) => !egress);
  const ids = new Set(rules.flatMap((rule) => checkRule(world, rule, rules, taken)?.serviceId ?? []));
  // One for all addresses may have none left, and is not found by any packet.
  for (const { id, rule } of world.state.services.values()) if (rule.mode === MODE.hostonearm) ids.add(id);
  checkNothingElse(world, ids);
  checkAddresses(world, ids);
}

function addressesOf(world: World, rule: Rule): string[] {
  if (rule.mode !== MODE.hostonearm) return [rule.privateIP ?? rule.externalIP, ...(rule.secondaryIPs ?? [])];
  const ours = new Set([...world.maps.vip.entries()].map(([address]) => address));
  return world.network
    .addresses()
    .map(({ address }) => address)
    .filter((address) => address.includes(':') === rule.externalIP.includes(':'))
    .filter((address) => !address.startsWith('127.') && !ours.has(address));
}

/** Whether a rule with an address of its own comes before one for all addresses. */
function hasOwner(address: string, rule: Rule, rules: readonly Rule[]): boolean {
  const last = rule.portMax ?? rule.port;
  return rules.some((other) => {
    if (other.mode === MODE.hostonearm || other.protocol !== rule.protocol || other.block !== rule.block) return false;
    if (![other.privateIP ?? other.externalIP, ...(other.secondaryIPs ?? [])].includes(address)) return false;
    const otherLast = other.portMax ?? other.port;
    if (otherLast > other.port !== last > rule.port) return false;
    return other.port <= last && rule.port <= otherLast;
  });
}

function checkRule(
  world: World,
  rule: Rule,
  rules: readonly Rule[],
  taken: { base: number; end: number }[],
): LbService | undefined {
  const isHost = rule.mode === MODE.hostonearm;
  const addresses = addressesOf(world, rule).filter((address) => !isHost || !hasOwner(address, rule, rules));
  const found = addresses.map((address) => checkPorts(world, rule, address));
  const [value] = found;
  if (value === undefined) return undefined;
  for (const other of found) expect(other).toEqual(value);
  checkValue(world, rule, value);
  checkSlots(world, rule, value, taken);
  return value;
}

function checkPorts(world: World, rule: Rule, addr: string): LbService {
  const proto = protocolNumber(rule.protocol, addr);
  const last = rule.portMax ?? rule.port;
  const exact = (port: number) => last > rule.port && world.maps.service.get({ addr, proto, mark: rule.block, port });
  const ports = [rule.port, last, (rule.port + last) >> 1].filter((port) => !exact(port));
  const values = ports.map((port) => lookup(world, { addr, proto, mark: rule.block, port }));
  const [value] = values;
  if (value === undefined) throw new Error(`service ${addr} port ${rule.port} is not programmed`);
  for (const other of values) expect(other).toEqual(value);
  return value;
}

function checkValue({ maps }: World, rule: Rule, value: LbService): void {
  expect(value).toMatchObject({ select: rule.sel, mode: rule.mode, port: rule.port });
  const flags = (rule.allowedSources ? 1 : 0) + (rule.proxyprotocolv2 ? 2 : 0) + (rule.secondaryIPs ? 4 : 0);
  expect(value.flags).toBe(flags);
  expect(maps.serviceState.get(value.serviceId)).toMatchObject({ alive: 1, idleTicks: rule.inactiveTimeOut * 953 });
  const vips = maps.sctpVips.get(value.serviceId);
  expect(vips?.count ?? 1).toBe(1 + (rule.secondaryIPs?.length ?? 0));
  const sources = [...maps.source.entries()].filter(([key]) => key.serviceId === value.serviceId);
  const families = [rule.externalIP, ...(rule.secondaryIPs ?? [])].map((address) => address.includes(':'));
  const wanted = (rule.allowedSources ?? []).filter((prefix) => families.includes(prefix.includes(':')));
  expect(sources).toHaveLength(wanted.length);
}

function checkSlots(
  { maps }: World,
  rule: Rule,
  { serviceId, slotBase: base, slotCount }: LbService,
  taken: { base: number; end: number }[],
): void {
  if (slotCount > 0) {
    expect(taken.some((other) => base < other.end && other.base < base + slotCount)).toBe(false);
    taken.push({ base, end: base + slotCount });
  }
  const seen = Array.from({ length: slotCount }, (_, index) => {
    const entry = maps.endpoint.get(maps.slot.get(base + index)?.endpointId ?? 0);
    expect(entry).toMatchObject({ serviceId, active: 1 });
    return entry?.addr ?? '';
  });
  const wanted = rule.endpoints.map(({ endpointIP }) => endpointIP);
  if (rule.sel === SELECTION.rr || rule.sel === SELECTION.lc) expect(seen).toEqual(wanted);
  else
    expect(new Set(seen)).toEqual(
      new Set(rule.endpoints.filter(({ weight }) => weight > 0).map((one) => one.endpointIP)),
    );
}

/** Entries nobody asked for would be packets nobody gets. */
function checkNothingElse({ maps, stored }: World, ids: ReadonlySet<number>): void {
  for (const [, { serviceId }] of maps.service.entries()) expect(ids).toContain(serviceId);
  for (const [, { serviceId }] of maps.range.entries()) expect(ids).toContain(serviceId);
  for (const [{ serviceId }] of maps.source.entries()) expect(ids).toContain(serviceId);
  for (const [serviceId] of maps.sctpVips.entries()) expect(ids).toContain(serviceId);
  expect(maps.control.get(0)?.flags ?? 0).toBe([...maps.range.entries()].length > 0 ? 1 : 0);
  const keys = [...maps.service.entries()].length;
  const single = [...stored.values()].filter(({ portMax, egress, mode }) => !portMax && !egress && mode !== 5);
  expect(keys).toBeGreaterThanOrEqual(single.length);
}

/** Fragments are waited for where a packet may meet a service or an endpoint of one, those that left included. */
function checkAddresses({ maps }: World, ids: ReadonlySet<number>): void {
  const named = new Map<number, Set<string>>([...ids].map((id) => [id, new Set()]));
  for (const [{ addr }, { serviceId }] of maps.service.entries()) named.get(serviceId)?.add(addr);
  for (const [{ addr }, { serviceId }] of maps.range.entries()) named.get(serviceId)?.add(addr);
  for (const [, { addr, serviceId }] of maps.endpoint.entries()) named.get(serviceId)?.add(addr);
  const uses = new Map<string, number>();
  for (const addr of [...named.values()].flatMap((set) => [...set])) uses.set(addr, (uses.get(addr) ?? 0) + 1);
  expect(new Map([...maps.address.entries()].map(([addr, entry]) => [addr, entry.uses]))).toEqual(uses);
}
