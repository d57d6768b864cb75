import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../daemon.js';
import type { Options } from '../options.js';
import { run } from '../process.js';
import { Scope } from '../scope.js';
import type { LiveFigure, LiveInput } from './live.js';
import type { MeasureInput, PacketFigure } from './measure.js';
import { formatLive, formatPackets } from './tables.js';
import { buildPacketWorld, PACKET_NAMESPACE } from './world.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
export const OBJECT = join(ROOT, 'bpf/build/loxilb.bpf.o');

const QUICK = { samples: 5, repeat: 1 << 16, flows: 1 << 16 };
const FULL = { samples: 9, repeat: 1 << 18, flows: 1 << 18 };
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
    const size = options.full ? FULL : QUICK;
    const programs = await measureProgram({ wrapper, objects, ...size });
    const [object = OBJECT] = objects;
    const live = await measureLive({ wrapper, object, ...(options.full ? FULL_LIVE : QUICK_LIVE) });
    return { text: `${formatPackets(programs, size.flows)}\n\n${formatLive(live)}`, data: { programs, live } };
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
