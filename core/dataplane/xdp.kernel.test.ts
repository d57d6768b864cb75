/** XDP beside tc, on veth in a network namespace of its own. Needs root and a built object. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Network } from '@loxilb/sdk';
import koffi from 'koffi';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createNetwork } from '../netlink/index.js';
import { cleanupDataPlane, createDataPlaneBroker, followNetwork, type XdpChoice } from './index.js';
import { silentLog } from './testing/silent-log.js';
import type { DataPlaneBroker } from './types.js';

const OBJECT =
  process.env.LOXILB_TEST_OBJECT ?? fileURLToPath(new URL('../../bpf/build/loxilb.bpf.o', import.meta.url));
const CLONE_NEWNET = 0x40000000;
const IN = 1;
const OUT = 2;

let bpfDir: string;
let network: Network & { close(): void };
let open: { broker: DataPlaneBroker; stop: () => void }[] = [];
let lines: string[] = [];

const log = {
  ...silentLog,
  info: (_: object | string, text?: string) => lines.push(text ?? ''),
  warn: (_: object | string, text?: string) => lines.push(text ?? ''),
};

function run(command: string): string {
  const [file = '', ...args] = command.split(' ');
  return execFileSync(file, args, { encoding: 'utf8' });
}

/** A daemon's data plane on the interfaces called x*. */
function start(xdp: XdpChoice | undefined): DataPlaneBroker {
  const options = { backend: 'kernel', bpfDir, objectFile: OBJECT, hook: 'auto', log } as const;
  const broker = createDataPlaneBroker({ ...options, ...(xdp ? { xdp } : {}) });
  broker.setFeature('test', 'conntrack', true);
  broker.load();
  const stop = followNetwork({ broker, network, allowed: ['x*'], log });
  open.push({ broker, stop });
  return broker;
}

function stopAll(): void {
  for (const { broker, stop } of open) {
    stop();
    broker.close();
  }
  open = [];
}

function states(broker: DataPlaneBroker): Record<string, string | undefined> {
  return Object.fromEntries(broker.attached().map(({ name, xdp }) => [name, xdp?.mode]));
}

function reason(broker: DataPlaneBroker, name: string): string | undefined {
  return broker.attached().find((one) => one.name === name)?.xdp?.reason;
}

function links(): string[] {
  return readdirSync(join(bpfDir, 'links')).filter((name) => /_xdp/.test(name));
}

function attachedProgram(name: string): { mode?: string; id?: number } {
  const [link] = JSON.parse(run(`ip -j -d link show dev ${name}`));
  const mode = ['', 'native', 'generic'][link.xdp?.mode ?? 0] ?? '';
  return link.xdp ? { mode, id: link.xdp.prog.id } : {};
}

/** What the loaded program knows of an interface. */
function device(name: string, loaded = 'xdp_ingress'): { mac: string; flags: number } {
  const program = JSON.parse(run(`bpftool -j prog show pinned ${bpfDir}/programs/${loaded}`));
  const maps: { id: number; name: string }[] = JSON.parse(run('bpftool -j map show'));
  const map = maps.find(({ id, name }) => program.map_ids.includes(id) && name === 'dp_xdp_device');
  const key = [0, 8, 16, 24].map((shift) => (facts(name).ifindex >>> shift) & 255).join(' ');
  const { value } = JSON.parse(run(`bpftool -j map lookup id ${map?.id} key ${key}`));
  const bytes = value.map((byte: string) => byte.slice(2));
  return { mac: bytes.slice(0, 6).join(':'), flags: Number.parseInt(bytes[6], 16) };
}

function facts(name: string): { ifindex: number; address: string } {
  return JSON.parse(run(`ip -j link show dev ${name}`))[0];
}

