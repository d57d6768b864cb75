/** As many rules and endpoints as are promised, all of them in use. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  type Lab,
  type Mode,
  type Selection,
  serviceBody,
  startLab,
  tcp,
  until,
} from './harness/index.js';

const RULES = 4096;
const ENDPOINTS = 64;
const PORT = 2020;
const selections: readonly Selection[] = ['rr', 'hash', 'priority', 'persist', 'lc'];
const modes: readonly Mode[] = ['default', 'onearm', 'fullnat'];

interface Rule {
  readonly serviceArguments: { readonly externalIP: string };
  readonly endpoints: readonly [{ readonly stats: { readonly connections: number } }];
}

describe(`${RULES} rules`, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
  });
  afterAll(() => lab?.dispose());

  const vipOf = (index: number): string => `20.30.${index >> 8}.${index & 255}`;
  /** The first has as many endpoints as a rule may have: the server has all of their addresses. */
  const create = async (index: number): Promise<void> => {
    const { v4 } = lab.network.server(1);
    const more = Array.from({ length: ENDPOINTS - 1 }, (_, n) => ({ ip: `31.31.31.${n + 2}` }));
    const body = serviceBody({
      ...{ vip: vipOf(index), port: PORT, mode: modes[index % 3] ?? 'default', select: selections[index % 5] ?? 'rr' },
      endpoints: [{ ip: v4 }, ...(index === 0 ? more : [])],
    });
    const { status, body: answer } = await lab.daemon.api.post('/config/loadbalancer', body);
    expect(status, JSON.stringify(answer)).toBe(200);
  };
  const some = [0, 1, 2, 255, 256, 2047, 2048, 2049, 4094, 4095];
  const answers = async (): Promise<void> => {
    const { netns } = lab.network.client;
    for (const index of some) {
      const count = index === 0 ? ENDPOINTS : 1;
      const replies = await tcp(netns, { host: vipOf(index), port: PORT, count });
      expect(countByName(replies)).toEqual({ server1: count });
    }
  };
  const addresses = async (): Promise<number> =>
    (await lab.network.lb.must('ip', ['-4', '-o', 'addr', 'show', 'dev', 'lo'])).trim().split('\n').length;

  it('are taken, and all of them serve', async () => {
    const host = lab.network.server(1).netns;
    await host.ip(...Array.from({ length: ENDPOINTS - 1 }, (_, n) => `addr add 31.31.31.${n + 2}/24 dev eth0`));
    for (let index = 0; index < RULES; index++) await create(index);
    expect((await lab.daemon.api.get('/config/loadbalancer/all')).body.lbAttr).toHaveLength(RULES);
    expect(await lab.daemon.dumpMap('nat_v4_map')).toHaveLength(RULES);
    await answers();
    const first = (await lab.daemon.api.get('/config/loadbalancer/all')).body.lbAttr.find(
      (rule: Rule) => rule.serviceArguments.externalIP === vipOf(0),
    );
    expect(first.endpoints.map(({ stats }: Rule['endpoints'][0]) => stats.connections)).toEqual(
      Array(ENDPOINTS).fill(1),
    );
    await until('all addresses are there', async () => (await addresses()) === RULES + 1, 120_000);
  });

  it('are there after a restart', async () => {
    await lab.daemon.restart();
    expect((await lab.daemon.api.get('/config/loadbalancer/all')).body.lbAttr).toHaveLength(RULES);
    await answers();
  });

  it('leave nothing when they are deleted', async () => {
    expect((await lab.daemon.api.delete('/config/loadbalancer/all')).status).toBe(200);
    expect(await lab.daemon.dumpMap('nat_v4_map')).toEqual([]);
    await until('no address is left', async () => (await addresses()) === 1, 120_000);
  });
});
