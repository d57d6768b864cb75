import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createService, defaultPlugins, type Lab, must, serverEndpoints, startLab, tcp } from './harness/index.js';

describe('what an operator sees with bpftool', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab();
    const { network, daemon } = lab;
    await createService(daemon, { vip: network.vip.v4, endpoints: serverEndpoints(network, 'v4') });
    await tcp(network.client.netns, { host: network.vip.v4, port: 2020, count: 3 });
  });
  afterAll(() => lab?.dispose());

  it('pins maps under the names of the guide', () => {
    expect(readdirSync(lab.daemon.bpfDir)).toEqual(expect.arrayContaining(['nat_v4_map', 'ct_v4_map', 'intf_map']));
  });

  it.each([
    ['nat_v4_map', ['slot_count', 'service_id', 'select', 'mode']],
    ['ct_v4_map', ['packets', 'bytes', 'state', 'endpoint_id', 'sport', 'daddr']],
    ['intf_map', ['ifindex', 'port', 'zone']],
  ])('%s is printed with the names of its fields', async (name, fields) => {
    const text = await must('bpftool', ['map', 'dump', 'pinned', lab.daemon.pin(name)]);
    for (const field of fields) expect(text).toContain(`"${field}"`);
  });
});

describe('a plugin that is not enabled', () => {
  const smallest = { lb: {}, conntrack: {}, version: {} };
  let lab: Lab | undefined;

  afterAll(() => lab?.dispose());

  /** Instructions the verifier walked through for the program at the interfaces, and the pinned maps. */
  const measure = async (plugins: Readonly<Record<string, object>>): Promise<{ verified: number; pins: string[] }> => {
    lab = await startLab({ plugins, servers: 1 });
    try {
      return { verified: await verifiedInstructions(lab, 'tc_ingress'), pins: readdirSync(lab.daemon.bpfDir) };
    } finally {
      await lab.dispose();
      lab = undefined;
    }
  };

  it('has no maps, no routes, no commands and no instructions in the packet path', async () => {
    const everything = await measure(defaultPlugins);
    const { lb: _lb, endpoint: _endpoint, ...others } = defaultPlugins;
    const withoutLb = await measure(others);
    expect(withoutLb.verified).toBeLessThan(everything.verified * 0.8);
    expect(everything.pins).toContain('nat_v4_map');
    expect(withoutLb.pins).not.toContain('nat_v4_map');

    const nothing = await measure({ version: {} });
    expect(nothing.verified).toBeLessThan(withoutLb.verified / 2);
  });

  it('answers 404 and tells the user of loxicmd', async () => {
    lab = await startLab({ plugins: smallest, servers: 1 });
    expect((await lab.daemon.api.get('/config/port/all')).status).toBe(404);
    const { stdout, stderr, code } = await lab.daemon.loxicmd('get', 'port');
    expect(code).not.toBe(0);
    expect(stdout + stderr).toMatch(/not enabled/);
    await lab.dispose();
    lab = undefined;
  });

  /** The daemon holds its programs open, and the kernel tells about them there. */
  async function verifiedInstructions({ daemon }: Lab, program: string): Promise<number> {
    const pin = join(daemon.bpfDir, 'programs', program);
    const { id } = JSON.parse(await must('bpftool', ['-j', 'prog', 'show', 'pinned', pin]));
    const folder = `/proc/${daemon.process.pid}/fdinfo`;
    const texts = readdirSync(folder).map((fd) => readIfThere(join(folder, fd)));
    const text = texts.find((candidate) => new RegExp(`^prog_id:\\s+${id}$`, 'm').test(candidate));
    return Number(text?.match(/verified_insns:\s+(\d+)/)?.[1]);
  }

  /** A descriptor may be closed between the listing and the reading. */
  function readIfThere(file: string): string {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return '';
    }
  }
});