beforeAll(async () => {
  const unshare = koffi.load('libc.so.6').func('int unshare(int flags)') as (flags: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('these tests need root: a network namespace could not be made');
  run('ip link set lo up');
  for (const pair of ['x0', 'x1']) {
    run(`ip link add ${pair} type veth peer name p${pair}`);
    run(`ethtool -K p${pair} gro on`);
    for (const end of [pair, `p${pair}`]) run(`ip link set ${end} up`);
  }
  network = await createNetwork({ backend: 'kernel', log: silentLog });
  bpfDir = mkdtempSync(join(tmpdir(), 'loxilb-xdp-'));
});

afterEach(() => {
  stopAll();
  lines = [];
});

afterAll(() => {
  cleanupDataPlane({ bpfDir, log: silentLog });
  network.close();
});

describe('where XDP is not wanted', () => {
  it.each([undefined, 'off', 'auto'] as const)('%s loads nothing for veth', (choice) => {
    const broker = start(choice);
    expect(states(broker)).toEqual({ x0: 'off', x1: 'off' });
    expect(reason(broker, 'x0')).toBe(choice === 'auto' ? 'veth gains nothing by XDP' : 'XDP is off');
    expect(broker.programInfo().map(({ name }) => name)).not.toContain('xdp_ingress');
    expect(existsSync(join(bpfDir, 'programs/xdp_ingress'))).toBe(false);
    expect(links()).toEqual([]);
    expect(lines.filter((line) => /XDP/.test(line))).toEqual([]);
  });
});

describe('native XDP', () => {
  it('hangs beside tc, and knows the devices', () => {
    const broker = start('native');
    expect(states(broker)).toEqual({ x0: 'native', x1: 'native' });
    expect(attachedProgram('x0').mode).toBe('native');
    expect(broker.verifyAttached()).toEqual([]);
    expect(device('x0')).toEqual({ mac: facts('x0').address, flags: IN | OUT });
    expect(links().sort()).toEqual(['x0_xdp', 'x1_xdp']);
    expect(lines).toContain('XDP program attached, native');
  });

  it('stays when the daemon goes, and is swapped by the next one in the same link', () => {
    const link = () => JSON.parse(run(`bpftool -j link show pinned ${bpfDir}/links/x0_xdp`));
    const before = link();
    expect(attachedProgram('x0').id).toBe(before.prog_id);
    const broker = start('native');
    expect(link()).toMatchObject({ id: before.id });
    expect(link().prog_id).not.toBe(before.prog_id);
    expect(broker.verifyAttached()).toEqual([]);
  });

  it('follows changed addresses and names, and interfaces that go', async () => {
    const broker = start('native');
    run('ip link set dev x0 address 02:00:00:00:00:77');
    await expect.poll(() => device('x0').mac).toBe('02:00:00:00:00:77');
    run('ip link add x8 type veth peer name px8');
    run('ethtool -K px8 gro on');
    run('ip link set x8 up');
    await expect.poll(() => states(broker).x8).toBe('native');
    run('ip link set dev x8 down');
    run('ip link set dev x8 name x9');
    await expect.poll(links).toContain('x9_xdp');
    expect(links()).not.toContain('x8_xdp');
    const ifindex = facts('x9').ifindex;
    expect(broker.verifyAttached()).toEqual([]);
    run('ip link del x9');
    await expect.poll(links).not.toContain('x9_xdp');
    expect(broker.attached().map((one) => one.ifindex)).not.toContain(ifindex);
  });

  it('leaves a veth to tc whose peer takes no frames', async () => {
    run('ethtool -K px1 gro off');
    const broker = start('native');
    expect(states(broker)).toEqual({ x0: 'native', x1: 'off' });
    expect(lines.filter((line) => /no XDP on x1, tc alone: its peer/.test(line))).toHaveLength(1);
    expect(links()).toEqual(['x0_xdp']);
    run('ethtool -K px1 gro on');
    run('ip link set dev x1 mtu 1400');
    await expect.poll(() => states(broker).x1).toBe('native');
    run('ip link set dev x1 mtu 1500');
  });

  it('leaves a program of somebody else alone', () => {
    run('ethtool -K px1 gro off');
    start('native');
    stopAll();
    run('ethtool -K px1 gro on');
    run(`bpftool net attach xdpdrv pinned ${bpfDir}/programs/xdp_ingress dev x1`);
    const foreign = attachedProgram('x1').id;
    const broker = start('native');
    expect(states(broker)).toEqual({ x0: 'native', x1: 'off' });
    expect(reason(broker, 'x1')).toBe('somebody else has an XDP program there');
    expect(attachedProgram('x1').id).toBe(foreign);
    expect(lines).toContain('no XDP on x1, tc alone: somebody else has an XDP program there');
    run('bpftool net detach xdpdrv dev x1');
  });

  it('says so when somebody takes it off', () => {
    const broker = start('native');
    run(`bpftool link detach pinned ${bpfDir}/links/x0_xdp`);
    expect(broker.verifyAttached()).toMatchObject([{ name: 'x0', direction: 'xdp' }]);
    expect(states(broker)).toMatchObject({ x0: 'off' });
  });
});

describe('another choice', () => {
  it('is taken by the next daemon: generic, off', () => {
    start('native');
    stopAll();
    const generic = start('generic');
    expect(states(generic)).toEqual({ x0: 'generic', x1: 'generic' });
    expect(attachedProgram('x0').mode).toBe('generic');
    expect(device('x0', 'xdp_generic').flags).toBe(IN | OUT);
    expect(links().sort()).toEqual(['x0_xdpgeneric', 'x1_xdpgeneric']);
    expect(lines).toContain('generic XDP is slower than tc alone');
    stopAll();
    const off = start('off');
    expect(links()).toEqual([]);
    expect(attachedProgram('x0')).toEqual({});
    expect(off.verifyAttached()).toEqual([]);
    expect(readdirSync(join(bpfDir, 'programs')).filter((name) => /xdp/.test(name))).toEqual([]);
  });

  it('ends with everything else at a cleanup', () => {
    start('native');
    stopAll();
    expect(attachedProgram('x0').mode).toBe('native');
    cleanupDataPlane({ bpfDir, log: silentLog });
    expect(attachedProgram('x0')).toEqual({});
    expect(existsSync(bpfDir)).toBe(false);
  });
});
