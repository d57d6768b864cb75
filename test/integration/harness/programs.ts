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
  const object = join(network.folder, 'decap.bpf.o');
  if (!existsSync(object)) {
    const include = `-I/usr/include/${(await must('uname', ['-m'])).trim()}-linux-gnu`;
    const source = join(programs, 'decap.bpf.c');
    await must(await clang(), ['-O2', '-g', '-target', 'bpf', include, '-c', source, '-o', object]);
  }
  await netns.must('tc', ['qdisc', 'add', 'dev', device, 'clsact']);
  const filter = ['bpf', 'da', 'obj', object, 'sec', 'classifier'];
  await netns.must('tc', ['filter', 'add', 'dev', device, 'ingress', ...filter]);
}

/** The first of those that the packet path may be compiled with. */
async function clang(): Promise<string> {
  const candidates = ['clang-14', 'clang-19', 'clang-18', 'clang-17', 'clang-16', 'clang-15', 'clang'];
  return (await must('sh', ['-c', `command -v ${candidates.join(' || command -v ')}`])).trim();
}
