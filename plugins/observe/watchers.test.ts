import { encodeBytes } from '@loxilb/sdk';
import { createTestContext } from '@loxilb/sdk/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventQueue, formatMessage } from './event-queue.js';
import { DpCounter, type DpEvent, type DpObserve, dpEvent } from './layout.gen.js';
import { observeSpec } from './maps.js';
import type { ObservedEvent } from './model.js';
import { mergeFilters, Watchers, type WatchFilter } from './watchers.js';

const ALL: WatchFilter = { kinds: ['drop', 'pass', 'event'], sample: 1 };
const DROPS: WatchFilter = { kinds: ['drop'], sample: 1 };

const labels = {
  service: (id: number) => ({ service: `s${id}`, address: `20.20.20.${id}:80/tcp` }),
  endpoint: (id: number) => `10.0.0.${id}:8080`,
  interface: (ifindex: number) => `eth${ifindex}`,
};

let test: ReturnType<typeof createTestContext<object>>;
let watchers: Watchers;
let random = 0;

beforeEach(() => {
  random = 0;
  test = createTestContext({ config: {} });
  const { dataplane } = test.context;
  const observe = test.context.map(observeSpec);
  watchers = new Watchers({ dataplane, observe, labels, maxWatchers: 3, queueEvents: 2, random: () => random });
});
afterEach(() => watchers.stop());

function told(): DpObserve | undefined {
  return test.context.view(observeSpec).get(0);
}

function feed(event: Partial<DpEvent>): boolean {
  const whole: DpEvent = {
    ...{ time: process.hrtime.bigint(), reason: DpCounter.DROP_SOURCE, serviceId: 7, endpointId: 3, ifindex: 2 },
    ...{ length: 60, sport: 1000, dport: 80, saddr: '10.9.9.9', daddr: '20.20.20.7', proto: 6, tcpFlags: 2 },
    ...event,
  };
  return test.feedRing('dp_event', encodeBytes(dpEvent, whole));
}

