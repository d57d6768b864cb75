import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  createService,
  deleteServices,
  type Family,
  holdTcp,
  type Lab,
  type Mode,
  names,
  type Protocol,
  type Reply,
  type Selection,
  serverEndpoints,
  startLab,
  tcp,
  udp,
} from './harness/index.js';

const modes: readonly Mode[] = ['default', 'onearm', 'fullnat'];
const families: readonly Family[] = ['v4', 'v6'];
const protocols: readonly ('tcp' | 'udp')[] = ['tcp', 'udp'];
const selections: readonly Selection[] = ['rr', 'hash', 'priority', 'persist', 'lc'];
const clients = 24;

/** Every mode with every selection, both families, TCP and UDP, with real connections. */
describe('selection of endpoints', () => {
  let lab: Lab;
  let port = 3000;

  beforeAll(async () => {
    lab = await startLab();
    await addClientAddresses(lab);
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  describe.each(modes)('mode %s', (mode) => {
    describe.each(families)('%s', (family) => {
      describe.each(protocols)('%s', (protocol) => {
        const create = (select: Selection, weights: readonly number[] = [1, 1, 1]): Promise<void> => {
          port += 1;
          const endpoints = serverEndpoints(lab.network, family).map((endpoint, i) => ({
            ...endpoint,
            weight: weights[i] ?? 1,
          }));
          return createService(lab.daemon, { vip: lab.network.vip[family], protocol, port, mode, select, endpoints });
        };
        const ask = (count: number): Promise<Reply[]> => send(lab, protocol, family, port, count);

        it('rr takes turns from the first endpoint on', async () => {
          await create('rr');
          const replies = await ask(9);
          expect(names(replies)).toEqual(Array.from({ length: 9 }, (_, i) => `server${(i % 3) + 1}`));
          expect(sources(replies)).toEqual(expectedSources(lab, mode, family, replies));
        });

        it('priority keeps the weights exactly', async () => {
          await create('priority', [50, 30, 20]);
          expect(countByName(await ask(20))).toEqual({ server1: 10, server2: 6, server3: 4 });
        });

        it('hash spreads evenly', async () => {
          await create('hash');
          const counts = countByName(await ask(240));
          // 80 each expected, standard deviation 7.3: more than six of them either way, for this is asked 36 times a run.
          for (const name of ['server1', 'server2', 'server3']) {
            expect(counts[name], JSON.stringify(counts)).toBeGreaterThan(34);
            expect(counts[name], JSON.stringify(counts)).toBeLessThan(128);
          }
        });

        it('persist keeps a client on its endpoint', async () => {
          await create('persist');
          const addresses = Array.from({ length: clients }, (_, i) => clientAddress(family, i + 1));
          const replies = await send(lab, protocol, family, port, 4 * clients, addresses);
          const chosen = new Set<string>();
          for (const [i, address] of addresses.entries()) {
            const ofClient = new Set(names(replies.filter((_, index) => index % clients === i)));
            expect(ofClient.size, `${address}: ${[...ofClient]}`).toBe(1);
            for (const name of ofClient) chosen.add(name);
          }
          expect([...chosen].sort()).toEqual(['server1', 'server2', 'server3']);
        });
      });

      it('lc levels the live connections', async () => {
        port += 1;
        const endpoints = serverEndpoints(lab.network, family);
        const vip = lab.network.vip[family];
        await createService(lab.daemon, { vip, port, mode, select: 'lc', endpoints });
        const held = await holdTcp(lab.network.client.netns, { host: vip, port, count: 12 });
        expect(countByName(held.replies)).toEqual({ server1: 4, server2: 4, server3: 4 });
        await held.program.stop();
      });
    });
  });
});

/** Real connections of many clients, for what it means to whom has none. */
describe('weight 0', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    await addClientAddresses(lab);
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  it.each(selections)('gets no new flow with %s, and they are equal where all have it', async (select) => {
    const addresses = Array.from({ length: clients }, (_, i) => clientAddress('v4', i + 1));
    const chosen = async (...weights: number[]): Promise<string[]> => {
      const endpoints = serverEndpoints(lab.network, 'v4').map((one, i) => ({ ...one, weight: weights[i] ?? 1 }));
      await createService(lab.daemon, { vip: lab.network.vip.v4, port: 3999, select, endpoints });
      const replies = await send(lab, 'tcp', 'v4', 3999, 2 * clients, addresses);
      return [...new Set(names(replies))].sort();
    };
    expect(await chosen(1, 1, 1)).toEqual(['server1', 'server2', 'server3']);
    expect(await chosen(1, 0, 1)).toEqual(['server1', 'server3']);
    expect(await chosen(0, 5, 0)).toEqual(['server2']);
    await deleteServices(lab.daemon);
    expect(await chosen(0, 0, 0)).toEqual(['server1', 'server2', 'server3']);
  });
});

/** Addresses beside the client's own, for tests that need many clients. */
function clientAddress(family: Family, number: number): string {
  return family === 'v4' ? `10.10.10.${100 + number}` : `fd10::${100 + number}`;
}

async function addClientAddresses({ network }: Lab): Promise<void> {
  const lines = Array.from({ length: clients }, (_, i) => [
    `addr add ${clientAddress('v4', i + 1)}/24 dev eth0`,
    `addr add ${clientAddress('v6', i + 1)}/64 dev eth0 nodad preferred_lft 0`,
  ]);
  await network.client.netns.ip(...lines.flat());
}

function send(
  { network }: Lab,
  protocol: Protocol,
  family: Family,
  port: number,
  count: number,
  localAddress?: readonly string[],
): Promise<Reply[]> {
  const options = { host: network.vip[family], port, count, ...(localAddress === undefined ? {} : { localAddress }) };
  return protocol === 'udp' ? udp(network.client.netns, options) : tcp(network.client.netns, options);
}

function sources(replies: readonly Reply[]): string[] {
  return replies.map(({ from }) => from?.address ?? '');
}

/** Who the endpoint sees: the client, the balancer's address on that link, or the VIP. */
function expectedSources({ network }: Lab, mode: Mode, family: Family, replies: readonly Reply[]): string[] {
  return replies.map(({ name }) => {
    if (mode === 'default') return network.client[family];
    if (mode === 'fullnat') return network.vip[family];
    return network.servers.find(({ port }) => port === name)?.gateway[family] ?? '';
  });
}
