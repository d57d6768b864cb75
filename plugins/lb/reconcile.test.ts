import { beforeEach, describe, expect, it } from 'vitest';
import { type Rule, ruleKey } from './model.js';
import { checkProgrammed } from './testing/check-programmed.js';
import { body, createWorld, firstKey, hasAddress, slotsSeen, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  world = createWorld();
  world.post(body({ name: 'a' }));
  world.post(body({ port: 81, sel: 1 }, ['10.0.0.1', '10.0.0.3']));
  world.post(body({ externalIP: '2001:db8::1', protocol: 'udp' }, ['2001:db8::2']));
});

const endpoint = (address: string) => [...world.maps.endpoint.entries()].find(([, entry]) => entry.addr === address);

describe('a restart', () => {
  it('leaves entries that are right untouched', () => {
    const before = snapshot(world);
    const operations = world.operations();
    const after = world.restart();
    expect(snapshot(after)).toEqual(before);
    // Whole maps are read in one go each, slots of few services one by one.
    expect(world.operations() - operations).toBeLessThan(4093 + 20);
    checkProgrammed(after);
  });

  it('goes on with the same ids', () => {
    const after = world.restart();
    after.post(body({ name: 'a' }, ['10.0.0.2', '10.0.0.4']));
    after.post(body({ port: 83 }));
    checkProgrammed(after);
  });

  it('repairs what was changed behind its back', () => {
    for (const [key] of [...world.maps.service.entries()].slice(0, 1)) world.maps.service.delete(key);
    for (const [id, entry] of [...world.maps.endpoint.entries()].slice(1, 3)) {
      world.maps.endpoint.set(id, { ...entry, source: '1.2.3.4' });
    }
    const [, value] = [...world.maps.service.entries()][0] as [unknown, { slotBase: number }];
    world.maps.slot.set(value.slotBase, { endpointId: 99 });
    checkProgrammed(world.restart());
  });

  it('fills empty maps', () => {
    const fresh = createWorld();
    fresh.reconcile([...world.stored.values()]);
    for (const [key, rule] of world.stored) fresh.stored.set(key, rule);
    checkProgrammed(fresh);
  });

  it('ends a service that is stored no more, and rests its ids', () => {
    const [first] = [...world.stored.values()];
    const gone = [...world.maps.service.entries()].find(([key]) => key.port === 80)?.[1].serviceId ?? 0;
    world.stored.delete(ruleKey(first as never));
    const after = world.restart();
    checkProgrammed(after);
    expect(after.maps.serviceState.get(gone)?.alive).toBe(0);
    expect(after.retirement.pending).toBe(1);
    after.post(body({ port: 90 }));
    expect([...after.maps.service.entries()].some(([, value]) => value.serviceId === gone)).toBe(false);
  });

  it('closes an endpoint that was stored out of its rule', () => {
    const rule = world.stored.get(firstKey(world)) as Rule;
    const [id] = endpoint('10.0.0.2') ?? [0];
    world.stored.set(firstKey(world), { ...rule, endpoints: rule.endpoints.slice(0, 1) });
    const after = world.restart();
    expect(slotsSeen(after)).toEqual(['10.0.0.1']);
    expect(after.maps.endpoint.get(id)?.active).toBe(0);
    after.post(body({ name: 'a' }));
    expect(after.maps.endpoint.get(id)).toMatchObject({ addr: '10.0.0.2', active: 1 });
  });

  it('remembers which endpoints are down', () => {
    world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, false);
    const after = world.restart();
    expect(slotsSeen(after)).toEqual(['10.0.0.2']);
    after.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, true);
    checkProgrammed(after);
  });

  it('does not take an endpoint for down that was being taken out', () => {
    const stored = new Map(world.stored);
    world.post(body({ name: 'a' }, ['10.0.0.2']));
    world.stored.clear();
    for (const [key, rule] of stored) world.stored.set(key, rule);
    checkProgrammed(world.restart());
  });

  it('follows a rule that changed while nobody was there', () => {
    const rule = world.stored.get(firstKey(world));
    world.stored.set(firstKey(world), { ...rule, sel: 2, mode: 2, inactiveTimeOut: 30 } as never);
    checkProgrammed(world.restart());
  });

  it('refuses stored rules that have no room', () => {
    const small = createWorld({ maxServices: 3 });
    expect(() => small.reconcile([...world.stored.values()])).toThrow(/no room for stored rule/);
  });
});

describe('service addresses', () => {
  it('are put on lo with the first rule and taken off with the last', () => {
    expect(hasAddress(world, '20.20.20.1')).toBe(true);
    world.remove(firstKey(world));
    expect(hasAddress(world, '20.20.20.1')).toBe(true);
    world.remove(firstKey(world));
    expect(hasAddress(world, '20.20.20.1')).toBe(false);
    expect([...world.maps.vip.entries()]).toEqual([['2001:db8::1', 1]]);
  });

  it('that this machine has anyway are left alone', () => {
    world.post(body({ externalIP: '192.168.1.1' }));
    const key = [...world.stored.keys()].at(-1) ?? '';
    world.remove(key);
    expect(hasAddress(world, '192.168.1.1')).toBe(true);
  });

  it('are nobody`s business with vipAddresses off or by name', () => {
    const off = createWorld({ vipAddresses: 'off' });
    off.post(body());
    world.post(body({ externalIP: '20.20.20.9', name: 'my-static-rule' }));
    expect([hasAddress(off, '20.20.20.1'), hasAddress(world, '20.20.20.9')]).toEqual([false, false]);
  });

  it('come back after a restart when they are gone, and go when nobody wants them', () => {
    world.network.removeAddress('20.20.20.1', 'lo');
    world.stored.delete([...world.stored.keys()].at(-1) ?? '');
    const after = world.restart();
    expect([hasAddress(after, '20.20.20.1'), hasAddress(after, '2001:db8::1')]).toEqual([true, false]);
    expect([...after.maps.vip.entries()]).toEqual([['20.20.20.1', 1]]);
  });

  it('that fail at start do not keep the others from working', () => {
    world.network.removeAddress('20.20.20.1', 'lo');
    world.refused.add('20.20.20.1');
    checkProgrammed(world.restart());
  });
});

describe('ids an earlier daemon had retired', () => {
  it('are free at once when no flow carries them', () => {
    world.post(body({ name: 'a' }, ['10.0.0.2']));
    for (const key of [...world.stored.keys()]) world.remove(key);
    const after = world.restart();
    expect(after.retirement.pending).toBe(0);
    expect([after.state.serviceIds.inUse, after.state.endpointIds.inUse]).toEqual([0, 0]);
    expect(Object.keys(snapshot(after)).filter((key) => !key.startsWith('slot'))).toEqual([]);
  });

  it('rest on while flows carry them', () => {
    const [id] = endpoint('10.0.0.2') ?? [0];
    world.post(body({ name: 'a' }, ['10.0.0.1']));
    world.maps.flows.set(id, { active: 3, pending: 0, recount: 0 });
    const after = world.restart();
    expect(after.retirement.pending).toBe(1);
    after.remove(firstKey(after));
    expect(after.maps.endpoint.get(id)?.addr).toBe('10.0.0.2');
  });
});
