import { isLoxilbError } from '@loxilb/sdk';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listRules } from './list-rules.js';
import { checkProgrammed } from './testing/check-programmed.js';
import { body, createWorld, firstKey, hasAddress, slotsSeen, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  world = createWorld();
});

const idOf = (address: string): number => {
  for (const [id, entry] of world.maps.endpoint.entries())
    if (entry.addr === address && entry.serviceId !== 0) return id;
  return 0;
};
const serviceId = (): number => [...world.maps.service.entries()][0]?.[1].serviceId ?? 0;

function codeOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (isLoxilbError(error)) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('a new rule', () => {
  it('is programmed in the order given', () => {
    world.post(body({}, ['10.0.0.3', '10.0.0.1', '10.0.0.2']));
    expect(slotsSeen(world)).toEqual(['10.0.0.3', '10.0.0.1', '10.0.0.2']);
    checkProgrammed(world);
  });

  it.each([
    ['default', 0, '::'],
    ['onearm', 1, '192.168.1.1'],
    ['fullnat', 2, '20.20.20.1'],
  ])('in mode %s gives endpoints the right client address', (_, mode, source) => {
    world.post(body({ mode }));
    expect(world.maps.endpoint.get(idOf('10.0.0.1'))).toMatchObject({ source, self: '192.168.1.1', port: 8080 });
  });

  it('uses the private address in packets and as fullnat source', () => {
    world.post(body({ mode: 2, privateIP: '10.9.9.9' }));
    expect(slotsSeen(world, '10.9.9.9')).toHaveLength(2);
    expect(world.maps.endpoint.get(idOf('10.0.0.1'))?.source).toBe('10.9.9.9');
  });

  it('keeps the client for an endpoint on this machine', () => {
    world.post(body({ mode: 1 }, ['192.168.1.1']));
    expect(world.maps.endpoint.get(idOf('192.168.1.1'))?.source).toBe('::');
  });

  it('has its weights as an exact round', () => {
    world.post(
      body({ sel: 2 }, [
        ['10.0.0.1', 40],
        ['10.0.0.2', 40],
        ['10.0.0.3', 20],
      ]),
    );
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.1', '10.0.0.2']);
  });

  it.each([1, 3])('has a Maglev table for selection %i', (sel) => {
    world.post(body({ sel }));
    expect(slotsSeen(world)).toHaveLength(4093);
    expect(world.maps.service.get([...world.maps.service.entries()][0]?.[0] as never)?.affinityTicks).toBe(
      sel === 3 ? 10_800 * 953 : 0,
    );
  });

  it('of icmp has port 0, over IPv6 ICMPv6', () => {
    world.post(body({ protocol: 'icmp', externalIP: '2001:db8::1' }, ['2001:db8::2']));
    expect([...world.maps.service.entries()][0]?.[0]).toEqual({ addr: '2001:db8::1', port: 0, proto: 58, mark: 0 });
  });

  it('costs a handful of map operations', () => {
    const before = world.operations();
    world.post(body({}, ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']));
    expect(world.operations() - before).toBeLessThanOrEqual(6);
  });

  it('is refused when another rule has its packets already', () => {
    world.post(body({ privateIP: '10.9.9.9' }));
    expect(codeOf(() => world.post(body({ externalIP: '10.9.9.9' })))).toBe('LB_SERVICE_TAKEN');
    expect([...world.maps.service.entries()]).toHaveLength(1);
  });

  it('is refused when ids, endpoints or slots run out', () => {
    const small = createWorld({ maxServices: 3, maxEndpoints: 6, maxSlots: 8192 });
    small.post(body({ sel: 1 }, ['10.0.0.1']));
    expect(
      codeOf(() => small.post(body({ port: 81 }, ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5']))),
    ).toBe('LB_ENDPOINTS_FULL');
    small.post(body({ port: 82, sel: 1 }, ['10.0.0.1']));
    expect(codeOf(() => small.post(body({ port: 83 }, ['10.0.0.1'])))).toBe('LB_RULES_FULL');
    expect(codeOf(() => small.post(body({ sel: 3 }, ['10.0.0.1'])))).toBe('LB_SLOTS_FULL');
    checkProgrammed(small);
  });
});

describe('a changed rule', () => {
  beforeEach(() => world.post(body()));

  it('keeps service and endpoint ids', () => {
    const before = [serviceId(), idOf('10.0.0.2')];
    world.post(body({ mode: 2, sel: 1, inactiveTimeOut: 30 }, ['10.0.0.2', '10.0.0.3']));
    expect([serviceId(), idOf('10.0.0.2')]).toEqual(before);
    checkProgrammed(world);
  });

  it('does not touch slots or the service when only the timeout differs', () => {
    world.maps.serviceState.set(serviceId(), { cursor: 5, idleTicks: 240 * 953, alive: 1, reset: 0 });
    const services = [...world.maps.service.entries()];
    world.post(body({ inactiveTimeOut: 30 }));
    expect([...world.maps.service.entries()]).toEqual(services);
    expect(world.maps.serviceState.get(serviceId())).toEqual({ cursor: 5, idleTicks: 30 * 953, alive: 1, reset: 1 });
  });

  it('writes no map at all when only the name differs', () => {
    const before = world.operations();
    world.post(body({ name: 'web' }));
    expect(world.operations()).toBe(before);
    expect(world.rules.serviceName(serviceId())).toBe('web');
  });

  it('points at a new run, never at a half-written one', () => {
    const [, before] = [...world.maps.service.entries()][0] as [unknown, { slotBase: number }];
    world.post(body({}, ['10.0.0.2', '10.0.0.1']));
    expect([...world.maps.service.entries()][0]?.[1].slotBase).not.toBe(before.slotBase);
    expect(slotsSeen(world)).toEqual(['10.0.0.2', '10.0.0.1']);
  });

  it('keeps the counters of endpoints that stay', () => {
    const id = idOf('10.0.0.1');
    world.maps.stats.set(id, { packets: 7n, bytes: 700n, flows: 1n });
    world.post(body({ sel: 1 }, ['10.0.0.1', '10.0.0.3']));
    expect(world.maps.stats.get(id)).toEqual({ packets: 7n, bytes: 700n, flows: 1n });
  });

  it('closes an endpoint that leaves, and takes the same id when it comes back', () => {
    const id = idOf('10.0.0.1');
    world.post(body({}, ['10.0.0.2']));
    expect(world.maps.endpoint.get(id)).toMatchObject({ active: 0, weight: 0xffff_ffff });
    world.post(body({}, ['10.0.0.1', '10.0.0.2']));
    expect(idOf('10.0.0.1')).toBe(id);
    expect(world.maps.endpoint.get(id)).toMatchObject({ active: 1, weight: 1 });
    expect(world.retirement.pending).toBe(0);
    checkProgrammed(world);
  });

  it('moves to another private address in one piece', () => {
    const id = serviceId();
    world.post(body({ privateIP: '10.9.9.9' }));
    expect([...world.maps.service.entries()].map(([key]) => key.addr)).toEqual(['10.9.9.9']);
    expect(serviceId()).toBe(id);
    expect([hasAddress(world, '20.20.20.1'), hasAddress(world, '10.9.9.9')]).toEqual([false, true]);
  });
});

describe('a failed write', () => {
  // Old slots are cleared by whatever comes a while later.
  beforeEach(() => {
    vi.useFakeTimers();
    world = createWorld();
  });
  afterEach(() => void vi.useRealTimers());

  it('leaves everything as it was, whichever write fails', () => {
    world.post(body());
    const changes = [
      () => world.post(body({ externalIP: '20.20.20.2' }, ['10.0.0.7', '10.0.0.8'])),
      () => world.post(body({ mode: 1, sel: 1, inactiveTimeOut: 30, privateIP: '10.9.9.9' }, ['10.0.0.2', '10.0.0.3'])),
      () => world.remove(firstKey(world)),
    ];
    for (const change of changes) {
      for (let write = 1; write < 20; write++) {
        const before = [snapshot(world), world.network.addresses()];
        const listed = listRules([...world.stored.values()], world);
        world.failWrite = write;
        try {
          change();
        } catch {
          world.failWrite = undefined;
          expect([snapshot(world), world.network.addresses()]).toEqual(before);
          expect(listRules([...world.stored.values()], world)).toEqual(listed);
          checkProgrammed(world);
          continue;
        }
        world.failWrite = undefined;
        checkProgrammed(world);
        break;
      }
    }
    expect(world.stored.size).toBe(1);
  });

  it('of the service address refuses the rule', () => {
    world.refused.add('20.20.20.1');
    expect(codeOf(() => world.post(body()))).toBe('LB_VIP_ADDRESS');
    expect(snapshot(world)).toEqual({});
    expect(world.state.serviceIds.inUse + world.state.endpointIds.inUse).toBe(0);
  });
});

describe('health', () => {
  beforeEach(() => {
    world.post(body());
    world.post(body({ port: 81, sel: 1 }));
    world.post(body({ protocol: 'udp', port: 82 }));
  });

  it('takes an endpoint out of all rules that use it, and back', () => {
    expect(world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, false)).toBe(true);
    expect(slotsSeen(world)).toEqual(['10.0.0.2']);
    expect(listRules([...world.stored.values()], world)).toMatchObject([
      { endpoints: [{ state: 'inactive' }, { state: 'active' }] },
      { endpoints: [{ state: 'inactive' }, { state: 'active' }] },
      { endpoints: [{ state: 'active' }, { state: 'active' }] },
    ]);
    world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, true);
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '10.0.0.2']);
    checkProgrammed(world);
  });

  it('leaves a service without slots when nobody is left', () => {
    world.rules.setEndpointActive('10.0.0.1', 'udp', 8080, false);
    world.rules.setEndpointActive('10.0.0.2', 'udp', 8080, false);
    const udp = [...world.maps.service.entries()].find(([key]) => key.proto === 17);
    expect(udp?.[1].slotCount).toBe(0);
  });

  it('is known to rules that come later', () => {
    world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, false);
    world.post(body({ externalIP: '20.20.20.2' }));
    expect(slotsSeen(world, '20.20.20.2')).toEqual(['10.0.0.2']);
  });

  it('of an endpoint nobody uses is nobody`s business', () => {
    expect(world.rules.setEndpointActive('10.0.0.9', 'tcp', 8080, false)).toBe(false);
  });
});

