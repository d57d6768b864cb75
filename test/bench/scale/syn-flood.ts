import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BULK_PORT, HTTP_PORT, type Targets } from '../contenders/contender.js';
import { direct } from '../contenders/direct.js';
import { Daemon, ROOT, residentMegabytes } from '../daemon.js';
import { mapMemory, openPinned } from '../packet/bpf.js';
import { pause, run, type Server, start } from '../process.js';
import { formatTable } from '../report.js';
import { Scope } from '../scope.js';
import { summarise } from '../statistics.js';
import { buildTopology, describeTopology, type Topology } from '../topology.js';
import { sendBulk } from '../traffic/iperf.js';
import { startServers, untilServed } from '../traffic/servers.js';
import { loadHttp } from '../traffic/wrk.js';
import { buildBlaster } from '../traffic.js';

/** Flows the table holds by default. */
const TABLE_FLOWS = 524_288;
/** Ten times what it holds; fewer where only the comparison is wanted. */
const SYNS = { loxilb: 10 * TABLE_FLOWS, direct: 2 * TABLE_FLOWS };
/** As many a second as one core can. */
const UNLIMITED = 1_000_000_000;
/** Sources of the program that floods. */
const SPOOFED = '10.128.0.0/9';
const HTTP_MS = 3000;
const BULK_MEGABYTES = 200;
const CALM_ROUNDS = 3;
const LONGEST_MS = 600_000;

/** Figures of one round: open connections that are kept, data on one of them, and new connections. */
interface Sample {
  readonly kept: number;
  readonly keptP50: number;
  readonly keptP99: number;
  readonly bulk: number;
  readonly fresh: number;
  readonly freshP50: number;
  readonly freshP99: number;
  readonly failed: number;
}

const ROWS: readonly (readonly [keyof Sample, string, number])[] = [
  ['kept', 'requests on open connections [/s]', 0],
  ['keptP50', '- p50 [us]', 0],
  ['keptP99', '- p99 [us]', 0],
  ['bulk', 'TCP throughput, 1 stream [Gb/s]', 2],
  ['fresh', 'new legitimate connections [/s]', 0],
  ['freshP50', '- p50 [us]', 0],
  ['freshP99', '- p99 [us]', 0],
  ['failed', 'failed requests and connections', 0],
];

interface Course {
  readonly name: string;
  readonly calm: readonly Sample[];
  readonly flooded: readonly Sample[];
  readonly syns: number;
  readonly synsPerSecond: number;
}

interface Memory {
  readonly daemon: number;
  /** Megabytes of both flow tables. */
  readonly tables: number;
}

/**
 * What open connections and new ones have of a service while SYNs from addresses that do not exist flood it, with and
 * without the balancer: the flood takes a core for itself, and servers answer it.
 */
export async function measureFlood(
  workDir: string,
  progress: (text: string) => void,
): Promise<{ text: string; data: unknown }> {
  const scope = new Scope();
  try {
    const tools = await buildTools(workDir);
    progress('flood: kernel forwarding');
    const plain = await buildWorld(scope, 'flood-direct', 22, workDir, tools);
    const without = await endure('kernel forwarding', plain, await startDirect(scope, plain, workDir), tools, workDir);
    progress('flood: loxilb');
    const topology = await buildWorld(scope, 'flood', 23, workDir, tools);
    const daemon = await startDaemon(scope, topology, workDir);
    const before = readMemory(daemon);
    const target = { http: [topology.vip], bulk: topology.vip };
    const within = await endure('loxilb', topology, target, tools, workDir);
    const memory = { before, after: readMemory(daemon), entries: await countEntries(daemon) };
    return { text: formatFlood([without, within], memory), data: { courses: [without, within], memory } };
  } finally {
    for (const failure of await scope.close()) process.stderr.write(`cleanup: ${failure}\n`);
  }
}

interface Tools {
  readonly blaster: string;
  readonly flooder: string;
}

async function buildTools(workDir: string): Promise<Tools> {
  const flooder = join(workDir, 'syn-flood');
  await run(['gcc', '-O2', '-o', flooder, join(ROOT, 'test/integration/programs/syn-flood.c')]);
  return { blaster: await buildBlaster(workDir), flooder };
}

/** Answers to addresses that do not exist go to the client's side and end there. */
async function buildWorld(scope: Scope, name: string, index: number, workDir: string, tools: Tools): Promise<Topology> {
  const topology = describeTopology(name, index);
  await buildTopology(scope, topology);
  await run(['ip', '-n', topology.lb, 'route', 'add', SPOOFED, 'via', topology.clientAddress]);
  await run(['ip', '-n', topology.client, 'route', 'add', 'blackhole', SPOOFED]);
  await startServers(scope, topology, workDir, tools.blaster);
  return topology;
}

async function startDirect(scope: Scope, topology: Topology, workDir: string): Promise<Targets> {
  const targets = await direct.start(scope, topology, workDir);
  return { ...targets, http: targets.http.slice(0, 1) };
}

