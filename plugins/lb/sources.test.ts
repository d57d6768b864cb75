import { beforeEach, describe, expect, it } from 'vitest';
import type { LbSourceKey } from './layout.gen.js';
import { listRules } from './list-rules.js';
import { checkProgrammed } from './testing/check-programmed.js';
import { admits } from './testing/lookup.js';
import { body, createWorld, firstKey, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  world = createWorld();
});

const from = (prefixes: readonly string[], service: Record<string, unknown> = {}) => ({
  ...body(service),
  allowedSources: prefixes.map((prefix) => ({ prefix })),
});
const service = () => [...world.maps.service.entries()][0]?.[1] ?? { serviceId: 0, flags: 0 };
const mayUse = (client: string) => admits(world, service().serviceId, client);

describe('allowed sources', () => {
  it('are prefixes of the service, and a flag of it', () => {
    world.post(from(['10.0.0.0/8', '192.168.1.7/32']));
    expect(service().flags).toBe(1);
    expect(['10.255.0.1', '11.0.0.1', '192.168.1.7', '192.168.1.8'].map(mayUse)).toEqual([true, false, true, false]);
    expect(admits(world, service().serviceId + 1, '10.0.0.1')).toBe(false);
    checkProgrammed(world);
  });

  it('are shown as they are meant', () => {
    world.post(from(['10.2.0.5/16', '2001:DB8::/32']));
    const [listed] = listRules([...world.stored.values()], world) as [{ allowedSources: unknown }];
    expect(listed.allowedSources).toEqual([{ prefix: '10.2.0.0/16' }, { prefix: '2001:db8::/32' }]);
  });

  it('of the other family do not let everybody in', () => {
    world.post(from(['::/0', '10.0.0.0/8']));
    expect(['10.1.1.1', '11.1.1.1'].map(mayUse)).toEqual([true, false]);
    world.post(from(['::/0', '0.0.0.0/0'], { externalIP: '2001:db8::1' }));
    const [, { serviceId }] = [...world.maps.service.entries()][1] as [unknown, { serviceId: number }];
    expect(admits(world, serviceId, '2001:db8::5')).toBe(true);
  });

  it('are replaced without refusing anybody who stays', () => {
    world.post(from(['10.0.0.0/8', '11.0.0.0/8']));
    const { source, service: services } = world.maps;
    const seen: boolean[] = [];
    for (const map of [source, services]) {
      const { setMany, deleteMany } = map;
      map.setMany = (entries: never) => {
        setMany.call(map, entries);
        seen.push(mayUse('10.1.1.1'));
      };
      map.deleteMany = (keys: never) => {
        deleteMany.call(map, keys);
        seen.push(mayUse('10.1.1.1'));
      };
    }
    world.post(from(['10.1.0.0/16', '12.0.0.0/8']));
    expect(seen.length).toBeGreaterThan(1);
    expect(new Set(seen)).toEqual(new Set([true]));
    expect(['10.2.0.1', '11.0.0.1', '12.0.0.1'].map(mayUse)).toEqual([false, false, true]);
  });

  it('are checked before they are gone, and gone after nobody is checked', () => {
    world.post(body());
    const order: string[] = [];
    for (const name of ['source', 'service'] as const) {
      const map = world.maps[name];
      const { setMany, deleteMany } = map;
      map.setMany = (entries: never) => {
        order.push(`set ${name}`);
        setMany.call(map, entries);
      };
      map.deleteMany = (keys: never) => {
        order.push(`delete ${name}`);
        deleteMany.call(map, keys);
      };
    }
    world.post(from(['10.0.0.0/8']));
    expect(order).toEqual(['set source', 'set service']);
    order.length = 0;
    world.post(body());
    expect(order).toEqual(['set service', 'delete source']);
  });

  it('may be thousands', () => {
    const many = Array.from({ length: 5000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
    world.post(from(many));
    expect([...world.maps.source.entries()]).toHaveLength(5000);
    const operations = world.operations();
    world.post(from([...many.slice(1), '11.0.0.0/8']));
    expect(world.operations() - operations).toBeLessThan(10);
    expect(['10.0.0.1', '11.0.0.1'].map(mayUse)).toEqual([false, true]);
  });

  it('stay when endpoints are attached, and are replaced when they are given', () => {
    world.post(from(['10.0.0.0/8']));
    world.post({ ...body({ oper: 1 }, ['10.0.0.9']), allowedSources: null });
    expect(mayUse('10.0.0.1')).toBe(true);
    world.post({ ...body({ oper: 1 }, ['10.0.0.9']), allowedSources: [{ prefix: '11.0.0.0/8' }] });
    expect(['10.0.0.1', '11.0.0.1'].map(mayUse)).toEqual([false, true]);
  });

  it('go with the rule and survive a restart', () => {
    world.post(from(['10.0.0.0/8', '11.0.0.0/8']));
    const before = snapshot(world);
    expect(snapshot(world.restart())).toEqual(before);
    const [first] = [...world.maps.source.entries()];
    world.maps.source.delete(first?.[0] as LbSourceKey);
    world.maps.source.set({ prefixlen: 32, serviceId: service().serviceId, addr: '::' }, { allow: 1 });
    expect(snapshot(world.restart())).toEqual(before);
    world.remove(firstKey(world));
    expect([...world.maps.source.entries()]).toEqual([]);
  });

  it('are as they were when a write fails', () => {
    world.post(from(['10.0.0.0/8']));
    for (const change of [() => world.post(from(['11.0.0.0/8'])), () => world.remove(firstKey(world))]) {
      for (let write = 1; write < 20; write++) {
        const before = snapshot(world);
        world.failWrite = write;
        try {
          change();
        } catch {
          expect(snapshot(world)).toEqual(before);
          continue;
        }
        world.failWrite = undefined;
        break;
      }
      checkProgrammed(world);
    }
    expect(world.stored.size).toBe(0);
  });
});
