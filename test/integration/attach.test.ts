import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createService,
  type Lab,
  must,
  type Network,
  names,
  run,
  serverEndpoints,
  startLab,
  tcp,
} from './harness/index.js';

const foreignProgram = `
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
SEC("classifier") int foreign(struct __sk_buff *skb) { return -1; /* TC_ACT_UNSPEC: the next one decides */ }
char _license[] SEC("license") = "GPL";
`;

const tcxAttach = fileURLToPath(new URL('./programs/tcx-attach.mjs', import.meta.url));

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

  it.each(['tcx', 'clsact'] as const)('%s: a clsact filter of somebody else stays', async (hook) => {
    lab = await startLab({ hook });
    const { network } = lab;
    const object = await buildForeignProgram(network);
    await network.lb.run('tc', ['qdisc', 'add', 'dev', 'client', 'clsact']);
    const filter = ['dev', 'client', 'ingress', 'prio', '7', 'bpf', 'da', 'obj', object, 'sec', 'classifier'];
    await network.lb.must('tc', ['filter', 'add', ...filter]);
    await expectUntouched(lab, async () => (await filters(lab as Lab, 'ingress')).match(/foreign\S*.* id \d+/g));
  });

  it.each(['tcx', 'clsact'] as const)('%s: a tcx program of somebody else stays', async (hook) => {
    lab = await startLab({ hook });
    const { network } = lab;
    const object = await buildForeignProgram(network);
    const folder = join(network.folder, 'foreign-bpf');
    const [program, link] = [join(folder, 'program'), join(folder, 'link')];
    await must('mkdir', [folder]);
    await must('mount', ['-t', 'bpf', 'bpf', folder]);
    await must('bpftool', ['prog', 'load', object, program, 'type', 'classifier']);
    const [{ ifindex }] = JSON.parse(await network.lb.must('ip', ['-j', 'link', 'show', 'dev', 'client']));
    await network.lb.must(process.execPath, [tcxAttach, program, String(ifindex), link]);
    await expectUntouched(lab, async () => {
      const { stdout } = await run('bpftool', ['-j', 'link', 'show', 'pinned', link]);
      return [String(JSON.parse(stdout).prog_id)];
    });
  });

  it('touches only the interfaces of the allow list', async () => {
    lab = await startLab({ args: ['--interfaces', 'client,server*'] });
    const pins = readdirSync(join(lab.daemon.bpfDir, 'links'));
    expect(pins.filter((pin) => pin.startsWith('lo_'))).toEqual([]);
    expect(pins).toContain('server2_ingress');
    expect(existsSync(join(lab.daemon.bpfDir, 'links', 'client_ingress'))).toBe(true);
  });

  /** Through a restart and a clean-up of ours, with traffic. */
  async function expectUntouched(used: Lab, foreign: () => Promise<string[] | null>): Promise<void> {
    const { daemon, network } = used;
    const before = await foreign();
    expect(before).toHaveLength(1);
    await createService(daemon, { vip: network.vip.v4, endpoints: serverEndpoints(network, 'v4') });
    await daemon.restart();
    expect(await requests(used)).toEqual(['server1', 'server2', 'server3']);
    expect(await foreign()).toEqual(before);
    await daemon.stop();
    expect((await daemon.cleanup()).code).toBe(0);
    expect(await foreign()).toEqual(before);
  }
});

/** Compiles a program that looks at packets and leaves them to the next. */
async function buildForeignProgram({ folder }: Network): Promise<string> {
  const [source, object] = [join(folder, 'foreign.c'), join(folder, 'foreign.o')];
  await writeFile(source, foreignProgram);
  const include = `-I/usr/include/${(await must('uname', ['-m'])).trim()}-linux-gnu`;
  await must('clang-14', ['-O2', '-g', '-target', 'bpf', include, '-c', source, '-o', object]);
  return object;
}
