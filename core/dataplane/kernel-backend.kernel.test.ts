/** The kernel backend, in a network namespace of its own and with its own bpf folder. Needs root and a built object. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytes, type MapSlice, type MapSpec, type Network, struct, u32, u64 } from '@loxilb/sdk';
import koffi from 'koffi';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createNetwork } from '../netlink/index.js';
import { cleanupDataPlane, createDataPlaneBroker, followNetwork, testRun } from './index.js';
import { BpfObject } from './kernel/bpf-object.js';
import { openPin } from './kernel/pins.js';
import { probeChecksumIpv6Flag, probeTcx } from './kernel/probe.js';
import { createMap, pinObject } from './sys/bpf.js';
import { closeFd, mountBpffs } from './sys/libc.js';
import { describeMaps } from './testing/map-contract.js';
import { silentLog } from './testing/silent-log.js';
import type { DataPlaneBroker, HookChoice } from './types.js';

const OBJECT =
  process.env.LOXILB_TEST_OBJECT ?? fileURLToPath(new URL('../../bpf/build/loxilb.bpf.o', import.meta.url));
const CLONE_NEWNET = 0x40000000;

const FLOWS: MapSpec<number, bigint> = { name: 'test_flows', type: 'hash', key: u32, value: u64, maxEntries: 5000 };
const SLOTS: MapSpec<number, bigint> = { name: 'test_slots', type: 'array', key: u32, value: u64, maxEntries: 5000 };

const PER_CPU: MapSpec<number, bigint> = { ...FLOWS, name: 'test_per_cpu', type: 'percpu_hash' };
const TRIE: MapSpec<{ prefixlen: number; service: number }, bigint> = {
  ...FLOWS,
  name: 'test_trie',
  type: 'lpm_trie',
  key: struct({ prefixlen: u32, service: u32 }),
};

let bpfDir: string;
let network: Network & { close(): void };
const open: DataPlaneBroker[] = [];

function run(command: string): string {
  const [file = '', ...args] = command.split(' ');
  return execFileSync(file, args, { encoding: 'utf8' });
}

function createBroker(hook: HookChoice = 'auto', folder = bpfDir): DataPlaneBroker {
  const broker = createDataPlaneBroker({ backend: 'kernel', bpfDir: folder, objectFile: OBJECT, hook, log: silentLog });
  broker.setFeature('test', 'conntrack', true);
  open.push(broker);
  return broker;
}

/** A daemon with two tables of its own; `sizes` differ from FLOWS and SLOTS. */
function start(sizes: { flows?: number; slots?: number } = {}) {
  const broker = createBroker();
  const flows = broker.claim('test', { ...FLOWS, maxEntries: sizes.flows ?? FLOWS.maxEntries });
  const slots = broker.claim('test', { ...SLOTS, maxEntries: sizes.slots ?? SLOTS.maxEntries });
  broker.load();
  return { broker, flows, slots };
}

function fill(map: MapSlice<number, bigint>, count: number): void {
  map.setMany(Array.from({ length: count }, (_, index) => [index, BigInt(index + 1)] as const));
}

function count(map: MapSlice<number, bigint>): number {
  return [...map.entries()].length;
}

function code(wanted: string) {
  return expect.objectContaining({ code: wanted });
}

