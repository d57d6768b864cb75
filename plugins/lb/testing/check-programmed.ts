import { expect } from 'vitest';
import { protocolNumber, type Rule, SELECTION, serviceAddress } from '../model.js';
import type { World } from './world.js';

/** The data plane does exactly what the stored rules say, worked out apart from the code under test. */
export function checkProgrammed(world: World): void {
  const services = [...world.maps.service.entries()];
  expect(services).toHaveLength(world.stored.size);
  const taken: { base: number; end: number }[] = [];
  for (const rule of world.stored.values()) checkRule(world, rule, taken);
}

function checkRule({ maps }: World, rule: Rule, taken: { base: number; end: number }[]): void {
  const addr = serviceAddress(rule);
  const key = { addr, port: rule.port, proto: protocolNumber(rule.protocol, addr), mark: rule.block };
  const value = maps.service.get(key);
  if (value === undefined) throw new Error(`service ${addr} is not programmed`);
  expect(value).toMatchObject({ select: rule.sel, mode: rule.mode });
  const { serviceId, slotBase: base, slotCount } = value;
  expect(maps.serviceState.get(serviceId)).toMatchObject({ alive: 1, idleTicks: rule.inactiveTimeOut * 953 });
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
