import { isLoxilbError, type LoxilbError } from '@loxilb/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import { deleteForms } from './deletes.js';
import type { LbRangeKey, LbService } from './layout.gen.js';
import { listRules } from './list-rules.js';
import { checkProgrammed } from './testing/check-programmed.js';
import { lookup } from './testing/lookup.js';
import { body, createWorld, firstKey, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  world = createWorld();
});

const packet = (port: number, addr = '20.20.20.1', mark = 0) => ({ addr, proto: 6, mark, port });
const idAt = (port: number) => lookup(world, packet(port))?.serviceId;
const range = (port: number, portMax: number, more: Record<string, unknown> = {}) => body({ port, portMax, ...more });
const listed = () => listRules([...world.stored.values()], world) as [{ endpoints: unknown[] }];
const entries = () => [...world.maps.endpoint.entries()].map(([, entry]) => entry).filter(({ serviceId }) => serviceId);
const spanned = (service: Record<string, unknown>, targetPort: number, targetPortMax: number) => ({
  ...body(service),
  endpoints: [{ endpointIP: '10.0.0.1', targetPort, targetPortMax, weight: 1 }],
});

function faultOf(action: () => void): LoxilbError {
  try {
    action();
  } catch (error) {
    if (isLoxilbError(error)) return error;
    throw error;
  }
  throw new Error('no fault');
}

describe('a range of service ports', () => {
  it('is met at each of its ports and at no other', () => {
    world.post(range(8079, 8083));
    expect([8078, 8079, 8080, 8082, 8083, 8084].map((port) => idAt(port) !== undefined)).toEqual([
      ...[false, true, true, true, true, false],
    ]);
    expect(lookup(world, packet(8080, '20.20.20.1', 5))).toBeUndefined();
    expect(lookup(world, packet(8080))).toMatchObject({ port: 8079 });
    checkProgrammed(world);
  });

  it('of all ports takes sixteen entries', () => {
    world.post(range(1, 65_535));
    expect([...world.maps.range.entries()]).toHaveLength(16);
    expect([0, 1, 80, 65_535].map((port) => idAt(port) !== undefined)).toEqual([false, true, true, true]);
  });

  it('leaves a port to a service of its own, before or after it', () => {
    world.post(body({ port: 81 }));
    world.post(range(80, 90));
    world.post(body({ port: 85 }));
    expect(new Set([80, 81, 85].map(idAt)).size).toBe(3);
    expect(idAt(82)).toBe(idAt(90));
    world.remove('20.20.20.1|tcp|85|0|');
    expect(idAt(85)).toBe(idAt(90));
    checkProgrammed(world);
  });

  it.each([
    [85, 95],
    [70, 80],
    [82, 83],
    [1, 65_535],
  ])('is refused at %i-%i beside 80-90, and has changed nothing', (port, portMax) => {
    world.post(range(80, 90));
    const before = snapshot(world);
    const fault = faultOf(() => world.post(range(port, portMax)));
    expect(fault).toMatchObject({ code: 'LB_RANGE_OVERLAP', status: 409, field: 'serviceArguments.portMax' });
    expect(fault.result).toBe(
      `port range ${port}-${portMax} of 20.20.20.1:${port}-${portMax}/tcp overlaps rule 20.20.20.1:80-90/tcp`,
    );
    expect(fault.result).not.toContain('exist');
    expect([snapshot(world), world.stored.size]).toEqual([before, 1]);
  });

  it('does not mind ranges of other addresses, protocols and marks', () => {
    world.post(range(80, 90));
    world.post(range(80, 90, { externalIP: '20.20.20.2' }));
    world.post(range(80, 90, { protocol: 'udp' }));
    world.post(range(80, 90, { block: 7 }));
    world.post(range(91, 95));
    checkProgrammed(world);
  });

  it('and a port inside it, with a mark and without, are four rules, in whatever order they come', () => {
    const rules = [body({ port: 85, block: 7 }), range(80, 90, { block: 7 }), body({ port: 85 }), range(80, 90)];
    for (let first = 0; first < rules.length; first++) {
      world = createWorld();
      for (let index = 0; index < rules.length; index++) world.post(rules[(first + index) % rules.length]);
      const found = [packet(85, '20.20.20.1', 7), packet(86, '20.20.20.1', 7), packet(85), packet(86)].map(
        (one) => lookup(world, one)?.serviceId,
      );
      expect(new Set(found).size).toBe(4);
      checkProgrammed(world);
      world.remove('20.20.20.1|tcp|85|7|');
      expect(lookup(world, packet(85, '20.20.20.1', 7))?.serviceId).toBe(found[1]);
    }
  });

  it('is deleted by both its ends, and by nothing else', () => {
    world.post(range(8080, 8081));
    const select = (portmax: string) =>
      deleteForms[3]?.select(
        { params: { hosturl: 'any', ip_address: '20.20.20.1', port: '8080', portmax, proto: 'tcp' }, query: {} },
        world.stored,
      );
    expect(faultOf(() => select('0')).code).toBe('LB_NO_RULE');
    expect(faultOf(() => select('8082')).code).toBe('LB_NO_RULE');
    for (const key of select('8081') ?? []) world.remove(key);
    expect([...world.maps.range.entries(), ...world.maps.service.entries()]).toEqual([]);
    expect(world.maps.control.get(0)).toEqual({ flags: 0 });
  });

  it('is looked for only while there is one', () => {
    world.post(body());
    expect(world.maps.control.get(0)).toEqual({ flags: 0 });
    world.post(range(90, 91));
    world.post(range(92, 93));
    world.remove('20.20.20.1|tcp|90-91|0|');
    expect(world.maps.control.get(0)).toEqual({ flags: 1 });
    expect(world.restart().maps.control.get(0)).toEqual({ flags: 1 });
  });

  it('survives a restart, repaired where it was changed', () => {
    world.post(range(1, 65_535, { sel: 1 }));
    const id = idAt(80);
    const before = snapshot(world);
    expect(snapshot(world.restart())).toEqual(before);
    const first = [...world.maps.range.entries()][0] as [LbRangeKey, LbService];
    world.maps.range.delete(first[0]);
    world.maps.control.set(0, { flags: 0 });
    world.maps.range.set({ prefixlen: 192, mark: 0, addr: '9.9.9.9', proto: 6, port: 9 }, first[1]);
    const after = world.restart();
    checkProgrammed(after);
    expect(snapshot(after)).toEqual(before);
    expect(idAt(80)).toBe(id);
  });

  it('leaves everything as it was when a write fails', () => {
    world.post(range(80, 90));
    const change = () => world.post(range(80, 90, { sel: 1, privateIP: '10.9.9.9' }));
    for (let write = 1; write < 30; write++) {
      const before = snapshot(world);
      world.failWrite = write;
      try {
        change();
      } catch {
        expect(snapshot(world)).toEqual(before);
        checkProgrammed(world);
        continue;
      }
      world.failWrite = undefined;
      break;
    }
    checkProgrammed(world);
    expect(world.stored.get(firstKey(world))).toMatchObject({ sel: 1 });
  });
});

