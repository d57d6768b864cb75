import { isPlugin, type Plugin } from '../plugin.js';
import { type BenchOptions, createPluginBench, type PluginBench } from './plugin-bench.js';
import { createRemains } from './test-context.js';

export interface ConformanceOptions extends Omit<BenchOptions, 'remains'> {
  /** Valid POST bodies by resource name. Without any, a resource is only started and stopped. */
  readonly samples?: Readonly<Record<string, readonly unknown[]>>;
  /** Array maps whose elements mean nothing until another entry points to them: old bytes may stay in them. */
  readonly scratchMaps?: readonly string[];
}

export interface ConformanceCheck {
  readonly name: string;
  /** What is wrong; absent when nothing is. */
  readonly problem?: string;
}

/** Map writes of one sample are made to fail one after the other, up to this many. */
const MAX_INJECTED = 40;
/** How long a plugin may take to clear up after what was removed. */
const SETTLE_MS = 2_000;
const POLL_MS = 20;

type Check = (plugin: Plugin, options: ConformanceOptions) => Promise<void>;

/**
 * Puts a plugin through what the daemon will put it through: set up, started, stopped, failed half-way, restarted and
 * removed. Needs no test framework; report the checks with the one you have.
 *
 * @example
 * for (const check of await runConformance(hello)) test(check.name, () => assert.equal(check.problem, undefined));
 */
export async function runConformance(plugin: Plugin, options: ConformanceOptions = {}): Promise<ConformanceCheck[]> {
  const checks: ConformanceCheck[] = [];
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check(plugin, options);
      checks.push({ name });
    } catch (error) {
      checks.push({ name, problem: error instanceof Error ? error.message : String(error) });
    }
  }
  return checks;
}

const CHECKS: Readonly<Record<string, Check>> = {
  'is declared properly': checkDeclaration,
  'refuses unknown options': checkOptions,
  'does no I/O in setup': checkSetup,
  'declares well-formed metrics, and each can be read': checkMetrics,
  'lists what was posted': checkSamples,
  'stops without leaving timers or subscriptions': checkStop,
  'can be stopped after a start that failed half-way': checkHalfStart,
  'changes nothing when the data plane refuses': checkRefusals,
  'changes no right map entry when restarted': checkRestart,
  'leaves no map entry when removed': checkRemoval,
};

async function checkDeclaration(plugin: Plugin): Promise<void> {
  expect(isPlugin(plugin), 'it was not made with definePlugin');
  expect(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(plugin.name), `name ${plugin.name} is not kebab-case`);
  expect(plugin.summary.length > 0, 'it has no summary');
  await Promise.resolve();
}

async function checkOptions(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const known = plugin.config.safeParse(options.config ?? {});
  expect(known.success, `its options are refused: ${known.error?.message}`);
  const given = { ...(options.config as object | undefined), surelyUnknownOption: 1 };
  expect(!plugin.config.safeParse(given).success, 'config takes unknown options: use z.strictObject');
  await Promise.resolve();
}

async function checkSetup(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const timers = countTimers();
  const { test } = await createPluginBench(plugin, options);
  for (const { spec, calls } of test.maps.values()) {
    const made = Object.values(calls).reduce((sum, count) => sum + count, 0);
    expect(made === 0, `setup used map ${spec.name}: maps may be used from onStart on`);
  }
  expect(countTimers() <= timers, 'setup started a timer');
  await test.stop();
}

async function checkMetrics(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  await onBench(plugin, options, async (bench) => {
    postSamples(bench, options);
    const names = new Set<string>();
    for (const metric of bench.test.metrics) {
      expect(!names.has(metric.fullName), `metric ${metric.fullName} is declared twice`);
      names.add(metric.fullName);
      if (!metric.exactName && metric.kind === 'counter') {
        expect(metric.name.endsWith('_total'), `counter ${metric.name} does not end in _total`);
      }
      for (const { labels = {}, value } of await metric.collect()) {
        expect(Number.isFinite(value), `metric ${metric.fullName} is ${value}`);
        const unknown = Object.keys(labels).find((label) => !metric.labels?.includes(label));
        expect(unknown === undefined, `metric ${metric.fullName} has undeclared label ${unknown}`);
      }
    }
  });
}

async function checkSamples(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  await onBench(plugin, options, async (bench) => {
    postSamples(bench, options);
    for (const [name, bodies] of Object.entries(options.samples ?? {})) {
      const listed = bench.list(name);
      expect(listed.length > 0 || bodies.length === 0, `${name}: ${bodies.length} posted, none listed`);
      JSON.stringify(listed);
    }
    await Promise.resolve();
  });
}

