import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { endpointDirectory } from './directory.js';
import { LbEndpointFlags } from './layout.gen.js';
import { listRules } from './list-rules.js';
import { WEIGHT_LEFT } from './state.js';
import { body, createWorld, firstKey, hasAddress, slotsSeen, snapshot, type World } from './testing/world.js';

const { LB_EP_CUT: CUT, LB_EP_RESET: RESET } = LbEndpointFlags;

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = createWorld();
});
afterEach(() => {
  world.retirement.stop();
  vi.useRealTimers();
});

const pass = async (milliseconds = 1000): Promise<void> => {
  await vi.advanceTimersByTimeAsync(milliseconds);
  world.retirement.onPass();
  await vi.advanceTimersByTimeAsync(200);
};
const idOf = (address: string): number =>
  [...world.maps.endpoint.entries()].find(([, entry]) => entry.addr === address)?.[0] ?? 0;
const flagsOf = (id: number): number => world.maps.endpoint.get(id)?.flags ?? -1;
const setFlows = (id: number, active: number): void => world.maps.flows.set(id, { active, pending: 0, recount: 0 });
const detach = (service: Record<string, unknown>, endpoint = '10.0.0.1'): void =>
  world.post(body({ oper: 2, ...service }, [endpoint]));
const listed = () =>
  listRules([...world.stored.values()], world) as {
    endpoints: { endpointIP: string }[];
    draining?: { endpointIP: string; state: string; stats: { current: number }; until: string }[];
  }[];

/** A rule with a flow to 10.0.0.1. */
function withFlow(service: Record<string, unknown> = {}): number {
  world.post(body(service));
  const id = idOf('10.0.0.1');
  setFlows(id, 1);
  return id;
}

describe('an endpoint that leaves its rule', () => {
  it('has its flows cut at once, and only its own', async () => {
    const id = withFlow();
    setFlows(idOf('10.0.0.2'), 1);
    detach({});
    await pass(20);
    expect([...new Set(world.cuts.flat())]).toEqual([id]);
    expect([flagsOf(id), flagsOf(idOf('10.0.0.2'))]).toEqual([CUT, 0]);
  });

  it('is cut again when a packet was just choosing it, and gives its id free then', async () => {
    const id = withFlow();
    detach({});
    await pass(20);
    const before = world.cuts.length;
    await pass();
    expect(world.cuts.length).toBeGreaterThan(before);
    setFlows(id, 0);
    await pass();
    expect([world.state.endpointIds.inUse, world.retirement.pending]).toEqual([1, 0]);
  });

  it('has both ends told where the rule wants it', async () => {
    const id = withFlow({ onEndpointDown: 'reset' });
    detach({});
    await pass(20);
    expect(flagsOf(id)).toBe(CUT | RESET);
  });

  it('drains for as long as the request says, and is cut then', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    expect(slotsSeen(world)).toEqual(['10.0.0.2']);
    await pass(28_000);
    expect([world.cuts, flagsOf(id)]).toEqual([[], 0]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect([world.cuts[0], flagsOf(id)]).toEqual([[id], CUT]);
    expect([...world.maps.drain.entries()]).toEqual([]);
  });

  it('drains as its rule says, when it is replaced without it', async () => {
    withFlow({ drainTimeout: 30 });
    world.post(body({ drainTimeout: 30 }, ['10.0.0.2']));
    await pass(20_000);
    expect(world.cuts).toEqual([]);
    await pass(12_000);
    expect(world.cuts).not.toEqual([]);
  });

  it('is cut at once when the request says so, whatever the rule says', async () => {
    withFlow({ drainTimeout: 30 });
    detach({ drainTimeout: 0 });
    await pass(20);
    expect(world.cuts).not.toEqual([]);
    expect([...world.stored.values()][0]?.drainTimeout).toBe(30);
  });

  it('drains as the config says where neither request nor rule does', async () => {
    world = createWorld({ drainTimeout: 30 });
    const id = withFlow();
    detach({});
    expect(world.maps.drain.get(id)?.until).toBe(Math.ceil(Date.now() / 1000) + 30);
    world.post(body({ oper: 1, drainTimeout: 10 }, ['10.0.0.1']));
    detach({});
    expect(world.maps.drain.get(id)?.until).toBe(Math.ceil(Date.now() / 1000) + 10);
  });

  it('is free as soon as its flows have ended', async () => {
    const id = withFlow();
    detach({ drainTimeout: 3600 });
    await pass();
    expect(world.retirement.pending).toBe(1);
    setFlows(id, 0);
    await pass();
    expect([world.retirement.pending, world.state.endpointIds.inUse, world.cuts]).toEqual([0, 1, []]);
    expect([...world.maps.drain.entries()]).toEqual([]);
  });

  it('keeps its id and counters when it comes back while it drains', async () => {
    const id = withFlow();
    world.maps.stats.set(id, { packets: 9n, bytes: 900n, flows: 1n });
    detach({ drainTimeout: 30 });
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    expect(idOf('10.0.0.1')).toBe(id);
    await pass(40_000);
    expect([world.cuts, world.maps.stats.get(id)?.packets, flagsOf(id)]).toEqual([[], 9n, 0]);
  });

  it('is in service again when it comes back after it was marked to be cut', async () => {
    const id = withFlow();
    detach({});
    await pass(20);
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    expect([idOf('10.0.0.1'), flagsOf(id)]).toEqual([id, 0]);
    world.cuts.length = 0;
    await pass(5_000);
    expect(world.cuts).toEqual([]);
  });

  it('is shown while it drains, apart from those of the rule', () => {
    withFlow();
    detach({ drainTimeout: 30 });
    expect(listed()[0]?.endpoints.map(({ endpointIP }) => endpointIP)).toEqual(['10.0.0.2']);
    expect(listed()[0]?.draining).toMatchObject([
      { endpointIP: '10.0.0.1', targetPort: 8080, state: 'draining', counter: '0:0', stats: { current: 1 } },
    ]);
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 30_000).toISOString();
    expect(listed()[0]?.draining?.[0]?.until).toBe(until);
    expect(endpointDirectory(world).list()).toContainEqual(
      expect.objectContaining({ address: '10.0.0.1', active: false, rules: 0, draining: expect.anything() }),
    );
  });
});

