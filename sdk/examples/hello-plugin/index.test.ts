import { createPluginBench, runConformance } from '@loxilb/sdk/testing';
import { describe, expect, it } from 'vitest';
import hello from './index.js';

const samples = { greeting: [{ name: 'world' }, { name: 'moon', text: 'good night', times: 3 }] };

describe('hello', () => {
  it('programs a greeting and shows it', async () => {
    const bench = await createPluginBench(hello);
    await bench.start();
    bench.post('greeting', { name: 'world' });
    expect(bench.list('greeting')).toEqual([{ name: 'world', text: 'hello', times: 1, programmed: true }]);
    expect(await bench.test.metrics[0]?.collect()).toEqual([{ value: 1 }]);
    bench.removeAll('greeting');
    expect(bench.snapshot()).toEqual({});
    await bench.stop();
  });

  it('refuses a name that does not fit', async () => {
    const bench = await createPluginBench(hello);
    await bench.start();
    expect(() => bench.post('greeting', { name: 'ein Gruß ööööö' })).toThrow(/at most 16 fit/);
    await bench.stop();
  });

  it('has commands made from its schema', async () => {
    const { command } = (await createPluginBench(hello)).resource('greeting');
    expect(command.create?.usage).toBe('greeting NAME [--text=<text>] [--times=<times>]');
    expect(command.create?.plan(['world'], { times: 2 }, () => undefined)).toEqual([
      { method: 'POST', path: '/config/greeting', body: { name: 'world', times: 2 } },
    ]);
    expect(command.delete?.plan(['wide world'], {}, () => undefined)).toEqual([
      { method: 'DELETE', path: '/config/greeting/name/wide%20world' },
    ]);
  });
});

describe('conformance', async () => {
  for (const { name, problem } of await runConformance(hello, { samples })) {
    it(name, () => expect(problem).toBeUndefined());
  }
});