async function checkStop(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const timers = countTimers();
  const bench = await createPluginBench(plugin, options);
  await bench.start();
  postSamples(bench, options);
  await bench.stop();
  const writes = () => [...bench.test.maps.values()].reduce((sum, map) => sum + map.writes, 0);
  const before = writes();
  await pause(POLL_MS);
  expect(countTimers() <= timers, `${countTimers() - timers} timers are left: clear them in onStop`);
  expect(bench.test.network.listeners === 0, 'a network subscription is left');
  expect(writes() === before, 'it went on writing maps after it was stopped');
  expect(bench.test.context.signal.aborted, 'its signal is not aborted');
}

async function checkHalfStart(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const timers = countTimers();
  for (let n = 1; n <= MAX_INJECTED; n++) {
    const bench = await createPluginBench(plugin, options);
    bench.test.failWrite(n, new Error('injected'));
    await bench.start().catch(() => undefined);
    const reached = !bench.test.failurePending;
    await bench.stop();
    expect(countTimers() <= timers, `timers are left after write ${n} of the start failed`);
    expect(bench.test.network.listeners === 0, `a network subscription is left after write ${n} of the start failed`);
    if (!reached) return;
  }
}

async function checkRefusals(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  for (const [name, bodies] of Object.entries(options.samples ?? {})) {
    for (const body of bodies) {
      for (let n = 1; n <= MAX_INJECTED; n++) if (!(await refuseWrite(plugin, options, name, body, n))) break;
    }
  }
}

/** @returns whether there was an n-th write */
async function refuseWrite(
  plugin: Plugin,
  options: ConformanceOptions,
  name: string,
  body: unknown,
  n: number,
): Promise<boolean> {
  let reached = false;
  await onBench(plugin, options, async (bench) => {
    const before = bench.snapshot();
    const listed = JSON.stringify(bench.list(name));
    bench.test.failWrite(n, new Error('injected'));
    let refused = false;
    try {
      bench.post(name, body);
    } catch {
      refused = true;
    }
    reached = !bench.test.failurePending;
    if (!reached) return;
    expect(refused, `${name}: write ${n} failed and nobody was told`);
    const changed = differences(before, bench.snapshot(), options.scratchMaps);
    expect(changed.length === 0, `${name}: write ${n} failed and left ${changed.join(', ')}`);
    expect(JSON.stringify(bench.list(name)) === listed, `${name}: write ${n} failed and the list changed`);
    await Promise.resolve();
  });
  return reached;
}

async function checkRestart(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const remains = createRemains();
  const first = await createPluginBench(plugin, { ...options, remains });
  await first.start();
  postSamples(first, options);
  const before = first.snapshot();
  await first.stop();
  const second = await createPluginBench(plugin, { ...options, remains });
  await second.start();
  const changed = differences(before, second.snapshot());
  await second.stop();
  expect(changed.length === 0, `these entries changed: ${changed.join(', ')}`);
}

async function checkRemoval(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const remains = createRemains();
  const first = await createPluginBench(plugin, { ...options, remains });
  await first.start();
  const empty = first.snapshot();
  postSamples(first, options);
  for (const name of Object.keys(options.samples ?? {})) first.removeAll(name);
  await first.stop();
  const second = await createPluginBench(plugin, { ...options, remains });
  await second.start();
  const left = await settle(() => differences(empty, second.snapshot(), options.scratchMaps));
  await second.stop();
  expect(left.length === 0, `these entries are left: ${left.join(', ')}`);
}

/** Some removals wait until flows have ended: the differences after a while, or as soon as there are none. */
async function settle(read: () => string[]): Promise<string[]> {
  for (let waited = 0; waited < SETTLE_MS && read().length > 0; waited += POLL_MS) await pause(POLL_MS);
  return read();
}

/** Names of the entries that are not the same, the first few. */
function differences(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
  scratchMaps: readonly string[] = [],
): string[] {
  return Object.keys({ ...before, ...after })
    .filter((key) => before[key] !== after[key] && !scratchMaps.includes(key.split(' ', 1)[0] as string))
    .slice(0, 5)
    .map((key) => `${key} (${before[key] ?? 'absent'} -> ${after[key] ?? 'absent'})`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function onBench(
  plugin: Plugin,
  options: ConformanceOptions,
  work: (bench: PluginBench) => Promise<void>,
): Promise<void> {
  const bench = await createPluginBench(plugin, options);
  try {
    await bench.start();
    await work(bench);
  } finally {
    await bench.stop();
  }
}

function postSamples(bench: PluginBench, options: ConformanceOptions): void {
  for (const [name, bodies] of Object.entries(options.samples ?? {})) for (const body of bodies) bench.post(name, body);
}

/** Timers that keep the process alive. */
function countTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout' || kind === 'Immediate').length;
}

function expect(holds: boolean, problem: string): void {
  if (!holds) throw new Error(problem);
}
