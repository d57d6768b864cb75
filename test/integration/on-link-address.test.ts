/** Service addresses of a network the balancer is on, which hosts of that network look for by ARP or neighbour discovery. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createService,
  deleteServices,
  type Family,
  type Lab,
  names,
  serverEndpoints,
  startLab,
  tcp,
  until,
} from './harness/index.js';

const PORT = 2020;
const addresses: Record<Family, string> = { v4: '10.10.10.99', v6: 'fd10::99' };

describe('a service address of a network of the balancer', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
  });
  afterEach(() => deleteServices(lab.daemon));
  afterAll(() => lab?.dispose());

  const lb = () => lab.network.lb;
  const serve = (family: Family) =>
    createService(lab.daemon, { vip: addresses[family], port: PORT, endpoints: serverEndpoints(lab.network, family) });
  const ask = async (family: Family): Promise<string[]> => {
    await lab.network.client.netns.ip('neigh flush dev eth0');
    return names(await tcp(lab.network.client.netns, { host: addresses[family], port: PORT }));
  };
  const onClient = async (): Promise<string> => await lb().must('ip', ['-6', '-o', 'addr', 'show', 'to', addresses.v6]);

  it.each<Family>(['v4', 'v6'])('is found by clients of that network, %s', async (family) => {
    await serve(family);
    expect(await ask(family)).toEqual(['server1']);
  });

  it('is not on the interface without a rule', async () => {
    await serve('v6');
    expect(await onClient()).toMatch(/client .*deprecated/);
    await deleteServices(lab.daemon);
    expect(await onClient()).toBe('');
  });

  it('comes back with the interface', async () => {
    await serve('v6');
    await lb().ip('link set client down');
    await lb().ip(
      'link set client up',
      'addr replace fd10::254/64 dev client nodad',
      'route replace fd10::/64 dev client',
    );
    await until('the address is back', async () => (await onClient()).includes('client'));
    expect(await ask('v6')).toEqual(['server1']);
  });

  it.each(['restart', 'kill'] as const)(
    'outlives a %s of the daemon, and goes with its rule afterwards',
    async (end) => {
      await serve('v6');
      if (end === 'kill') await lab.daemon.kill();
      await lab.daemon.restart();
      expect(await ask('v6')).toEqual(['server1']);
      await deleteServices(lab.daemon);
      expect(await onClient()).toBe('');
    },
  );
});