describe('a rule with an endpoint that drains', () => {
  it('posted as it is listed is the same rule, and the endpoint stays out', () => {
    withFlow();
    detach({ drainTimeout: 30 });
    expect(() => world.post(listed()[0])).toThrow('is already so');
    expect(slotsSeen(world)).toEqual(['10.0.0.2']);
  });
});

describe('the note of a drain', () => {
  const notes = (): number[] => [...world.maps.drain.entries()].map(([id]) => id);

  it('goes when the endpoint is back', () => {
    withFlow();
    detach({ drainTimeout: 30 });
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    expect(notes()).toEqual([]);
  });

  it('does not refuse a request by being in the way, and goes soon', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    const before = world.operations();
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    const writes = world.operations() - before;
    detach({ drainTimeout: 30 });
    for (let nth = 1; nth <= writes && notes().length === 1; nth++) {
      world.failWrite = nth;
      // Either nothing has happened, or all of it and the note is the one thing left.
      try {
        world.post(body({ oper: 1 }, ['10.0.0.1']));
      } catch {
        expect(slotsSeen(world)).toEqual(['10.0.0.2']);
        continue;
      }
      expect(slotsSeen(world)).toEqual(['10.0.0.2', '10.0.0.1']);
      break;
    }
    world.failWrite = undefined;
    await pass();
    expect([notes(), flagsOf(id), world.drains.size]).toEqual([[], 0, 0]);
  });

  it('goes at the deadline although it cannot be removed then, and the flows are cut in time', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    await pass(28_000);
    world.failWrite = 1;
    await pass(4_000);
    expect([world.cuts[0], flagsOf(id), notes()]).toEqual([[id], CUT, []]);
  });

  it('goes with the id, after a try that failed', async () => {
    const id = withFlow();
    detach({ drainTimeout: 3600 });
    setFlows(id, 0);
    for (let nth = 1; nth <= 6; nth++) {
      world.failWrite = nth;
      await pass();
      world.failWrite = undefined;
    }
    await pass();
    expect([notes(), world.state.endpointIds.inUse]).toEqual([[], 1]);
  });

  it('of an endpoint of a deleted rule goes with its own last flow, not the last of the rule', async () => {
    const id = withFlow();
    const other = idOf('10.0.0.2');
    setFlows(other, 1);
    world.remove(firstKey(world), 3600);
    await pass();
    expect(notes()).toEqual([id, other]);
    setFlows(id, 0);
    await pass();
    expect(notes()).toEqual([other]);
    world = world.restart();
    await pass();
    expect([notes(), world.cuts.flat().includes(other), hasAddress(world, '20.20.20.1')]).toEqual([
      [other],
      false,
      true,
    ]);
  });

  it('is not waited for where a flow came so late that none was left', async () => {
    const id = withFlow();
    setFlows(idOf('10.0.0.2'), 1);
    world.remove(firstKey(world), 3600);
    await pass();
    setFlows(id, 0);
    await pass();
    [id, idOf('10.0.0.2')].forEach((one, index) => {
      setFlows(one, 1 - index);
    });
    await pass();
    await pass();
    expect([world.maps.serviceState.get(1)?.alive, flagsOf(id)]).toEqual([0, CUT]);
  });

  it('counts when the daemon died while it put the endpoint back', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    const without = new Map(world.stored);
    const note = world.maps.drain.get(id);
    world.post(body({ oper: 1 }, ['10.0.0.1']));
    // The last of it was not done, and nobody was answered.
    if (note) world.maps.drain.set(id, note);
    world.stored.clear();
    for (const [key, rule] of without) world.stored.set(key, rule);
    world = world.restart();
    await pass(10_000);
    expect([notes(), world.cuts, world.maps.endpoint.get(id)?.weight]).toEqual([[id], [], WEIGHT_LEFT]);
    await pass(22_000);
    expect([notes(), world.cuts[0]]).toEqual([[], [id]]);
  });
});

