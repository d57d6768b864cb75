import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { loxilb } from './contenders/loxilb.js';
import { enableStatistics, openPinned, readStatistics } from './packet/bpf.js';
import { formatTable } from './report.js';
import { Scope } from './scope.js';
import { buildTopology, describeTopology } from './topology.js';
import { sendBulk } from './traffic/iperf.js';
import { startServers, untilServed } from './traffic/servers.js';
import { blastUdp } from './traffic/udp.js';
import { loadHttp } from './traffic/wrk.js';
import { buildBlaster } from './traffic.js';

const SLICE_MS = 1500;
const ROUNDS = 3;

interface ProgramFigure {
  readonly traffic: string;
  readonly runsPerUnit: number;
  readonly nsPerRun: number;
}

/**
 * What the ingress program takes in real traffic, where caches are cold, by the kernel's own statistics; the clock
 * readings of those are in the figure (about 80 ns for an empty program).
 */
export async function measurePrograms(
  workDir: string,
  progress: (text: string) => void,
): Promise<{ text: string; data: readonly ProgramFigure[] }> {
  const scope = new Scope();
  try {
    const blaster = await buildBlaster(workDir);
    const topology = describeTopology('programs', 20);
    await buildTopology(scope, topology);
    await startServers(scope, topology, workDir, blaster);
    const targets = await loxilb.start(scope, topology, workDir);
    await untilServed(topology, topology.vip);
    const program = openPinned(join(workDir, loxilb.name, 'bpf/programs/tc_ingress'));
    const statistics = enableStatistics();
    scope.defer('program statistics', () => closeSync(statistics));
    const { client, vip } = topology;
    const requests = async (keepAlive: boolean) => (await loadHttp(client, targets.http, keepAlive, SLICE_MS)).requests;
    const loads: [string, () => Promise<number>][] = [
      ['new connection', () => requests(false)],
      ['keep-alive request', () => requests(true)],
      ['UDP packet', async () => (await blastUdp(blaster, client, vip, SLICE_MS, 4)).received],
      ['megabyte of TCP', async () => (await sendBulk(client, vip, 1, 500)).bytes / 1e6],
    ];
    const figures: ProgramFigure[] = [];
    for (const [traffic, load] of loads) {
      progress(`program time: ${traffic}`);
      figures.push(await best(traffic, program, load));
    }
    return { text: formatPrograms(figures), data: figures };
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

/** The quietest of some rounds. */
async function best(traffic: string, program: number, load: () => Promise<number>): Promise<ProgramFigure> {
  const rounds: ProgramFigure[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = readStatistics(program);
    const units = await load();
    const after = readStatistics(program);
    const runs = after.runs - before.runs;
    rounds.push({ traffic, runsPerUnit: runs / units, nsPerRun: (after.ns - before.ns) / runs });
  }
  return rounds.reduce((least, round) => (round.nsPerRun < least.nsPerRun ? round : least));
}

function formatPrograms(figures: readonly ProgramFigure[]): string {
  return formatTable(
    ['tc_ingress in real traffic', 'runs', 'ns per run', 'us together'],
    figures.map(({ traffic, runsPerUnit, nsPerRun }) => [
      traffic,
      runsPerUnit.toFixed(2),
      nsPerRun.toFixed(0),
      ((runsPerUnit * nsPerRun) / 1e3).toFixed(2),
    ]),
  );
}