/** With tables of the default size. All goes to one server, as without the balancer. */
async function startDaemon(scope: Scope, topology: Topology, workDir: string): Promise<Daemon> {
  const daemon = await Daemon.create(scope, topology.lb, join(workDir, 'flood'));
  await daemon.start();
  const [endpointIP = ''] = topology.serverAddresses;
  for (const port of [HTTP_PORT, BULK_PORT]) {
    await daemon.request('POST', '/config/loadbalancer', {
      serviceArguments: { externalIP: topology.vip, port, protocol: 'tcp' },
      endpoints: [{ endpointIP, targetPort: port, weight: 1 }],
    });
  }
  return daemon;
}

/** Rounds without the flood, then rounds until it has ended. */
async function endure(
  name: string,
  topology: Topology,
  targets: Targets,
  { flooder }: Tools,
  workDir: string,
): Promise<Course> {
  const [address = ''] = targets.http;
  await untilServed(topology, address);
  const calm: Sample[] = [];
  while (calm.length < CALM_ROUNDS) calm.push(await playRound(topology, targets));

  const syns = name === 'loxilb' ? SYNS.loxilb : SYNS.direct;
  const log = join(workDir, `${topology.name}.log`);
  const scope = new Scope();
  const flooded: Sample[] = [];
  let flood: Server | undefined;
  let begin = 0;
  try {
    const flooding = [flooder, address, String(HTTP_PORT), String(syns), String(UNLIMITED)];
    const open = () => {
      begin = performance.now();
      flood = start(scope, flooding, log, { namespace: topology.client });
    };
    // Connections of the first round are from before the flood.
    flooded.push(await playRound(topology, targets, open));
    const isOver = () => flood?.exited() || performance.now() - begin > LONGEST_MS;
    while (!isOver()) flooded.push(await playRound(topology, targets));
  } finally {
    await scope.close();
  }
  const seconds = (performance.now() - begin) / 1e3;
  const sent = Number(/sent (\d+)/.exec(readFileSync(log, 'latin1'))?.[1] ?? Number.NaN);
  // The last round may have gone on without it.
  return {
    name,
    calm,
    flooded: flooded.length > 1 ? flooded.slice(0, -1) : flooded,
    syns: sent,
    synsPerSecond: sent / seconds,
  };
}

/** `open` is called when connections are open. */
async function playRound({ client }: Topology, { http, bulk = '' }: Targets, open?: () => void): Promise<Sample> {
  const keeping = loadHttp(client, http, true, HTTP_MS);
  if (open) {
    await pause(300);
    open();
  }
  const kept = await keeping;
  const sent = await sendBulk(client, bulk, 1, BULK_MEGABYTES);
  const fresh = await loadHttp(client, http, false, HTTP_MS);
  return {
    kept: kept.requests / (kept.micros / 1e6),
    keptP50: kept.p50,
    keptP99: kept.p99,
    bulk: (sent.bytes * 8) / sent.seconds / 1e9,
    fresh: fresh.requests / (fresh.micros / 1e6),
    freshP50: fresh.p50,
    freshP99: fresh.p99,
    failed: kept.errors + fresh.errors,
  };
}

function readMemory(daemon: Daemon): Memory {
  const tables = ['ct_v4_map', 'ct_new'].map((name) => mapMemory(openPinned(join(daemon.bpfDir, name))));
  return { daemon: residentMegabytes(daemon.pid), tables: tables.reduce((sum, bytes) => sum + bytes, 0) / 2 ** 20 };
}

/** Entries of both tables, as the daemon's last pass found them. */
async function countEntries(daemon: Daemon): Promise<number> {
  const metrics = await daemon.request('GET', '/metrics');
  return Number(/^loxilb_active_conntrack_entries (\S+)/m.exec(metrics)?.[1] ?? Number.NaN);
}

function formatFlood(
  courses: readonly Course[],
  memory: { readonly before: Memory; readonly after: Memory; readonly entries: number },
): string {
  const median = (samples: readonly Sample[], key: keyof Sample) =>
    summarise(samples.map((sample) => sample[key]))?.median ?? Number.NaN;
  const rows = ROWS.map(([key, title, digits]) => [
    title,
    ...courses.flatMap(({ calm, flooded }) => {
      const [before, during] = [median(calm, key), median(flooded, key)];
      const ratio = before ? ` (${(during / before).toFixed(2)}x)` : '';
      return [before.toFixed(digits), `${during.toFixed(digits)}${ratio}`];
    }),
  ]);
  const flood = ['SYNs that came [/s]', ...courses.flatMap(({ synsPerSecond }) => ['-', synsPerSecond.toFixed(0)])];
  const head = ['flood of spoofed SYNs', ...courses.flatMap(({ name }) => [`${name}: before`, 'during'])];
  const times = (courses.at(-1)?.syns ?? 0) / TABLE_FLOWS;
  const { before, after, entries } = memory;
  return [
    formatTable(head, [...rows, flood]),
    '',
    `${times.toFixed(1)} times the flows the table holds. Flow tables: ${before.tables.toFixed(0)} MB before, ` +
      `${after.tables.toFixed(0)} MB after, ${entries} entries at the end; resident memory of the daemon: ` +
      `${before.daemon.toFixed(0)} MB before, ${after.daemon.toFixed(0)} MB after.`,
  ].join('\n');
}