describe('a rule that is deleted', () => {
  it('drains: no new flow, the rest goes on, the address stays', async () => {
    const id = withFlow();
    world.remove(firstKey(world), 30);
    expect([...world.maps.service.entries()]).toEqual([]);
    await pass(25_000);
    expect([world.purged, world.cuts, hasAddress(world, '20.20.20.1')]).toEqual([[], [], true]);
    expect(world.maps.serviceState.get(1)?.alive).toBe(1);
    expect(endpointDirectory(world).list()).toMatchObject([{ address: '10.0.0.1' }]);
    await pass(6_000);
    expect([flagsOf(id), world.maps.serviceState.get(1)?.alive, world.purged[0]]).toEqual([CUT, 0, [1]]);
    expect(hasAddress(world, '20.20.20.1')).toBe(false);
    setFlows(id, 0);
    await pass();
    expect(snapshot(world)).toEqual({});
  });

  it('is over when its flows have ended', async () => {
    const id = withFlow();
    world.remove(firstKey(world), 3600);
    await pass();
    setFlows(id, 0);
    await pass();
    await pass();
    expect([world.retirement.pending, world.cuts, snapshot(world)]).toEqual([0, [], {}]);
    expect(hasAddress(world, '20.20.20.1')).toBe(false);
  });

  it('is cut at once when the request says so, whatever rule and config say', async () => {
    world = createWorld({ drainTimeout: 30 });
    withFlow({ drainTimeout: 60 });
    world.remove(firstKey(world), 0);
    await pass(20);
    expect([world.purged, [...world.maps.drain.entries()]]).toEqual([[[1]], []]);
  });

  it('is over in a moment when nobody used it, whatever left it just before', async () => {
    world.post(body());
    detach({});
    world.remove(firstKey(world), 3600);
    await vi.advanceTimersByTimeAsync(500);
    expect([[...world.maps.drain.entries()], world.retirement.pending]).toEqual([[], 0]);
    expect(hasAddress(world, '20.20.20.1')).toBe(false);
  });

  it('leaves its address to others that have it, until the last of them has drained', async () => {
    for (const port of [80, 81]) world.post(body({ port }, ['10.0.0.1']));
    const ids = [...world.maps.endpoint.entries()].map(([id]) => id);
    for (const id of ids) setFlows(id, 1);
    world.remove('20.20.20.1|tcp|80|0|', 10);
    await pass(12_000);
    expect(hasAddress(world, '20.20.20.1')).toBe(true);
    world.remove('20.20.20.1|tcp|81|0|', 30);
    await pass(20_000);
    expect(hasAddress(world, '20.20.20.1')).toBe(true);
    for (const id of ids) setFlows(id, 0);
    await pass();
    await pass();
    expect(hasAddress(world, '20.20.20.1')).toBe(false);
  });

  it('tells both ends before it dies where it wants it', async () => {
    const id = withFlow({ onEndpointDown: 'reset' });
    world.remove(firstKey(world));
    expect(world.maps.serviceState.get(1)?.alive).toBe(1);
    await pass(20);
    expect([flagsOf(id), world.cuts[0], world.purged[0]]).toEqual([CUT | RESET, [1, 2], [1]]);
    expect(world.maps.serviceState.get(1)?.alive).toBe(0);
  });

  it.each(['goes on', 'is another'])('does not drain what was to be cut already, and the daemon %s', async (daemon) => {
    const id = withFlow();
    setFlows(idOf('10.0.0.2'), 1);
    detach({});
    world.remove(firstKey(world), 30);
    if (daemon === 'is another') world = world.restart();
    await pass();
    expect([...new Set(world.cuts.flat())]).toEqual([id]);
    expect([flagsOf(id), flagsOf(idOf('10.0.0.2'))]).toEqual([CUT, 0]);
    expect([...world.maps.drain.entries()].map(([one]) => one)).toEqual([idOf('10.0.0.2')]);
    setFlows(id, 0);
    setFlows(idOf('10.0.0.2'), 0);
    await pass();
    await pass();
    expect(Object.keys(snapshot(world)).filter((key) => !key.startsWith('slot'))).toEqual([]);
  });

  it('and made again has nothing to do with what drains', async () => {
    const id = withFlow();
    world.remove(firstKey(world), 30);
    world.post(body());
    await pass(40_000);
    expect([hasAddress(world, '20.20.20.1'), world.maps.serviceState.get(2)?.alive]).toEqual([true, 1]);
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(flagsOf(id)).toBe(CUT);
  });
});

