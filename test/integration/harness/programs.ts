import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.js';
import type { Network } from './network.js';
import { must } from './run.js';

const programs = fileURLToPath(new URL('../programs', import.meta.url));

/** Compiles `programs/NAME.c` into the network's folder, once, and returns the path of the program. */
export async function compile({ folder }: Network, name: string): Promise<string> {
  const program = join(folder, name);
  if (!existsSync(program)) await must('gcc', ['-O2', '-Wall', '-o', program, join(programs, `${name}.c`)]);
  return program;
}

/** Makes an interface take packets out of their tunnels. */
export async function decapsulate(network: Network, netns: Namespace, device: string): Promise<void> {
  const object = await compileBpf(network, 'decap');
  await netns.must('tc', ['qdisc', 'add', 'dev', device, 'clsact']);
  const filter = ['bpf', 'da', 'obj', object, 'sec', 'classifier'];
  await netns.must('tc', ['filter', 'add', 'dev', device, 'ingress', ...filter]);
}

/** Attaches `programs/mark.bpf.c` to an interface of the balancer by tcx, as somebody else's program. Before the daemon. */
export async function markBySource(network: Network, device: string): Promise<void> {
  const object = await compileBpf(network, 'mark');
  const folder = join(network.folder, 'marking');
  await must('mkdir', [folder]);
  await must('mount', ['-t', 'bpf', 'bpf', folder]);
  await must('bpftool', ['prog', 'load', object, join(folder, 'program'), 'type', 'classifier']);
  const [{ ifindex }] = JSON.parse(await network.lb.must('ip', ['-j', 'link', 'show', 'dev', device]));
  const attach = [join(programs, 'tcx-attach.mjs'), join(folder, 'program'), String(ifindex), join(folder, 'link')];
  await network.lb.must(process.execPath, attach);
}

/** Compiles `programs/NAME.bpf.c` into the network's folder, once, and returns the path of the object. */
async function compileBpf({ folder }: Network, name: string): Promise<string> {
  const object = join(folder, `${name}.bpf.o`);
  if (existsSync(object)) return object;
  const include = `-I/usr/include/${(await must('uname', ['-m'])).trim()}-linux-gnu`;
  const source = join(programs, `${name}.bpf.c`);
  await must(await clang(), ['-O2', '-g', '-target', 'bpf', include, '-c', source, '-o', object]);
  return object;
}

/** The first of those that the packet path may be compiled with. */
async function clang(): Promise<string> {
  const candidates = ['clang-14', 'clang-19', 'clang-18', 'clang-17', 'clang-16', 'clang-15', 'clang'];
  return (await must('sh', ['-c', `command -v ${candidates.join(' || command -v ')}`])).trim();
}
