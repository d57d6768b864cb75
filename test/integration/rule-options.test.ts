import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { deleteServices, type Lab, startEchoServer, startLab, tcp, until } from './harness/index.js';

/** What loxicmd can ask for, from its flags to the kernel's maps and back to its tables. */
describe('options of a rule', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const create = (...args: readonly string[]) => lab.daemon.loxicmdOk('create', 'lb', ...args);
  const row = async (): Promise<string[]> => {
    const table = await lab.daemon.loxicmdOk('get', 'lb', '-o', 'wide');
    const line = table.split('\n').find((text) => /^\|\s*[\d:]/.test(text)) ?? '';
    return line.split('|').map((cell) => cell.trim());
  };
  /** Names of those who answered three clients, which wait so long each: less where nobody is to answer. */
  const ask = async (port: number, host = lab.network.vip.v4, timeoutMs = 10_000): Promise<string[]> => {
    const replies = await tcp(lab.network.client.netns, { host, port, count: 3, timeoutMs });
    return replies.flatMap(({ name }) => name ?? []);
  };
  const askInVain = (port: number) => ask(port, lab.network.vip.v4, 1_000);

  it('a range of ports reaches one port, and a port of its own comes first', async () => {
    await create('20.20.20.1', '--tcp=9000-9999:8080', '--endpoints=31.31.31.1:1');
    await create('20.20.20.1', '--tcp=9500:8080', '--endpoints=32.32.32.1:1');
    expect(await row()).toContain('9000-9999');
    expect(new Set([...(await ask(9000)), ...(await ask(9999))])).toEqual(new Set(['server1']));
    expect(new Set(await ask(9500))).toEqual(new Set(['server2']));
    expect(await askInVain(8999)).toEqual([]);
    await lab.daemon.restart();
    expect(new Set(await ask(9001))).toEqual(new Set(['server1']));
    const overlap = await lab.daemon.loxicmd(
      'create',
      'lb',
      '20.20.20.1',
      '--tcp=9990-10010:80',
      '--endpoints=31.31.31.1:1',
    );
    expect(overlap.stdout).toContain('overlaps rule 20.20.20.1:9000-9999/tcp');
    await lab.daemon.loxicmdOk('delete', 'lb', '20.20.20.1', '--tcp=9000-9999');
    expect(await askInVain(9001)).toEqual([]);
  });

  it('all ports in one rule, each to the same port', async () => {
    await create('20.20.20.1', '--tcp=1-65535:1-65535', '--endpoints=31.31.31.1:1,32.32.32.1:1');
    const other = await startEchoServer(lab.network.server(1).netns, 'other', 8081);
    const third = await startEchoServer(lab.network.server(2).netns, 'other', 8081);
    expect(await lab.daemon.dumpMap('lb_range')).toHaveLength(16);
    expect(await row()).toContain('1-65535');
    expect(new Set(await ask(8080))).toEqual(new Set(['server1', 'server2']));
    expect(new Set(await ask(8081))).toEqual(new Set(['other']));
    await Promise.all([other.stop(), third.stop()]);
  });

  it('allowed sources let in who is on the list, by the thousand, and change in place', async () => {
    const many = Array.from({ length: 2000 }, (_, index) => `172.${16 + (index >> 8)}.${index & 255}.0/24`);
    await create('20.20.20.1', '--tcp=7000:8080', '--endpoints=31.31.31.1:1', `--sources=${many.join(',')}`);
    expect(await lab.daemon.dumpMap('lb_source')).toHaveLength(2000);
    expect(await askInVain(7000)).toEqual([]);
    await create('20.20.20.1', '--tcp=7000:8080', '--endpoints=31.31.31.1:1', '--sources=10.10.10.0/24');
    expect(await row()).toContain('10.10.10.0/24');
    expect(await ask(7000)).toHaveLength(3);
    await lab.daemon.restart();
    expect(await ask(7000)).toHaveLength(3);
    expect(await lab.daemon.dumpMap('lb_source')).toHaveLength(1);
  });

  it('hostonearm is at every address of the balancer, also at one that comes later', async () => {
    await create('0.0.0.0', '--tcp=7100:8080', '--mode=hostonearm', '--endpoints=31.31.31.1:1');
    expect(await row()).toContain('hostonearm');
    expect(await ask(7100, '10.10.10.254')).toHaveLength(3);
    expect(await ask(7100, '32.32.32.254')).toHaveLength(3);
    await lab.network.lb.ip('addr add 10.10.10.253/24 dev client');
    await until('the new address', async () => (await ask(7100, '10.10.10.253')).length === 3);
    await lab.network.lb.ip('addr del 10.10.10.253/24 dev client');
  });

  it('secondary addresses are on the balancer while the rule is', async () => {
    await create('20.20.20.1', '--sctp=3868:3868', '--secips=20.20.20.2,20.20.20.3', '--endpoints=31.31.31.1:1');
    expect(await row()).toContain('20.20.20.2, 20.20.20.3');
    const addresses = () => lab.network.lb.must('ip', ['-br', 'addr', 'show', 'lo']);
    expect(await addresses()).toContain('20.20.20.3/32');
    expect(await lab.daemon.dumpMap('lb_sctp_vips')).toHaveLength(1);
    await lab.daemon.loxicmdOk('delete', 'lb', '20.20.20.1', '--sctp=3868');
    expect(await addresses()).not.toContain('20.20.20.3/32');
  });

  it('dsr takes hash and no other port', async () => {
    const notHash = await lab.daemon.loxicmd(
      'create',
      'lb',
      '20.20.20.1',
      '--tcp=80:80',
      '--mode=dsr',
      '--endpoints=31.31.31.1:1',
    );
    expect(notHash.stdout).toContain('Error: Only Hash Selection criteria allowed for DSR mode');
    const flags = ['--mode=dsr', '--select=hash', '--endpoints=31.31.31.1:1'];
    const other = await lab.daemon.loxicmd('create', 'lb', '20.20.20.1', '--tcp=80:8080', ...flags);
    expect(other.stdout).toContain('Error: No port-translation in dsr mode');
    await create('20.20.20.1', '--tcp=8080:8080', '--tunnel=ipip', ...flags);
    expect(await row()).toContain('dsr:ipip');
  });

  it('egress rules are shown and left alone', async () => {
    await create('0.0.0.0', '--tcp=443:443', '--egress', '--endpoints=31.31.31.1:1');
    expect(await row()).toContain('default:egress');
    expect(await lab.daemon.dumpMap('nat_v4_map')).toHaveLength(0);
  });
});
