import { expect, it } from 'vitest';
import { recordingLog } from '../testing/silent-log.js';
import { declareDataPlaneMetrics, declareProcessMetrics } from './core-metrics.js';
import { createRootLog } from './log.js';
import { Metrics } from './metrics.js';

it('collects when scraped, and only then', async () => {
  const metrics = new Metrics(recordingLog());
  let reads = 0;
  metrics.factory('lb').counter({
    name: 'endpoint_bytes_total',
    help: 'Bytes',
    labels: ['endpoint'],
    collect: () => [{ labels: { endpoint: '10.0.0.1' }, value: ++reads }],
  });
  expect(reads).toBe(0);
  expect(await metrics.scrape()).toContain('loxilb_lb_endpoint_bytes_total{endpoint="10.0.0.1"} 1');
  expect(await metrics.scrape()).toContain('loxilb_lb_endpoint_bytes_total{endpoint="10.0.0.1"} 2');
});

it('keeps one broken metric from costing the others', async () => {
  const log = recordingLog();
  const metrics = new Metrics(log);
  metrics.factory('a-b').gauge({ name: 'x', help: 'x', collect: () => Promise.reject(new Error('broken')) });
  metrics.factory('a-b').gauge({ name: 'y', help: 'y', exactName: true, collect: () => [{ value: 5 }] });
  const text = await metrics.scrape();
  expect(text).toContain('\ny 5');
  expect(text).not.toContain('loxilb_a_b_x');
  expect(log.lines).toHaveLength(1);
});

it('refuses a name that is taken, until its owner lets go', () => {
  const metrics = new Metrics(recordingLog());
  const spec = { name: 'x', help: 'x', exactName: true, collect: () => [] };
  metrics.factory('a').gauge(spec);
  expect(() => metrics.factory('b').gauge(spec)).toThrow('metric x of b is already declared by a');
  metrics.release('a');
  metrics.factory('b').gauge(spec);
  expect(() => metrics.factory('b').gauge({ ...spec, name: 'bad name' })).toThrow('has a bad name');
});

it('sorts counters of the packet path by family', async () => {
  const metrics = new Metrics(recordingLog());
  declareDataPlaneMetrics(metrics.factory('core'), () => ({
    drop_no_endpoint: 3,
    pass_fragment: 1,
    event_flow_created: 9,
  }));
  declareProcessMetrics(metrics.factory('core'));
  const text = await metrics.scrape();
  expect(text).toContain('loxilb_dataplane_drops_total{reason="no_endpoint"} 3');
  expect(text).toContain('loxilb_dataplane_passes_total{reason="fragment"} 1');
  expect(text).toContain('loxilb_dataplane_events_total{reason="flow_created"} 9');
  expect(text).toMatch(/process_resident_memory_bytes \d{7,}/);
});

it('knows the level names of existing command lines', () => {
  expect(createRootLog('warning').level).toBe('warn');
  expect(createRootLog('emergency').level).toBe('fatal');
  expect(() => createRootLog('chatty')).toThrow('unknown log level chatty');
});