describe('a span of endpoint ports', () => {
  it('is one endpoint of the data plane', () => {
    world.post(spanned({ port: 5000 }, 5201, 5300));
    expect(entries()).toMatchObject([{ port: 5201, ports: 100, flags: 0 }]);
  });

  it('as long as the range is shifted, n-th to n-th', () => {
    world.post(spanned({ port: 8080, portMax: 8081 }, 9000, 9001));
    expect(entries()).toMatchObject([{ port: 9000, ports: 2, flags: 2 }]);
    world.post(spanned({ port: 1, portMax: 65_535, externalIP: '20.20.20.2' }, 1, 65_535));
    expect(entries()[1]).toMatchObject({ port: 1, ports: 65_535, flags: 2 });
  });

  it('of one port takes all ports of a range', () => {
    world.post(range(8080, 8081));
    expect(entries()).toMatchObject([
      { port: 8080, ports: 1, flags: 0 },
      { port: 8080, ports: 1, flags: 0 },
    ]);
  });

  it('is listed port by port up to 64, with its counters once', () => {
    world.post(spanned({}, 5201, 5264));
    world.maps.stats.set(1, { packets: 3n, bytes: 180n, flows: 1n });
    const [{ endpoints }] = listed();
    expect(endpoints).toHaveLength(64);
    expect(endpoints.slice(0, 2)).toMatchObject([
      { endpointIP: '10.0.0.1', targetPort: 5201, weight: 1, state: 'active', counter: '3:180' },
      { endpointIP: '10.0.0.1', targetPort: 5202, weight: 1, state: 'active', counter: '0:0' },
    ]);
  });

  it('is listed as one beyond', () => {
    world.post(spanned({}, 5201, 5300));
    expect(listed()[0].endpoints).toMatchObject([
      { endpointIP: '10.0.0.1', targetPort: 5201, targetPortMax: 5300, weight: 1, state: 'active', counter: '0:0' },
    ]);
  });

  it('posted as it was listed changes nothing', () => {
    world.post(spanned({}, 5201, 5264));
    const [{ endpoints }] = listed();
    expect(faultOf(() => world.post({ ...body(), endpoints })).code).toBe('LB_RULE_EXISTS');
  });

  it('keeps its id when it grows, and when a port is detached from its end', () => {
    world.post(spanned({}, 5201, 5300));
    const id = [...world.maps.endpoint.entries()][0]?.[0] ?? 0;
    world.post(spanned({}, 5201, 5310));
    expect(world.maps.endpoint.get(id)).toMatchObject({ port: 5201, ports: 110 });
    world.post(spanned({ oper: 2 }, 5305, 5310));
    expect(world.maps.endpoint.get(id)).toMatchObject({ port: 5201, ports: 104 });
    world.post(spanned({ oper: 1 }, 5305, 5305));
    expect(world.maps.endpoint.get(id)).toMatchObject({ port: 5201, ports: 105 });
    checkProgrammed(world);
  });

  it('falls into two when a port in its middle is detached', () => {
    world.post(spanned({}, 5201, 5300));
    world.post(spanned({ oper: 2 }, 5250, 5250));
    const [rule] = [...world.stored.values()];
    expect(rule?.endpoints.map(({ targetPort, targetPortMax }) => [targetPort, targetPortMax])).toEqual([
      [5201, 5249],
      [5251, 5300],
    ]);
  });
});