describe('a change of addresses', () => {
  it('reaches the endpoints of onearm rules', () => {
    world.post(body({ mode: 1 }));
    world.network.state.addresses = [{ ifindex: 2, address: '192.168.1.2', prefixLength: 24, family: 4, scope: 0 }];
    world.book.forget();
    world.rules.refreshAddresses();
    expect(world.maps.endpoint.get(idOf('10.0.0.1'))).toMatchObject({ source: '192.168.1.2', self: '192.168.1.2' });
  });

  it('writes nothing when nothing differs', () => {
    world.post(body({ mode: 1 }));
    world.book.forget();
    const before = world.operations();
    world.rules.refreshAddresses();
    expect(world.operations()).toBe(before);
  });
});

describe('GET', () => {
  it('shows what clients know, members that are zero left out', () => {
    world.post(body({ externalIP: '192.168.1.9' }));
    world.maps.stats.set(idOf('10.0.0.2'), { packets: 3n, bytes: 180n, flows: 1n });
    const idle = { packets: 0, bytes: 0, connections: 0, current: 0 };
    const stats = { packets: 3, bytes: 180, connections: 1, current: 0 };
    expect(listRules([...world.stored.values()], world)).toEqual([
      {
        allowedSources: null,
        endpoints: [
          { counter: '0:0', endpointIP: '10.0.0.1', state: 'active', targetPort: 8080, weight: 1, stats: idle },
          { counter: '3:180', endpointIP: '10.0.0.2', state: 'active', targetPort: 8080, weight: 1, stats },
        ],
        stats,
        secondaryIPs: null,
        serviceArguments: { externalIP: '192.168.1.9', inactiveTimeOut: 240, port: 80, protocol: 'tcp' },
      },
    ]);
  });

  it('shows members that are set, and hides those that are write-only', () => {
    const service = {
      managed: true,
      mode: 1,
      monitor: true,
      name: 'a:b',
      sel: 2,
      bgp: true,
      block: 9,
      inactiveTimeOut: 30,
    };
    world.post(
      body({ ...service, probetype: 'tcp', probeport: 80, probereq: 'x', probeRetries: 3, privateIP: '10.1.1.1' }),
    );
    const [listed] = listRules([...world.stored.values()], world) as [{ serviceArguments: unknown }];
    expect(listed.serviceArguments).toEqual({
      externalIP: '20.20.20.1',
      port: 80,
      protocol: 'tcp',
      ...service,
      probetype: 'tcp',
      probeport: 80,
    });
  });
});

