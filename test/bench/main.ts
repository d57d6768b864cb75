import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeLeftovers, WORK_PREFIX } from './leftovers.js';
import { type Options, readOptions, USAGE } from './options.js';
import { measurePackets } from './packet/packet.js';
import { tryRun } from './process.js';
import { measurePrograms } from './programs.js';
import { measureScale } from './scale/scale.js';
import { measureFlood } from './scale/syn-flood.js';
import { Scope } from './scope.js';
import { removeNamespaces, staleNamespaces } from './topology.js';
import { measureTraffic } from './traffic.js';

/** Traffic of a quick run; the packet part takes a minute or so besides. */
const QUICK_TRAFFIC_MS = 40_000;

interface Report {
  readonly text: string;
  readonly data: unknown;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return void process.stdout.write(USAGE);
  if (process.getuid?.() !== 0) throw new Error('the bench needs root: it makes network namespaces and loads programs');
  await removeLeftovers();
  if (options.cleanup) return;

  const scope = new Scope();
  const workDir = await mkdtemp(join(tmpdir(), WORK_PREFIX));
  scope.defer('work folder', () => rm(workDir, { recursive: true, force: true }));
  scope.defer('namespaces', async () => removeNamespaces(await staleNamespaces()));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void scope.close().then(() => process.exit(130)));
  }
  try {
    await publish(options, await measure(options, workDir));
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

async function measure(options: Options, workDir: string): Promise<Map<string, Report>> {
  const begin = performance.now();
  const reports = new Map<string, Report>();
  if (options.parts.has('traffic')) {
    reports.set('Traffic', await measureTraffic(options, workDir, begin + QUICK_TRAFFIC_MS, progress));
  }
  if (options.parts.has('packet')) {
    progress('packet path');
    reports.set('Packet', await measurePackets(options, workDir));
  }
  if (options.parts.has('programs')) reports.set('Programs', await measurePrograms(workDir, progress));
  if (options.parts.has('scale')) reports.set('Scale', await measureScale(workDir, progress));
  if (options.parts.has('flood')) reports.set('SYN flood', await measureFlood(workDir, progress));
  progress('');
  return reports;
}

async function publish(options: Options, reports: ReadonlyMap<string, Report>): Promise<void> {
  const about = await describeRun();
  const text = [
    `## ${about.date}, commit ${about.commit}`,
    `\`${about.command}\`, kernel ${about.kernel}, ${about.cpus} CPUs, Node ${about.node}`,
    ...[...reports].map(([title, report]) => `### ${title}\n\n${report.text}`),
  ].join('\n\n');
  process.stdout.write(`${text}\n`);
  if (options.json) {
    const data = Object.fromEntries([...reports].map(([title, report]) => [title.toLowerCase(), report.data]));
    await writeFile(options.json, `${JSON.stringify({ ...about, ...data }, null, 2)}\n`);
  }
  if (options.record) await appendFile(new URL('./RESULTS.md', import.meta.url), `\n${text}\n`);
}

async function describeRun() {
  const git = await tryRun(['git', 'describe', '--always', '--dirty'], {
    cwd: new URL('.', import.meta.url).pathname,
  });
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    commit: git.stdout.trim() || 'unknown',
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    kernel: release(),
    cpus: availableParallelism(),
    node: process.version,
  };
}

/** One changing line on a terminal; elsewhere nothing, or lines with BENCH_VERBOSE. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (process.env.BENCH_VERBOSE && text) process.stderr.write(`${process.uptime().toFixed(1)} s: ${text}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
