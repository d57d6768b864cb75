import { access } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../daemon.js';
import type { Options } from '../options.js';
import { run } from '../process.js';
import { formatTable } from '../report.js';
import { Scope } from '../scope.js';
import type { MeasureInput, PacketFigure } from './measure.js';
import { buildPacketWorld, PACKET_NAMESPACE } from './world.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
export const OBJECT = join(ROOT, 'bpf/build/loxilb.bpf.o');

const QUICK = { samples: 5, repeat: 1 << 17, flows: 1 << 16 };
const FULL = { samples: 15, repeat: 1 << 20, flows: 1 << 18 };

/** Nanoseconds per packet of the compiled packet path by BPF_PROG_TEST_RUN, the packet's making taken off. */
export async function measurePackets(
  options: Options,
  workDir: string,
): Promise<{ text: string; data: readonly PacketFigure[] }> {
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
    const figures = await measureProgram({ wrapper, objects, ...(options.full ? FULL : QUICK) });
    return { text: formatFigures(figures), data: figures };
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

/** Runs a script of the bench in the packet namespace and returns the JSON it prints. */
export async function runInside(script: string, args: readonly string[]): Promise<unknown> {
  const command = [process.execPath, '--import', 'jiti/register', script, ...args];
  return JSON.parse(await run(command, { namespace: PACKET_NAMESPACE, cwd: ROOT }));
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