beforeAll(async () => {
  // The namespace is this process's alone and goes with it.
  const unshare = koffi.load('libc.so.6').func('int unshare(int flags)') as (flags: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('these tests need root: a network namespace could not be made');
  run('ip link set lo up');
  run('ip link add dpt0 type veth peer name dpt1');
  run('ip link add dpt0.100 type veth peer name dpt2');
  network = await createNetwork({ backend: 'kernel', log: silentLog });
  bpfDir = mkdtempSync(join(tmpdir(), 'loxilb-dp-'));
});

afterEach(() => {
  for (const broker of open.splice(0)) broker.close();
});

afterAll(() => {
  cleanupDataPlane({ bpfDir, log: silentLog });
  network.close();
});

describe('maps', () => {
  let folder: string;

  describeMaps('of the kernel', () => {
    folder = mkdtempSync(join(tmpdir(), 'loxilb-dp-'));
    const broker = createBroker('auto', folder);
    open.pop();
    return broker;
  });

  afterAll(() => cleanupDataPlane({ bpfDir: folder, log: silentLog }));
});

describe('loading', () => {
  it('mounts a bpf file system and pins what outlives the daemon', () => {
    start();
    expect(readdirSync(bpfDir)).toEqual(
      expect.arrayContaining(['dp_control', 'intf_map', 'links', 'programs', 'test_flows', 'test_slots']),
    );
    expect(readdirSync(join(bpfDir, 'programs'))).toEqual(expect.arrayContaining(['tc_ingress', 'tc_egress']));
  });

  it('lets the verifier remove what is off', () => {
    const figures = (features: readonly string[]) => {
      const broker = createBroker();
      for (const feature of features) broker.setFeature('test', feature, true);
      broker.load();
      const ingress = broker.programInfo().find((program) => program.name === 'tc_ingress');
      broker.close();
      return ingress?.verifiedInstructions ?? 0;
    };
    expect(figures([])).toBeLessThan(figures(['lb', 'ipv6']));
  });

  it('says what the verifier said', () => {
    const object = BpfObject.open(OBJECT);
    object.setMaxEntries('dp_control', 0);
    expect(() => object.load()).toThrow(code('DP_KERNEL'));
    expect(() => object.load()).toThrow(/loading .*\n.*libbpf/);
    object.close();
  });

  it('refuses a missing object with the remedy', () => {
    const options = { backend: 'kernel', bpfDir, hook: 'auto', log: silentLog } as const;
    expect(() => createDataPlaneBroker({ ...options, objectFile: '/nonexistent.o' })).toThrow(
      code('DP_OBJECT_MISSING'),
    );
  });

  it('probes the kernel', () => {
    expect(probeTcx()).toBe(0);
    expect(typeof probeChecksumIpv6Flag()).toBe('boolean');
  });
});

describe('a second daemon', () => {
  it('adopts the tables of the first', () => {
    const first = start();
    fill(first.flows, 4999);
    fill(first.slots, 10);
    first.broker.bumpGeneration();
    first.broker.close();
    const second = start();
    expect(count(second.flows)).toBe(4999);
    expect(second.slots.get(9)).toBe(10n);
    second.flows.sync([]);
  });

  it('copies tables whose size has changed', () => {
    const first = start();
    fill(first.flows, 4500);
    fill(first.slots, 100);
    first.broker.close();
    const second = start({ flows: 9000, slots: 200 });
    expect(count(second.flows)).toBe(4500);
    expect(count(second.slots)).toBe(200);
    expect(second.slots.get(99)).toBe(100n);
    expect(second.slots.get(150)).toBe(0n);
    second.flows.set(9_999, 1n);
    second.broker.close();
    expect(count(start({ flows: 9000, slots: 200 }).flows)).toBe(4501);
  });

  it('refuses a size that what is there does not fit', () => {
    start({ flows: 9000, slots: 200 }).broker.close();
    expect(() => start({ flows: 4000, slots: 200 })).toThrow(code('DP_MAP_SHRINK'));
    expect(() => start({ flows: 9000, slots: 50 })).toThrow(code('DP_MAP_SHRINK'));
    const unharmed = start({ flows: 9000, slots: 200 });
    expect(count(unharmed.flows)).toBe(4501);
    unharmed.flows.sync([]);
    unharmed.slots.sync([]);
  });

  it('adopts tries and tables with a value per CPU, and copies them when their size has changed', () => {
    const open = (maxEntries: number) => {
      const broker = createBroker();
      const trie = broker.claim('test', { ...TRIE, maxEntries });
      const perCpu = broker.claim('test', { ...PER_CPU, maxEntries });
      broker.load();
      return { broker, trie, perCpu };
    };
    const first = open(100);
    first.trie.set({ prefixlen: 32, service: 7 }, 70n);
    first.perCpu.set(7, 70n);
    first.broker.close();
    for (const maxEntries of [100, 200]) {
      const next = open(maxEntries);
      expect([...next.trie.entries()]).toEqual([[{ prefixlen: 32, service: 7 }, 70n]]);
      expect(next.perCpu.getPerCpu(7).reduce((sum, one) => sum + one, 0n)).toBe(70n);
      next.broker.close();
    }
  });

  it('leaves a table of timers its entries, and begins it anew at another size', () => {
    const load = (maxEntries: number) => {
      const broker = createBroker();
      const spec = { name: 'ct_idle', type: 'hash', key: bytes(40), value: bytes(16), uncopyable: true } as const;
      const timers = broker.claim('test', { ...spec, maxEntries });
      broker.load();
      return timers;
    };
    load(1000).set(new Uint8Array(40), new Uint8Array(16));
    open.pop()?.close();
    expect([...load(1000).entries()]).toHaveLength(1);
    open.pop()?.close();
    expect([...load(2000).entries()]).toHaveLength(0);
    expect(existsSync(join(bpfDir, 'ct_idle'))).toBe(true);
  });

  it('removes the tables of plugins that are off', () => {
    start();
    expect(existsSync(join(bpfDir, 'test_flows'))).toBe(true);
    open.pop()?.close();
    createBroker().load();
    expect(existsSync(join(bpfDir, 'test_flows'))).toBe(false);
  });
});

describe('foreign layouts', () => {
  let folder: string;

  /** A folder with one map pinned as `name`. */
  function folderWith(name: string, shape: { keySize: number; valueSize: number }): string {
    folder = mkdtempSync(join(tmpdir(), 'loxilb-dp-'));
    expect(mountBpffs(folder)).toBe(0);
    const fd = createMap(name, { type: 2, maxEntries: 1, flags: 0, ...shape });
    expect(pinObject(fd, join(folder, name))).toBe(0);
    closeFd(fd);
    return folder;
  }

  afterEach(() => cleanupDataPlane({ bpfDir: folder, log: silentLog }));

  it('of another version are refused, both versions named', () => {
    folderWith('dp_control', { keySize: 4, valueSize: 8 });
    const broker = createBroker('auto', folder);
    expect(() => broker.load()).toThrow(/layout version 0, this daemon has 2/);
    expect(() => broker.load()).toThrow(
      expect.objectContaining({ code: 'DP_LAYOUT_VERSION', remedy: expect.stringContaining('loxilb --cleanup') }),
    );
  });

  it('with other sizes are refused', () => {
    folderWith('dp_counter', { keySize: 4, valueSize: 24 });
    expect(() => createBroker('auto', folder).load()).toThrow(code('DP_LAYOUT_VERSION'));
    expect(existsSync(join(folder, 'dp_counter'))).toBe(true);
  });
});

describe('attachment', () => {
  const names = (broker: DataPlaneBroker) => broker.attached().map((link) => `${link.name} ${link.hook}`);

  it('hangs on every interface, also one with a dot in its name, and is read back', () => {
    const { broker } = start();
    const stop = followNetwork({ broker, network, allowed: undefined, log: silentLog });
    expect(names(broker).sort()).toEqual(['dpt0 tcx', 'dpt0.100 tcx', 'dpt1 tcx', 'dpt2 tcx', 'lo tcx']);
    expect(broker.verifyAttached()).toEqual([]);
    stop();
  });

  it('is swapped by the next daemon in the same links', () => {
    const links = () => run(`bpftool --json link show pinned ${join(bpfDir, 'links', 'lo_ingress')}`);
    const before = JSON.parse(links());
    const { broker } = start();
    followNetwork({ broker, network, allowed: undefined, log: silentLog })();
    const after = JSON.parse(links());
    expect(after.id).toBe(before.id);
    expect(after.prog_id).not.toBe(before.prog_id);
    expect(broker.verifyAttached()).toEqual([]);
  });

  it('leaves interfaces that are not allowed', () => {
    const { broker } = start();
    followNetwork({ broker, network, allowed: ['dpt0*'], log: silentLog })();
    expect(names(broker).sort()).toEqual(['dpt0 tcx', 'dpt0.100 tcx']);
    expect(readdirSync(join(bpfDir, 'links')).length).toBe(4);
  });

  it('follows interfaces that appear, are renamed and vanish', async () => {
    const { broker } = start();
    const stop = followNetwork({ broker, network, allowed: undefined, log: silentLog });
    run('ip link add dpt8 type veth peer name dpt9');
    await expect.poll(() => names(broker)).toContain('dpt9 tcx');
    run('ip link set dpt9 name dpt7');
    await expect.poll(() => names(broker)).toContain('dpt7 tcx');
    expect(names(broker)).not.toContain('dpt9 tcx');
    run('ip link del dpt8');
    await expect.poll(() => readdirSync(join(bpfDir, 'links')).filter((name) => /dpt[789]/.test(name))).toEqual([]);
    expect(names(broker)).not.toContain('dpt7 tcx');
    stop();
  });

  it('notices when somebody takes a program off, and puts it back', () => {
    const { broker } = start();
    broker.attach({ ifindex: 1, name: 'lo' });
    run(`bpftool link detach pinned ${join(bpfDir, 'links', 'lo_egress')}`);
    expect(broker.verifyAttached()).toEqual([
      { ifindex: 1, name: 'lo', direction: 'egress', problem: 'no program of ours is attached' },
    ]);
    broker.attach({ ifindex: 1, name: 'lo' });
    expect(broker.verifyAttached()).toEqual([]);
  });

  it('says so when the interface does not exist', () => {
    const { broker } = start();
    expect(() => broker.attach({ ifindex: 4000, name: 'ghost' })).toThrow(code('DP_KERNEL'));
    broker.detach(4000);
  });

  it('uses clsact filters when asked, and only its own', () => {
    run('tc qdisc add dev dpt1 clsact');
    run(
      `tc filter add dev dpt1 ingress pref 5 bpf direct-action object-pinned ${join(bpfDir, 'programs', 'tc_egress')}`,
    );
    const first = createBroker('clsact');
    first.load();
    followNetwork({ broker: first, network, allowed: undefined, log: silentLog })();
    expect(names(first)).toContain('dpt1 clsact');
    expect(readdirSync(join(bpfDir, 'links'))).toEqual([]);
    first.close();
    const second = createBroker('clsact');
    second.load();
    followNetwork({ broker: second, network, allowed: ['lo', 'dpt1'], log: silentLog })();
    expect(names(second).sort()).toEqual(['dpt1 clsact', 'lo clsact']);
    second.close();
    const third = createBroker('tcx');
    third.load();
    followNetwork({ broker: third, network, allowed: ['dpt1'], log: silentLog })();
    expect(names(third)).toEqual(['dpt1 tcx']);
    expect(run('tc filter show dev dpt1 ingress')).not.toContain('name tc_ingress');
    expect(run('tc filter show dev dpt1 ingress')).toContain('pref 5 ');
  });
});

describe('programs', () => {
  it('run in the kernel and answer in their context', () => {
    const { broker } = start();
    expect(broker.dataplane.program('lb_recount').run(new Uint8Array(8))?.length).toBe(8);
    expect(() => broker.dataplane.program('warp').run(new Uint8Array(8))).toThrow(code('DP_PROGRAM_UNKNOWN'));
  });

  it('walk a table off the event loop', async () => {
    const { broker } = start();
    await broker.dataplane.walk('ct_walk', 'ct_flow').run();
  });

  it('take packets without an interface', () => {
    const object = BpfObject.open(OBJECT);
    for (const map of object.layout.maps.values()) object.setMaxEntries(map.name, Math.min(map.maxEntries, 1024));
    object.load();
    const packet = new Uint8Array(60);
    const { data, retval } = testRun(object.programFd('tc_ingress'), packet, { ifindex: 1, repeat: 10 });
    expect(data).toEqual(packet);
    expect(retval).toBe(0xffffffff);
    expect(() => testRun(object.programFd('tc_ingress'), packet, { ifindex: 4000 })).toThrow(code('DP_KERNEL'));
    object.close();
  });
});

describe('cleanup', () => {
  it('leaves nothing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'loxilb-dp-'));
    const broker = createBroker('auto', folder);
    broker.load();
    broker.attach({ ifindex: 1, name: 'lo' });
    broker.close();
    expect(openPin(join(folder, 'links', 'lo_ingress'))).toBeGreaterThan(0);
    cleanupDataPlane({ bpfDir: folder, log: silentLog });
    expect(existsSync(folder)).toBe(false);
    expect(() => cleanupDataPlane({ bpfDir: folder, log: silentLog })).not.toThrow();
    rmSync(folder, { recursive: true, force: true });
  });
});
