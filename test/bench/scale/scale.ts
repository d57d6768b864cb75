import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuNanoseconds, Daemon, ROOT, residentMegabytes } from '../daemon.js';
import type { PacketFigure } from '../packet/measure.js';
import { buildWrapper, measureProgram, OBJECT, runInside } from '../packet/packet.js';
import { buildPacketWorld, PACKET_NAMESPACE } from '../packet/world.js';
import { pause, run, tryRun } from '../process.js';
import { formatTable } from '../report.js';
import { Scope } from '../scope.js';
import type { FillInput, FillResult } from './fill.js';
import { packetRules } from './rules.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SERVICES = 10_000;
const CONNECTIONS = 16;
/** Two entries each: a table of 2^20 entries is full. */
const FLOWS = 500_000;
const IDLE_MS = 10_000;
const PACKETS = { samples: 9, repeat: 1 << 17, flows: 1 << 16 };

type Figures = [name: string, value: string, aim: string][];

/** What many rules and many flows cost, with a daemon in a namespace of its own. */
export async function measureScale(
  workDir: string,
  progress: (text: string) => void,
): Promise<{ text: string; data: Record<string, unknown> }> {
  const scope = new Scope();
  try {
    await buildPacketWorld(scope);
    const wrapper = await buildWrapper(workDir);
    const daemon = await Daemon.create(scope, PACKET_NAMESPACE, join(workDir, 'scale'));
    const pinned = join(daemon.bpfDir, 'programs/tc_ingress');
    const figures: Figures = [];
    let few: PacketFigure[] = [];
    await steps(daemon, figures, progress, [
      ['a full flow table', async () => reportFill(figures, await fill({ wrapper, object: OBJECT, flows: FLOWS }))],
      ['idle daemon', () => measureIdle(figures, daemon)],
      [
        'packets with few services',
        async () => {
          for (const rule of packetRules()) await daemon.request('POST', '/config/loadbalancer', rule);
          few = await measureProgram({ wrapper, pinned, ...PACKETS });
        },
      ],
      [`creating ${SERVICES} services`, () => measureCreation(figures, daemon)],
      [
        'packets with many services',
        async () => {
          // The first measurement's flows would make the tables colder than they were then.
          await daemon.request('DELETE', '/config/conntrack/all');
          reportLookup(figures, few, await measureProgram({ wrapper, pinned, ...PACKETS, firstFresh: 1 << 23 }));
        },
      ],
      ['restart', () => measureRestart(figures, daemon)],
      [
        'listing a full flow table',
        async () => {
          await fill({ wrapper, bpfDir: daemon.bpfDir, flows: FLOWS });
          await measureListing(figures, daemon, workDir);
        },
      ],
    ]);
    const text = formatTable(['scale', 'measured', 'aim'], figures);
    return { text, data: Object.fromEntries(figures.map(([name, value]) => [name, value])) };
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

/** One step that fails is a line of the report; the others are measured all the same. */
async function steps(
  daemon: Daemon,
  figures: Figures,
  progress: (text: string) => void,
  list: readonly [string, () => Promise<void>][],
): Promise<void> {
  for (const [name, step] of list) {
    progress(name);
    try {
      await step();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      process.stderr.write(`bench: ${name}: ${reason}\n${daemon.logTail()}\n`);
      figures.push([name, 'FAILED', '']);
    }
  }
}

async function fill(input: FillInput): Promise<FillResult> {
  return (await runInside(join(HERE, 'fill.ts'), [JSON.stringify(input)])) as FillResult;
}

function reportFill(figures: Figures, result: FillResult): void {
  figures.push(['kernel memory per direction of a flow', `${result.bytesPerDirection.toFixed(0)} B`, '<= 256 B']);
  if (!result.walk) return;
  figures.push(
    ['expiry walk over a million entries', `${result.walk.msPerMillion.toFixed(0)} ms`, '<= 200 ms'],
    ['  longest slice of it', `${result.walk.longestSliceMs.toFixed(1)} ms`, 'a few ms'],
  );
}

async function measureIdle(figures: Figures, daemon: Daemon): Promise<void> {
  const ready = await daemon.start();
  // It looks once into the tables an earlier daemon may have left, and tidies its memory.
  const first = await cpuShare(daemon);
  const later = await cpuShare(daemon);
  figures.push(
    ['start to ready, no rules', `${ready.toFixed(0)} ms`, '< 1500 ms'],
    ['resident memory, idle', `${residentMegabytes(daemon.pid).toFixed(0)} MB`, '< 150 MB'],
    ['CPU, idle, the first ten seconds', `${(first * 100).toFixed(2)} %`, '< 2 %'],
    ['CPU, idle, from then on', `${(later * 100).toFixed(2)} %`, '0 %'],
  );
}

/** Of one CPU, while nobody asks anything of the daemon. */
async function cpuShare(daemon: Daemon): Promise<number> {
  const before = cpuNanoseconds(daemon.pid);
  await pause(IDLE_MS);
  return (cpuNanoseconds(daemon.pid) - before) / (IDLE_MS * 1e6);
}

async function measureCreation(figures: Figures, daemon: Daemon): Promise<void> {
  const cpu = cpuNanoseconds(daemon.pid);
  const result = (await runInside(join(HERE, 'rest-load.ts'), ['0', String(SERVICES), String(CONNECTIONS)])) as {
    seconds: number;
    failed: number;
    firstFailure: string;
  };
  if (result.failed) throw new Error(`${result.failed} rules were refused, the first with ${result.firstFailure}`);
  const perRule = (cpuNanoseconds(daemon.pid) - cpu) / SERVICES / 1e3;
  figures.push(
    [
      `rules of 4 endpoints through REST, ${CONNECTIONS} connections`,
      `${(SERVICES / result.seconds).toFixed(0)} /s`,
      '>= 2000 /s',
    ],
    ['  CPU of the daemon per rule', `${perRule.toFixed(0)} us`, ''],
    ['resident memory with 10 000 services', `${residentMegabytes(daemon.pid).toFixed(0)} MB`, ''],
  );
}

function reportLookup(figures: Figures, few: readonly PacketFigure[], many: readonly PacketFigure[]): void {
  for (const name of ['established TCP', 'new flow', 'SYN flood, half-open table full']) {
    const one = few.find((figure) => figure.name === name);
    const all = many.find((figure) => figure.name === name);
    if (!one || !all) continue;
    const change = `${one.median.toFixed(0)} -> ${all.median.toFixed(0)} ns (best ${one.min.toFixed(0)} -> ${all.min.toFixed(0)})`;
    figures.push([`${name}: 1 -> 10 000 services`, change, 'within 5 %']);
  }
}

async function measureRestart(figures: Figures, daemon: Daemon): Promise<void> {
  await daemon.stop();
  const orderly = await daemon.start();
  await daemon.stop('SIGKILL');
  const killed = await daemon.start();
  figures.push(
    ['start to ready with 10 000 services', `${orderly.toFixed(0)} ms`, '< 2000 ms'],
    ['  after kill -9', `${killed.toFixed(0)} ms`, '< 2000 ms'],
  );
}

async function measureListing(figures: Figures, daemon: Daemon, workDir: string): Promise<void> {
  const output = join(workDir, 'ct.json');
  const get = `"$0" get ct -o json > "$1"`;
  const before = residentMegabytes(daemon.pid);
  const begin = performance.now();
  const listing = run(['sh', '-c', get, join(ROOT, 'bin/loxicmd'), output], { namespace: PACKET_NAMESPACE });
  const peak = await peakMemory(daemon, listing);
  const seconds = (performance.now() - begin) / 1e3;
  figures.push(
    ['get ct -o json of a million entries', `${seconds.toFixed(1)} s, ${await countRows(output)} rows`, '< 5 s'],
    ['  growth of the daemon meanwhile', `${(peak - before).toFixed(0)} MB`, 'bounded'],
    ['expiry pass of the daemon, wall clock', `${await passSeconds()} s`, ''],
  );
}

async function peakMemory(daemon: Daemon, during: Promise<unknown>): Promise<number> {
  let peak = 0;
  let isOver = false;
  const watch = async () => {
    for (; !isOver; await pause(50)) peak = Math.max(peak, residentMegabytes(daemon.pid));
  };
  await Promise.all([watch(), during.finally(() => (isOver = true))]);
  return peak;
}

async function countRows(file: string): Promise<number> {
  const needle = Buffer.from('"conntrackState"');
  let count = 0;
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    const text = Buffer.concat([rest, chunk as Buffer]);
    for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + needle.length)) count++;
    rest = text.subarray(Math.max(0, text.length - needle.length + 1));
  }
  return count;
}

/** What the daemon says its last pass took. */
async function passSeconds(): Promise<string> {
  const { stdout } = await tryRun(['curl', '-s', 'http://127.0.0.1:11111/netlox/v1/metrics'], {
    namespace: PACKET_NAMESPACE,
  });
  return /^loxilb_conntrack_pass_duration_seconds (\S+)/m.exec(stdout)?.[1] ?? 'unknown';
}
