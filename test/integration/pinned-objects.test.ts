import { readdirSync } from 'node:fs';
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

  /** What the verifier walked through, of the program on the client's side. */
  const measure = async (plugins: Readonly<Record<string, object>>): Promise<{ size: number; pins: string[] }> => {
    lab = await startLab({ plugins, servers: 1 });
    try {
      const folder = join(lab.daemon.bpfDir, 'programs');
      const pin = readdirSync(folder).find((name) => name.includes('ingress'));
      const { bytes_xlated: size } = JSON.parse(
        await must('bpftool', ['-j', 'prog', 'show', 'pinned', join(folder, pin ?? '')]),
      );
      const ids = await verifiedInstructions(lab);
      return { size: ids ?? size, pins: readdirSync(lab.daemon.bpfDir) };
    } finally {
      await lab.dispose();
      lab = undefined;
    }
  };

  it('has no maps, no routes, no commands and no instructions in the packet path', async () => {
    const everything = await measure(defaultPlugins);
    const { lb: _lb, endpoint: _endpoint, ...others } = defaultPlugins;
    const withoutLb = await measure(others);
    expect(withoutLb.size).toBeLessThan(everything.size * 0.8);
    expect(everything.pins).toContain('nat_v4_map');
    expect(withoutLb.pins).not.toContain('nat_v4_map');

    const nothing = await measure({ version: {} });
    expect(nothing.size).toBeLessThan(withoutLb.size / 2);
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

  /** The daemon holds the programs open; the kernel tells their verified instruction counts there. */
  async function verifiedInstructions({ daemon }: Lab): Promise<number | undefined> {
    const text = await must('bash', ['-c', `cat /proc/${daemon.process.pid}/fdinfo/* 2>/dev/null || true`]);
    const counts = [...text.matchAll(/verified_insns:\s+(\d+)/g)].map(([, count]) => Number(count));
    return counts.length > 0 ? Math.max(...counts) : undefined;
  }
});
