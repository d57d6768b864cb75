import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  createService,
  defaultPlugins,
  type Lab,
  must,
  serverEndpoints,
  startLab,
  talkingClient,
  tcp,
} from './harness/index.js';

const source = fileURLToPath(new URL('./programs/syn-flood.c', import.meta.url));
const TABLE_FLOWS = 8192;
/** Ten times what both tables hold together. */
const SYNS = 10 * 2 * TABLE_FLOWS;
const PER_SECOND = 40_000;

describe('a flood of SYNs from addresses that do not exist', () => {
  let lab: Lab;
  let folder: string;
  let flooder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'syn-flood-'));
    flooder = join(folder, 'syn-flood');
    await must('gcc', ['-O2', '-o', flooder, source]);
    lab = await startLab({
      plugins: { ...defaultPlugins, conntrack: { maxFlows: TABLE_FLOWS, newFlows: TABLE_FLOWS } },
    });
  });
  afterAll(async () => {
    await lab?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  async function tableSizes(): Promise<{ confirmed: number; fresh: number }> {
    const { daemon } = lab;
    const [confirmed, fresh] = await Promise.all([daemon.dumpMap('ct_v4_map'), daemon.dumpMap('ct_new')]);
    return { confirmed: confirmed.length, fresh: fresh.length };
  }

  it('open connections go on, new ones get through, the tables keep their size', async () => {
    const { network, daemon } = lab;
    const host = network.vip.v4;
    const port = 7000;
    await createService(daemon, { vip: host, port, endpoints: serverEndpoints(network, 'v4') });
    const { netns } = network.client;
    const talk = await talkingClient(netns, { host, port, count: 300 });

    const flood = netns.spawn('syn-flood', flooder, [host, String(port), String(SYNS), String(PER_SECOND)]);
    // Half-open flows stay for ten seconds: this is what the flood has left.
    const left = flood.line(/sent (\d+)/, 60_000).then(async ([, sent]) => ({ sent, sizes: await tableSizes() }));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const [during, { sent, sizes }] = await Promise.all([
      tcp(netns, { host, port, count: 100, parallel: 4, timeoutMs: 10_000 }),
      left,
    ]);
    expect(Number(sent)).toBe(SYNS);

    const served = countByName(during);
    expect((served.server1 ?? 0) + (served.server2 ?? 0) + (served.server3 ?? 0)).toBe(100);
    // A flood may use an eighth of the flow table, and fill only the other one.
    expect(sizes.confirmed).toBeLessThanOrEqual(2 * (TABLE_FLOWS / 8 + 300 + 100));
    expect(sizes.fresh).toBeLessThanOrEqual(2 * TABLE_FLOWS);
    expect(sizes.fresh).toBeGreaterThan(TABLE_FLOWS);

    const summary = await talk.summary();
    expect(summary).toMatchObject({ open: 300, ended: 0 });
    expect(summary.rounds).toBeGreaterThan(5);
  });
});
