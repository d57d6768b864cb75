import { definePlugin, defineResource, type Plugin, type PluginContext, token, z } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { createContainer, Services } from '../container.js';
import { Catalog } from '../router/catalog.js';
import { EphemeralStore } from '../state/store.js';
import { Metrics } from '../telemetry/metrics.js';
import { fakeBroker } from '../testing/fake-broker.js';
import { recordingLog } from '../testing/silent-log.js';
import { WorkerPools } from '../workers/worker-pools.js';
import { Lifecycle } from './lifecycle.js';
import type { ScopeParts } from './plugin-scope.js';

type Setup = (ctx: PluginContext<Record<string, unknown>>) => void | Promise<void>;

function plugin(name: string, setup: Setup = () => undefined, more: Partial<Plugin> = {}): Plugin {
  const config = z.strictObject({ level: z.number().default(1) });
  return { ...definePlugin({ name, sdk: '^0.1.0', summary: name, config, setup }), ...more };
}

function host(plugins: readonly Plugin[], options: Record<string, unknown> = {}, deadlineMs = 200) {
  const container = createContainer();
  const parts: ScopeParts = {
    broker: fakeBroker(),
    catalog: new Catalog(),
    metrics: new Metrics(recordingLog()),
    workers: new WorkerPools(),
    services: new Services(container),
    store: new EphemeralStore(),
    log: () => recordingLog(),
  };
  const loaded = plugins.map((entry) => ({ plugin: entry, source: entry.name, options: options[entry.name] ?? {} }));
  return { parts, lifecycle: new Lifecycle(loaded, { parts, log: recordingLog(), deadlineMs }) };
}

const GREETER = token<{ greet(): string }>('test.greeter');