describe('any sequence of mutations, failures and restarts', () => {
  it('leaves the data plane equal to the stored rules', () => {
    const service = fc.record({
      port: fc.integer({ min: 80, max: 82 }),
      sel: fc.integer({ min: 0, max: 4 }),
      mode: fc.integer({ min: 0, max: 2 }),
      oper: fc.integer({ min: 0, max: 2 }),
      inactiveTimeOut: fc.constantFrom(0, 30),
    });
    const endpoints = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 });
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ service, endpoints, failWrite: fc.option(fc.integer({ min: 1, max: 8 })) }) },
      { weight: 1, arbitrary: fc.constant('remove' as const) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        let current = createWorld({ maxEndpoints: 1024 });
        for (const one of steps) {
          if (one === 'restart') current = current.restart();
          else if (one === 'remove') current.remove(current.stored.size > 0 ? firstKey(current) : '');
          else mutate(current, one);
          checkProgrammed(current);
        }
        current.retirement.stop();
      }),
      { numRuns: 30 },
    );
  });
});

interface Mutation {
  readonly service: Record<string, unknown>;
  readonly endpoints: readonly number[];
  readonly failWrite: number | null;
}

function mutate(current: World, { service, endpoints, failWrite }: Mutation): void {
  current.failWrite = failWrite ?? undefined;
  try {
    current.post(
      body(
        service,
        endpoints.map((one) => `10.0.0.${one}`),
      ),
    );
  } catch {
    // Refused or failed: checked to have changed nothing by what follows.
  }
  current.failWrite = undefined;
}
