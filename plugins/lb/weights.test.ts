import { beforeEach, describe, expect, it } from 'vitest';
import { listRules } from './list-rules.js';
import { SELECTION } from './model.js';
import { body, createWorld, slotsSeen, type World } from './testing/world.js';

const SELECTIONS = Object.entries(SELECTION).filter(([, sel]) => sel <= SELECTION.lc);

let world: World;
beforeEach(() => {
  world = createWorld();
});

const chosen = (): string[] => [...new Set(slotsSeen(world))].sort();
const inMap = (): number[] =>
  [...world.maps.endpoint.entries()].map(([, { weight, serviceId }]) => (serviceId ? weight : 0));
const health = (address: string, isUp: boolean) => world.rules.setEndpointActive(address, 'tcp', 8080, isUp);

describe.each(SELECTIONS)('weight 0 with %s', (_, sel) => {
  const post = (weights: Record<string, number>, more = {}) =>
    world.post(body({ sel, ...more }, Object.entries(weights)));

  it('gets no new flow', () => {
    post({ '10.0.0.1': 1, '10.0.0.2': 0, '10.0.0.3': 2 });
    expect(chosen()).toEqual(['10.0.0.1', '10.0.0.3']);
  });

  it('comes and goes with an update', () => {
    post({ '10.0.0.1': 1, '10.0.0.2': 1 });
    post({ '10.0.0.2': 0 }, { oper: 1 });
    expect(chosen()).toEqual(['10.0.0.1']);
    post({ '10.0.0.2': 3 }, { oper: 1 });
    expect(chosen()).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  it('gets none when the others fail either', () => {
    post({ '10.0.0.1': 1, '10.0.0.2': 0 });
    health('10.0.0.1', false);
    expect(chosen()).toEqual([]);
    health('10.0.0.1', true);
    expect(chosen()).toEqual(['10.0.0.1']);
  });

  it('is no weight at all where every endpoint has it: all are equal', () => {
    post({ '10.0.0.1': 0, '10.0.0.2': 0, '10.0.0.3': 0 });
    expect([chosen(), inMap()]).toEqual([
      ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
      [1, 1, 1],
    ]);
    const turns = slotsSeen(world).filter((address) => address === '10.0.0.1').length;
    expect(Math.abs(turns / slotsSeen(world).length - 1 / 3)).toBeLessThan(0.01);
    health('10.0.0.2', false);
    expect(chosen()).toEqual(['10.0.0.1', '10.0.0.3']);
    world = world.restart();
    expect(chosen()).toEqual(['10.0.0.1', '10.0.0.3']);
    // And is shown as it was given.
    const [rule] = listRules([...world.stored.values()], world) as { endpoints: { weight: number }[] }[];
    expect(rule?.endpoints.map(({ weight }) => weight)).toEqual([0, 0, 0]);
  });

  it('means something as soon as one endpoint has another', () => {
    post({ '10.0.0.1': 0, '10.0.0.2': 0 });
    post({ '10.0.0.3': 1 }, { oper: 1 });
    expect([chosen(), inMap()]).toEqual([['10.0.0.3'], [0, 0, 1]]);
    post({ '10.0.0.3': 1 }, { oper: 2 });
    expect(chosen()).toEqual(['10.0.0.1', '10.0.0.2']);
  });
});