describe('Lifecycle', () => {
  it('starts in dependency order and stops in reverse', async () => {
    const events: string[] = [];
    const traced = (name: string, dependsOn: string[] = []) =>
      plugin(
        name,
        (ctx) => {
          events.push(`setup ${name}`);
          ctx.onStart(() => void events.push(`start ${name}`));
          ctx.onStop(() => void events.push(`stop ${name}`));
        },
        { dependsOn },
      );
    const { lifecycle } = host([traced('c', ['b']), traced('b', ['a']), traced('a')]);
    await lifecycle.setup();
    await lifecycle.start();
    expect(lifecycle.status().map(({ name, state }) => `${name} ${state}`)).toEqual([
      'a started',
      'b started',
      'c started',
    ]);
    await lifecycle.stop();
    expect(events).toEqual([
      ...['setup a', 'setup b', 'setup c', 'start a', 'start b', 'start c'],
      ...['stop c', 'stop b', 'stop a'],
    ]);
  });

  it('tells every plugin that does not fit, at once', () => {
    const bad = [
      plugin('a', undefined, { dependsOn: ['conntrak'] }),
      plugin('b', undefined, { sdk: '^9.0.0' }),
      plugin('Bad Name'),
      plugin('conntrack'),
      plugin('conntrack'),
    ];
    expect(() => host(bad)).toThrow(
      [
        'plugin a failed at check: needs plugin conntrak, which is not enabled, did you mean conntrack',
        'plugin b failed at check: was written for sdk ^9.0.0, this is 0.1.0',
        'plugin Bad Name failed at check: name Bad Name is not kebab-case',
        'plugin conntrack failed at check: conntrack and conntrack are both named conntrack',
      ].join('\n'),
    );
  });

  it('finds cycles', () => {
    const circle = [plugin('a', undefined, { dependsOn: ['b'] }), plugin('b', undefined, { dependsOn: ['a'] })];
    expect(() => host(circle)).toThrow('dependencies form a cycle: a -> b -> a');
  });

  it('checks options with a hint', async () => {
    const { lifecycle } = host([plugin('a')], { a: { levle: 3 } });
    await expect(lifecycle.setup()).rejects.toThrow(
      'plugin a failed at config: options of a: unknown option levle, did you mean level',
    );
  });

  it('offers services to plugins set up later', async () => {
    const heard: string[] = [];
    const { lifecycle } = host([
      plugin('user', (ctx) => void heard.push(ctx.use(GREETER).greet()), { dependsOn: ['giver'] }),
      plugin('giver', (ctx) => ctx.provide(GREETER, { greet: () => 'hello' })),
    ]);
    await lifecycle.setup();
    expect(heard).toEqual(['hello']);
  });

  it('names both plugins when a service comes too late', async () => {
    const { lifecycle } = host([
      plugin('user', (ctx) => void ctx.use(GREETER)),
      plugin('giver', (ctx) => ctx.provide(GREETER, { greet: () => '' })),
    ]);
    await expect(lifecycle.setup()).rejects.toThrow(
      'plugin user uses service test.greeter of plugin giver, which was set up after it (add giver to dependsOn of user)',
    );
  });

  it('says when nobody provides a service, and lets it be optional', async () => {
    const { lifecycle } = host([plugin('user', (ctx) => void ctx.use(GREETER))]);
    await expect(lifecycle.setup()).rejects.toThrow('which no plugin set up before it provides');
    const found: unknown[] = [];
    const other = host([plugin('user', (ctx) => void found.push(ctx.useOptional(GREETER)))]);
    await other.lifecycle.setup();
    expect(found).toEqual([undefined]);
  });

  it('reports every failed setup, but not those that follow from one', async () => {
    const boom = (text: string) => () => {
      throw new Error(text);
    };
    const { lifecycle } = host([
      plugin('a', boom('first')),
      plugin('b', boom('second')),
      plugin('c', boom('never reached'), { dependsOn: ['a'] }),
    ]);
    await expect(lifecycle.setup()).rejects.toThrow(
      'plugin a failed at setup: first\nplugin b failed at setup: second',
    );
  });

  it('stops what was started when a start fails, and reports what that costs', async () => {
    const events: string[] = [];
    const { lifecycle, parts } = host([
      plugin('a', (ctx) => {
        ctx.metrics.gauge({ name: 'x', help: 'x', collect: () => [] });
        ctx.onStop(() => {
          events.push('stop a');
          throw new Error('a would not stop');
        });
      }),
      plugin('b', (ctx) => {
        ctx.onStart(() => Promise.reject(new Error('no luck')));
        ctx.onStop(() => void events.push(`stop b, aborted ${ctx.signal.aborted}`));
      }),
      plugin('c', (ctx) => ctx.onStart(() => void events.push('start c'))),
    ]);
    await lifecycle.setup();
    await expect(lifecycle.start()).rejects.toThrow(
      'plugin b failed at start: no luck\nplugin a failed at stop: a would not stop',
    );
    expect(events).toEqual(['stop b, aborted true', 'stop a']);
    expect(parts.metrics.names).toEqual([]);
  });

  it('gives up on a hook that hangs', async () => {
    const { lifecycle } = host([plugin('slow', (ctx) => ctx.onStart(() => new Promise(() => undefined)))], {}, 20);
    await lifecycle.setup();
    await expect(lifecycle.start()).rejects.toThrow('start of plugin slow took longer than 20 ms');
  });

  it('takes back everything a plugin obtained', async () => {
    const thing = defineResource<{ name: string }>({
      kind: 'Thing',
      name: 'thing',
      path: '/config/thing',
      envelope: 'thingAttr',
      summary: 'Thing',
      schema: z.object({ name: z.string() }),
      key: ({ name }) => name,
      apply: () => undefined,
      remove: () => undefined,
      status: (desired) => desired,
      deletes: [],
      command: { name: 'thing', plugin: 'a', path: '/config/thing', envelope: 'thingAttr' },
    });
    const { lifecycle, parts } = host([
      plugin('a', (ctx) => {
        ctx.resource(thing);
        ctx.operation({ method: 'GET', path: '/a', summary: 'a', access: 'read', handle: () => null });
        ctx.metrics.counter({ name: 'a_total', help: 'a', collect: () => [] });
        ctx.provide(GREETER, { greet: () => '' });
      }),
    ]);
    await lifecycle.setup();
    await lifecycle.start();
    expect([parts.catalog.resources.length, parts.catalog.operations.length]).toEqual([1, 1]);
    await lifecycle.stop();
    expect([parts.catalog.resources.length, parts.catalog.operations.length]).toEqual([0, 0]);
    expect(parts.metrics.names).toEqual([]);
    expect(parts.services.find(GREETER)).toBeUndefined();
  });

  it('refuses two plugins on one path', async () => {
    const onPath = (name: string, path: string) =>
      plugin(name, (ctx) => ctx.operation({ method: 'GET', path, summary: name, access: 'read', handle: () => null }));
    const { lifecycle } = host([onPath('a', '/x/:id'), onPath('b', '/x/:name')]);
    await expect(lifecycle.setup()).rejects.toThrow('GET /x/:name of plugin b is already declared by plugin a');
  });
});
