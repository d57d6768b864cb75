import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createService, type Lab, must, names, serverEndpoints, startLab, tcp } from './harness/index.js';

const foreignProgram = `
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
SEC("classifier") int foreign(struct __sk_buff *skb) { return -1; /* TC_ACT_UNSPEC: the next one decides */ }
char _license[] SEC("license") = "GPL";
`;

describe('attaching to interfaces', () => {
  let lab: Lab | undefined;

  afterEach(async () => {
    await lab?.dispose();
    lab = undefined;
  });

  const requests = async ({ network }: Lab): Promise<string[]> =>
    names(await tcp(network.client.netns, { host: network.vip.v4, port: 2020, count: 3 }));
  const filters = ({ network }: Lab, direction: string): Promise<string> =>
    network.lb.must('tc', ['filter', 'show', 'dev', 'client', direction]);

  it('uses tcx links, pinned under the names of the interfaces', async () => {
    lab = await startLab({ hook: 'tcx' });
    const pins = readdirSync(join(lab.daemon.bpfDir, 'links'));
    for (const port of ['client', 'server1', 'server2', 'server3']) {
      expect(pins).toContain(`${port}_ingress`);
      expect(pins).toContain(`${port}_egress`);
    }
    expect(await filters(lab, 'ingress')).not.toContain('bpf');
  });

  it('falls back to clsact: traffic, restart without a gap, and clean-up', async () => {
    lab = await startLab({ hook: 'clsact' });
    const { daemon, network } = lab;
    for (const direction of ['ingress', 'egress']) expect(await filters(lab, direction)).toContain('bpf');
    await createService(daemon, { vip: network.vip.v4, endpoints: serverEndpoints(network, 'v4') });
    expect(await requests(lab)).toEqual(['server1', 'server2', 'server3']);
    await daemon.kill();
    expect(await requests(lab)).toEqual(['server1', 'server2', 'server3']);
    await daemon.start();
    // Replaced in place: one filter, not one per start.
    expect((await filters(lab, 'ingress')).match(/bpf.*handle/g)).toHaveLength(1);
    expect(await requests(lab)).toEqual(['server1', 'server2', 'server3']);
    await daemon.stop();
    expect((await daemon.cleanup()).code).toBe(0);
    for (const direction of ['ingress', 'egress']) expect(await filters(lab, direction)).not.toContain('bpf');
  });

  it.each(['tcx', 'clsact'] as const)('%s: a program of somebody else stays', async (hook) => {
    lab = await startLab({ hook });
    const { daemon, network } = lab;
    const source = join(network.folder, 'foreign.c');
    const object = join(network.folder, 'foreign.o');
    await writeFile(source, foreignProgram);
    await must('clang-14', [
      '-O2',
      '-g',
      '-target',
      'bpf',
      '-I/usr/include/x86_64-linux-gnu',
      '-c',
      source,
      '-o',
      object,
    ]);
    await network.lb.run('tc', ['qdisc', 'add', 'dev', 'client', 'clsact']);
    await network.lb.must('tc', [
      'filter',
      'add',
      'dev',
      'client',
      'ingress',
      'prio',
      '7',
      'bpf',
      'da',
      'obj',
      object,
      'sec',
      'classifier',
    ]);
    const foreign = async (): Promise<string[] | null> =>
      (await filters(lab as Lab, 'ingress')).match(/foreign\S*.* id \d+/g);
    const before = await foreign();
    expect(before).toHaveLength(1);
    await createService(daemon, { vip: network.vip.v4, endpoints: serverEndpoints(network, 'v4') });
    await daemon.restart();
    expect(await requests(lab)).toEqual(['server1', 'server2', 'server3']);
    expect(await foreign()).toEqual(before);
    await daemon.stop();
    expect((await daemon.cleanup()).code).toBe(0);
    expect(await foreign()).toEqual(before);
  });

  it('touches only the interfaces of the allow list', async () => {
    lab = await startLab({ args: ['--interfaces', 'client,server*'] });
    const pins = readdirSync(join(lab.daemon.bpfDir, 'links'));
    expect(pins.filter((pin) => pin.startsWith('lo_'))).toEqual([]);
    expect(pins).toContain('server2_ingress');
    expect(existsSync(join(lab.daemon.bpfDir, 'links', 'client_ingress'))).toBe(true);
  });
});