describe('an endpoint that fails', () => {
  const fail = (address = '10.0.0.1') => world.rules.setEndpointActive(address, 'tcp', 8080, false);

  it('keeps its flows, unless something else is asked for', async () => {
    const id = withFlow();
    fail();
    await pass();
    expect([world.cuts, flagsOf(id)]).toEqual([[], 0]);
  });

  it.each([
    ['cut', CUT],
    ['reset', CUT | RESET],
  ] as const)('has its flows cut (%s) in the rules that want it', async (onEndpointDown, flags) => {
    const id = withFlow({ onEndpointDown });
    world.post(body({ port: 81 }, ['10.0.0.1']));
    fail();
    await pass();
    expect(world.cuts).toEqual([[id]]);
    expect([...world.maps.endpoint.entries()].map(([, entry]) => entry.flags)).toEqual([flags, 0, 0]);
  });

  it('does so by the plugin’s config', async () => {
    world = createWorld({ onEndpointDown: 'cut' });
    const id = withFlow();
    fail();
    await pass();
    expect(world.cuts).toEqual([[id]]);
  });

  it('is not cut any more once it is in service again', async () => {
    const id = withFlow({ onEndpointDown: 'cut' });
    fail();
    world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, true);
    await pass();
    expect([world.cuts.flat(), flagsOf(id)]).toEqual([[], 0]);
  });

  it('stays marked through an update of the rule, until it is in service again', async () => {
    const id = withFlow({ onEndpointDown: 'cut' });
    fail();
    world.post(body({ onEndpointDown: 'cut', name: 'web' }));
    await pass();
    expect([world.cuts, flagsOf(id)]).toEqual([[[id]], CUT]);
    world.rules.setEndpointActive('10.0.0.1', 'tcp', 8080, true);
    expect(flagsOf(id)).toBe(0);
  });

  it.each([
    ['keep', 0],
    ['cut', CUT],
  ] as const)(
    'has its flows as that wants it (%s) when it leaves and is back before they were cut',
    async (down, flags) => {
      const id = withFlow({ onEndpointDown: down });
      // Who knows that it is down.
      world.post(body({ port: 81 }, ['10.0.0.1']));
      fail();
      detach({});
      world.post(body({ oper: 1 }, ['10.0.0.1']));
      await pass();
      expect([world.cuts.flat().includes(id), flagsOf(id)]).toEqual([down === 'cut', flags]);
    },
  );

  it('is cut by the next daemon when the pass did not come', async () => {
    const id = withFlow({ onEndpointDown: 'reset' });
    fail();
    world = world.restart();
    world.cuts.length = 0;
    await pass();
    expect([world.cuts, flagsOf(id)]).toEqual([[[id]], CUT | RESET]);
  });
});