/** The next piece, as messages: name and data. */
async function next(queue: EventQueue): Promise<[string, unknown][]> {
  const { value = '' } = await queue.next();
  return value
    .split('\n\n')
    .filter((text) => text !== '')
    .map((text) => {
      const [, name = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(text) ?? [];
      return [name, JSON.parse(data)];
    });
}

describe('watchers', () => {
  it('cost nothing while there are none', () => {
    watchers.reset();
    expect(told()?.kinds ?? 0).toBe(0);
    expect(feed({})).toBe(false);
    expect(test.maps.get('dp_observe')?.writes).toBe(0);
  });

  it('silence what an earlier daemon had switched on', () => {
    test.context.map(observeSpec).set(0, { kinds: 7, sample: 0, serviceId: 0, lost: 0 });
    watchers.reset();
    expect(told()?.kinds).toBe(0);
  });

  it('are told of packets until they go', async () => {
    const queue = watchers.add(ALL);
    expect(told()).toEqual({ kinds: 7, sample: 1, serviceId: 0, lost: 0 });
    expect(await next(queue)).toEqual([['open', { kinds: ALL.kinds, sample: 1 }]]);
    feed({});
    const [[name, data] = []] = await next(queue);
    expect(name).toBe('packet');
    expect(data).toEqual({
      ...{ kind: 'drop', reason: 'source', number: 9, service: 's7', serviceAddress: '20.20.20.7:80/tcp' },
      ...{ endpoint: '10.0.0.3:8080', interface: 'eth2', protocol: 'tcp', source: '10.9.9.9:1000' },
      ...{ destination: '20.20.20.7:80', length: 60, tcpFlags: 'SYN' },
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    });
    expect(Math.abs(Date.parse((data as ObservedEvent).time) - Date.now())).toBeLessThan(5_000);
    const pending = queue.next();
    await queue.return();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(told()?.kinds).toBe(0);
    expect(feed({})).toBe(false);
  });

  it('get what they asked for, each', async () => {
    const [all, drops] = [watchers.add(ALL), watchers.add({ ...DROPS, serviceId: 8 })];
    await Promise.all([next(all), next(drops)]);
    feed({ reason: DpCounter.EVENT_FLOW_CREATED });
    feed({ serviceId: 8 });
    expect((await next(all)).map(([, data]) => (data as ObservedEvent).reason)).toEqual(['flow_created', 'source']);
    expect((await next(drops)).map(([, data]) => (data as ObservedEvent).service)).toEqual(['s8']);
  });

  it('are not told of what was in the ring before', async () => {
    const queue = watchers.add(ALL);
    await next(queue);
    feed({ time: 1n });
    feed({ serviceId: 9 });
    expect((await next(queue)).map(([, data]) => (data as ObservedEvent).service)).toEqual(['s9']);
  });

  it('sample by themselves what others want more of', async () => {
    const [all, few] = [watchers.add(ALL), watchers.add({ ...ALL, sample: 10 })];
    await Promise.all([next(all), next(few)]);
    random = 0.5;
    feed({ serviceId: 1 });
    random = 0.05;
    feed({ serviceId: 2 });
    expect((await next(all)).length).toBe(2);
    expect((await next(few)).map(([, data]) => (data as ObservedEvent).service)).toEqual(['s2']);
  });

  it('are limited', () => {
    for (let index = 0; index < 3; index++) watchers.add(ALL);
    expect(() => watchers.add(ALL)).toThrow(expect.objectContaining({ code: 'OBSERVE_WATCHERS', status: 503 }));
    expect(watchers.count).toBe(3);
  });

  it('are gone when the packet path cannot be told', () => {
    test.failWrite(1, new Error('injected'));
    expect(() => watchers.add(ALL)).toThrow('injected');
    expect(watchers.count).toBe(0);
    expect(feed({})).toBe(false);
  });

  it('end with the daemon', async () => {
    const queue = watchers.add(ALL);
    await next(queue);
    const pending = queue.next();
    watchers.stop();
    expect((await pending).done).toBe(true);
    expect(watchers.count).toBe(0);
  });
});

it('merges what all want', () => {
  expect(mergeFilters([DROPS])).toEqual({ kinds: 1, sample: 1, serviceId: 0 });
  expect(mergeFilters([{ ...DROPS, serviceId: 7 }])).toEqual({ kinds: 1, sample: 1, serviceId: 7 });
  const two: WatchFilter[] = [
    { kinds: ['drop'], serviceId: 7, sample: 100 },
    { kinds: ['event'], serviceId: 8, sample: 10 },
  ];
  expect(mergeFilters(two)).toEqual({ kinds: 5, sample: 10, serviceId: 0 });
});

describe('EventQueue', () => {
  it('drops what a slow client does not take, and tells how much', async () => {
    const queue = new EventQueue({ limit: 2, onEnd: () => undefined });
    for (const number of [1, 2, 3, 4]) queue.push(formatMessage('packet', { number }));
    expect(await next(queue)).toEqual([
      ['packet', { number: 1 }],
      ['packet', { number: 2 }],
      ['lost', { events: 2, where: 'client' }],
    ]);
    queue.push(formatMessage('packet', { number: 5 }));
    expect(await next(queue)).toEqual([['packet', { number: 5 }]]);
  });

  it('tells what the packet path lost, also when it is full', async () => {
    const queue = new EventQueue({ limit: 1, onEnd: () => undefined });
    queue.push(formatMessage('packet', { number: 1 }));
    queue.lose(7);
    queue.lose(3);
    expect(await next(queue)).toEqual([
      ['packet', { number: 1 }],
      ['lost', { events: 10, where: 'packet path' }],
    ]);
    const pending = next(queue);
    queue.lose(2);
    expect(await pending).toEqual([['lost', { events: 2, where: 'packet path' }]]);
  });

  it('knows for how long nobody took anything', async () => {
    const queue = new EventQueue({ limit: 2, onEnd: () => undefined });
    expect(queue.stalledFor()).toBe(0);
    queue.push('x');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(queue.stalledFor()).toBeGreaterThan(10);
    await queue.next();
    expect(queue.stalledFor()).toBe(0);
  });

  it('keeps alive only who waits', async () => {
    const queue = new EventQueue({ limit: 2, onEnd: () => undefined });
    queue.keepAlive();
    const pending = queue.next();
    queue.keepAlive();
    expect((await pending).value).toBe(': alive\n\n');
  });

  it('ends once', async () => {
    let ends = 0;
    const queue = new EventQueue({ limit: 2, onEnd: () => void ends++ });
    queue.push('x');
    await queue.return();
    await queue.return();
    queue.push('y');
    expect(await queue.next()).toEqual({ done: true, value: undefined });
    expect(ends).toBe(1);
  });
});
