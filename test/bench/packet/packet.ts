import { access } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../daemon.js';
import type { Options } from '../options.js';
import { run } from '../process.js';
import { formatTable } from '../report.js';
import { Scope } from '../scope.js';
import type { LiveFigure, LiveInput } from './live.js';
import type { MeasureInput, PacketFigure } from './measure.js';
import { buildPacketWorld, PACKET_NAMESPACE } from './world.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
export const OBJECT = join(ROOT, 'bpf/build/loxilb.bpf.o');

const QUICK = { samples: 5, repeat: 1 << 17, flows: 1 << 16 };
const FULL = { samples: 15, repeat: 1 << 20, flows: 1 << 18 };
const QUICK_LIVE = { samples: 3, frames: 1 << 16, flows: 1 << 15 };
const FULL_LIVE = { samples: 11, frames: 1 << 19, flows: 1 << 15 };

export interface PacketReport {
  readonly text: string;
  readonly data: { readonly programs: readonly PacketFigure[]; readonly live: readonly LiveFigure[] };
}

/**
 * Nanoseconds per packet of the compiled packet path by BPF_PROG_TEST_RUN, the packet's making taken off; and of frames
 * that really go through it, by tc and by XDP.
 */
export async function measurePackets(options: Options, workDir: string): Promise<PacketReport> {
  const objects = options.objects ?? [OBJECT];
  for (const object of objects) {
    await access(object).catch(() => {
      throw new Error(`${object} is not there: npm run build:bpf makes it`);
    });
  }
  const scope = new Scope();
  try {
    await buildPacketWorld(scope);
    const wrapper = await buildWrapper(workDir);
    const programs = await measureProgram({ wrapper, objects, ...(options.full ? FULL : QUICK) });
    const [object = OBJECT] = objects;
    const live = await measureLive({ wrapper, object, ...(options.full ? FULL_LIVE : QUICK_LIVE) });
    return { text: `${formatFigures(programs)}\n\n${formatLive(live)}`, data: { programs, live } };
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

export async function buildWrapper(workDir: string): Promise<string> {
  const output = join(workDir, 'bench.bpf.o');
  const source = join(HERE, '../bpf/bench.bpf.c');
  const include = `/usr/include/${(await run(['gcc', '-print-multiarch'])).trim()}`;
  await run(['clang-14', '-g', '-O2', '-target', 'bpf', '-mcpu=v3', '-I', include, '-c', source, '-o', output]);
  return output;
}

/** In a process of its own, because it must be in the namespace where routes and neighbours are. */
export async function measureProgram(input: MeasureInput): Promise<PacketFigure[]> {
  return (await runInside(join(HERE, 'measure.ts'), [JSON.stringify(input)])) as PacketFigure[];
}

async function measureLive(input: LiveInput): Promise<LiveFigure[]> {
  return (await runInside(join(HERE, 'live.ts'), [JSON.stringify(input)])) as LiveFigure[];
}

/** Runs a script of the bench in the packet namespace and returns the JSON it prints. */
export async function runInside(script: string, args: readonly string[]): Promise<unknown> {
  const command = [process.execPath, '--import', 'jiti/register', script, ...args];
  return JSON.parse(await run(command, { namespace: PACKET_NAMESPACE, cwd: ROOT }));
}

/** A row per load, a column per way through the balancer. */
function formatLive(figures: readonly LiveFigure[]): string {
  const [ways, names] = [new Set(figures.map(({ way }) => way)), new Set(figures.map(({ name }) => name))];
  return formatTable(
    ['frames over veth: CPU ns per packet (Mpps)', ...ways],
    [...names].map((name) => [
      name,
      ...[...ways].map((way) => {
        const figure = figures.find((candidate) => candidate.name === name && candidate.way === way);
        if (!figure) return '-';
        const lost = figure.delivered < 0.99 ? `, ${(figure.delivered * 100).toFixed(0)} % arrived` : '';
        return `${figure.median.toFixed(0)} (${(1e3 / figure.median).toFixed(2)}${lost})`;
      }),
    ]),
  );
}

/** A row per kind of packet, three columns per program. */
function formatFigures(figures: readonly PacketFigure[]): string {
  const subjects = [...new Set(figures.map((figure) => figure.subject))];
  const names = [...new Set(figures.map((figure) => figure.name))];
  const label = (subject: string) => (subjects.length > 1 ? `${basename(subject)} ` : '');
  return formatTable(
    ['ns net of the empty program', ...subjects.flatMap((s) => [`${label(s)}median`, 'min', 'max', 'verdict'])],
    names.map((name) => [
      name,
      ...subjects.flatMap((subject) => {
        const figure = figures.find((candidate) => candidate.name === name && candidate.subject === subject);
        if (!figure) return ['-', '-', '-', '-'];
        const { median, min, max, verdict } = figure;
        return [median.toFixed(0), min.toFixed(0), max.toFixed(0), String(verdict)];
      }),
    ]),
  );
}