describe('a daemon that comes back', () => {
  it('keeps the deadline of an endpoint, whenever it ended', async () => {
    const id = withFlow({ onEndpointDown: 'reset' });
    detach({ drainTimeout: 30 });
    await pass(10_000);
    world = world.restart();
    expect(listed()[0]?.draining).toMatchObject([{ endpointIP: '10.0.0.1', stats: { current: 1 } }]);
    await pass(15_000);
    expect([world.cuts, world.maps.endpoint.get(id)?.weight]).toEqual([[], WEIGHT_LEFT]);
    await pass(7_000);
    expect([world.cuts[0], flagsOf(id)]).toEqual([[id], CUT | RESET]);
  });

  it('ends a drain as it was meant to when it began, whatever the rule says by now', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    world.post(body({ oper: 1, onEndpointDown: 'reset' }, ['10.0.0.3']));
    world = world.restart();
    await pass(32_000);
    expect(flagsOf(id)).toBe(CUT);
  });

  it('cuts at once what should have been cut meanwhile', async () => {
    const id = withFlow();
    detach({ drainTimeout: 30 });
    world.retirement.stop();
    vi.setSystemTime(Date.now() + 100_000);
    world = world.restart();
    await pass(20);
    expect(world.cuts[0]).toEqual([id]);
  });

  it('keeps a deleted rule’s flows and address until the deadline', async () => {
    const id = withFlow();
    world.remove(firstKey(world), 30);
    await pass(10_000);
    world = world.restart();
    await pass(10_000);
    expect([world.maps.serviceState.get(1)?.alive, hasAddress(world, '20.20.20.1')]).toEqual([1, true]);
    expect(endpointDirectory(world).list()).toMatchObject([{ address: '10.0.0.1' }]);
    await pass(12_000);
    expect([flagsOf(id), hasAddress(world, '20.20.20.1')]).toEqual([CUT, false]);
    setFlows(id, 0);
    await pass();
    await pass();
    expect(Object.keys(snapshot(world)).filter((key) => !key.startsWith('slot'))).toEqual([]);
    expect(world.retirement.pending).toBe(0);
  });

  it('forgets a drain of an endpoint that is in the rule', async () => {
    const id = withFlow();
    const before = new Map(world.stored);
    detach({ drainTimeout: 30 });
    // The journal has not got it: nobody was answered.
    world.stored.clear();
    for (const [key, rule] of before) world.stored.set(key, rule);
    world = world.restart();
    await pass(40_000);
    expect([world.cuts, idOf('10.0.0.1'), [...world.maps.drain.entries()]]).toEqual([[], id, []]);
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '10.0.0.2']);
  });
});

describe('a cut that fails', () => {
  it('is tried again with the next pass', async () => {
    const id = withFlow();
    world.failPass = true;
    detach({});
    await pass(20);
    expect(world.cuts).toEqual([]);
    world.failPass = false;
    await pass();
    expect(world.cuts[0]).toEqual([id]);
  });
});
