import { join } from 'node:path';
import type { Contender } from './contenders/contender.js';
import { direct } from './contenders/direct.js';
import { haproxy, haproxyPpv2 } from './contenders/haproxy.js';
import { loxilb, loxilbModes } from './contenders/loxilb.js';
import { nftables } from './contenders/nftables.js';
import { nginxStream } from './contenders/nginx-stream.js';
import { CpuMeter } from './cpu.js';
import type { Options } from './options.js';
import { run } from './process.js';
import { formatTraffic, reportTraffic, type TrafficReport } from './report.js';
import { playRounds, type RoundsOptions } from './rounds.js';
import { Scope } from './scope.js';
import { planSlices, type Runner } from './slices.js';
import { summarise } from './statistics.js';
import { buildTopology, describeTopology, namespaceId, namespacesOf } from './topology.js';
import { startServers, untilServed } from './traffic/servers.js';

const CONTENDERS: readonly Contender[] = [direct, nftables, haproxy, nginxStream, loxilb, ...loxilbModes, haproxyPpv2];

const QUICK = { httpMs: 600, bulkMegabytes: 300, udpMs: 400, udpFlows: 4 };
const FULL = { httpMs: 2000, bulkMegabytes: 1500, udpMs: 1500, udpFlows: 4 };

export interface TrafficOutcome {
  readonly text: string;
  readonly data: {
    readonly rounds: number;
    readonly foreignCpu: { median: number; max: number };
    readonly errors: Record<string, number>;
    readonly contenders: TrafficReport;
  };
}

/** The side-by-side part: all contenders are up, each is measured for a moment in turn. */
export async function measureTraffic(
  options: Options,
  workDir: string,
  deadline: number,
  progress: (text: string) => void,
): Promise<TrafficOutcome> {
  const scope = new Scope();
  try {
    const blaster = await buildBlaster(workDir);
    const runners = await startContenders(scope, options, workDir, blaster, progress);
    const own = new Set(runners.flatMap((runner) => namespacesOf(runner.topology).map(namespaceId)));
    const slices = planSlices({ ...(options.full ? FULL : QUICK), blaster });
    const limits: RoundsOptions = options.full
      ? { maxRounds: options.rounds ?? 12, deadline: Number.POSITIVE_INFINITY, foreignLimit: 0.2, retries: 2, progress }
      : {
          maxRounds: options.rounds ?? 9,
          deadline: options.rounds ? Number.POSITIVE_INFINITY : deadline,
          foreignLimit: 1,
          retries: 0,
          progress,
        };
    const result = await playRounds(runners, slices, new CpuMeter(own), limits);
    const report = reportTraffic(runners, result);
    const foreign = summarise(result.foreign);
    return {
      text: [
        formatTraffic(runners, report),
        '',
        `${result.rounds.length} rounds; foreign CPUs in use during the slices: median ${foreign?.median.toFixed(2)}, max ${foreign?.max.toFixed(2)}.`,
        ...[...result.errors].map(([name, count]) => `${name}: ${count} failed requests.`),
      ].join('\n'),
      data: {
        rounds: result.rounds.length,
        foreignCpu: { median: foreign?.median ?? 0, max: foreign?.max ?? 0 },
        errors: Object.fromEntries(result.errors),
        contenders: report,
      },
    };
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

export async function buildBlaster(workDir: string): Promise<string> {
  const output = join(workDir, 'udp-blast');
  const source = new URL('./tools/udp-blast.c', import.meta.url).pathname;
  await run(['gcc', '-O2', '-Wall', '-o', output, source]);
  return output;
}

async function startContenders(
  scope: Scope,
  options: Options,
  workDir: string,
  blaster: string,
  progress: (text: string) => void,
): Promise<Runner[]> {
  const chosen = CONTENDERS.filter((contender) => options.contenders?.has(contender.name) ?? !contender.optional);
  const runners: Runner[] = [];
  for (const [index, contender] of chosen.entries()) {
    progress(`starting ${contender.title}`);
    const topology = describeTopology(contender.name, index);
    await buildTopology(scope, topology);
    await startServers(scope, topology, workDir, blaster);
    const targets = await contender.start(scope, topology, workDir);
    for (const address of targets.http) await untilServed(topology, address);
    runners.push({ name: contender.name, title: contender.title, topology, targets });
  }
  return runners;
}
