/** A packet through a second instance of the packet path: it tells what it decides and leaves nothing. Needs root. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytes, type MapSpec, type RawBatch, u32 } from '@loxilb/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanupDataPlane, createDataPlaneBroker } from './index.js';
import { DpStep, dpTraceStep } from './layout.gen.js';
import { silentLog } from './testing/silent-log.js';
import type { DataPlaneBroker } from './types.js';

const OBJECT =
  process.env.LOXILB_TEST_OBJECT ?? fileURLToPath(new URL('../../bpf/build/loxilb.bpf.o', import.meta.url));
const SERVICE: MapSpec<Uint8Array, Uint8Array> = {
  name: 'lb_service',
  type: 'hash',
  key: bytes(24),
  value: bytes(24),
  maxEntries: 1000,
};
const STATE: MapSpec<number, Uint8Array> = {
  name: 'lb_svc_state',
  type: 'array',
  key: u32,
  value: bytes(16),
  maxEntries: 100,
};
const LEARNED: MapSpec<Uint8Array, Uint8Array> = {
  name: 'lb_tunnel_mtu',
  type: 'lru_hash',
  key: bytes(16),
  value: bytes(8),
  maxEntries: 4096,
};
const SERVICE_ID = 7;

let folder: string;
let broker: DataPlaneBroker;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'loxilb-trace-'));
  broker = createDataPlaneBroker({
    backend: 'kernel',
    bpfDir: folder,
    objectFile: OBJECT,
    hook: 'auto',
    log: silentLog,
  });
  for (const feature of ['conntrack', 'lb', 'ipv6']) broker.setFeature('test', feature, true);
  const services = broker.claim('test', SERVICE);
  const states = broker.claim('test', STATE);
  const learned = broker.claim('test', LEARNED);
  broker.load();
  services.set(serviceKey(), serviceValue());
  learned.set(new Uint8Array(16).fill(5), new Uint8Array(8).fill(6));
  states.set(SERVICE_ID, new Uint8Array(16).fill(1));
});

afterAll(() => {
  broker.close();
  cleanupDataPlane({ bpfDir: folder, log: silentLog });
});

/** 20.20.20.1 port 80, TCP. */
function serviceKey(): Uint8Array {
  const key = Buffer.alloc(24);
  key.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 20, 20, 20, 1, 0, 80, 6]);
  return key;
}

/** Without endpoints. */
function serviceValue(): Uint8Array {
  const value = Buffer.alloc(24);
  value.writeUInt32LE(SERVICE_ID, 0);
  return value;
}

/** SYN from 10.0.0.1 port 1000 to 20.20.20.1, without checksums: nothing looks at them. */
function syn(port: number): Uint8Array {
  const frame = Buffer.alloc(54);
  frame.writeUInt16BE(0x0800, 12);
  frame.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 20, 20, 20, 1], 14);
  frame.writeUInt16BE(1000, 34);
  frame.writeUInt16BE(port, 36);
  frame.set([0x50, 0x02, 0xff, 0xff], 46);
  return frame;
}

function stepsOf(batches: Iterable<RawBatch>): { step: number; a: number }[] {
  return [...batches].flatMap(({ values, count }) => {
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    return Array.from({ length: count }, (_, index) => dpTraceStep.decode(view, index * dpTraceStep.size));
  });
}

const MAPS = ['dp_control', 'dp_counter', 'intf_map', 'lb_service', 'lb_svc_state'];

function everything(): string {
  const all = MAPS.map((name) => [...broker.dataplane.rawBatches(name)].map(({ keys, values }) => [keys, values]));
  return JSON.stringify(all, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value));
}

describe('a private instance', () => {
  it('decides as the running one would, and leaves its maps alone', async () => {
    const before = everything();
    const trace = await broker.dataplane.openTrace({
      programs: ['tc_ingress'],
      copied: [],
      shared: ['lb_service', 'dp_control'],
      sizes: {},
    });
    expect(trace).toBeDefined();
    if (!trace) return;
    const { verdict, bytes: answer } = trace.run({ program: 'tc_ingress', bytes: syn(80), ifindex: 1, mark: 0 });
    const [count, ...steps] = stepsOf(trace.read('dp_trace'));
    expect(steps.slice(0, count?.a)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ step: DpStep.STEP_SERVICE_FOUND, a: SERVICE_ID }),
        expect.objectContaining({ step: DpStep.STEP_NO_ENDPOINT, a: SERVICE_ID }),
      ]),
    );
    expect(verdict).not.toBe(0xffffffff);
    expect(answer.length).toBeGreaterThan(0);
    trace.close();
    expect(everything()).toBe(before);
  });

  it('has maps of its own that can be filled, read and emptied', async () => {
    const trace = await broker.dataplane.openTrace({
      programs: ['tc_ingress'],
      copied: [],
      shared: ['lb_service'],
      sizes: { lb_ep_flows: 3 },
    });
    if (!trace) throw new Error('no kernel');
    expect([...trace.read('ct_flow')]).toEqual([]);
    const real = [...broker.dataplane.rawBatches('lb_svc_state')];
    trace.write('lb_svc_state', real);
    expect(Buffer.concat([...trace.read('lb_svc_state')].map(({ values }) => values))).toEqual(
      Buffer.concat(real.map(({ values }) => values)),
    );
    const entry = { keys: new Uint8Array(40).fill(1), values: new Uint8Array(104).fill(1), count: 1 };
    trace.write('ct_flow', [entry]);
    expect([...trace.read('ct_flow')]).toEqual([entry]);
    trace.write('ct_flow', []);
    expect([...trace.read('ct_flow')]).toEqual([]);
    expect([...trace.read('lb_ep_flows')][0]?.count).toBe(3);
    expect(() => trace.write('lb_service', [])).toThrow(RangeError);
    expect(() => trace.read('dp_event')).toThrow(expect.objectContaining({ code: 'DP_MAP_UNKNOWN' }));
    trace.close();
  });

  it('begins with what the running one has in maps that are copied', async () => {
    const options = { programs: ['tc_ingress'], shared: [], copied: ['lb_tunnel_mtu'], sizes: {} };
    const trace = await broker.dataplane.openTrace(options);
    const [all] = [...(trace?.read('lb_tunnel_mtu') ?? [])];
    expect([all?.keys[0], all?.values[0], all?.count]).toEqual([5, 6, 1]);
    trace?.write('lb_tunnel_mtu', []);
    expect([...broker.dataplane.rawBatches('lb_tunnel_mtu')][0]?.count).toBe(1);
    trace?.close();
  });

  it('runs the XDP program, too', async () => {
    const options = { programs: ['xdp_ingress', 'tc_ingress'], shared: [], copied: [], sizes: {} };
    const trace = await broker.dataplane.openTrace(options);
    const outcome = trace?.run({ program: 'xdp_ingress', bytes: syn(80), ifindex: 1, mark: 0 });
    // XDP_PASS: of lo nothing is known.
    expect([outcome?.verdict, Buffer.from(outcome?.bytes ?? []).equals(syn(80))]).toEqual([2, true]);
    const [count, first] = stepsOf(trace?.read('dp_trace') ?? []);
    expect([count?.a, first?.step]).toEqual([1, DpStep.STEP_XDP]);
    trace?.close();
  });

  it('refuses programs and maps that are not there', async () => {
    const open = (program: string, shared: string[]) =>
      broker.dataplane.openTrace({ programs: [program], shared, copied: [], sizes: {} });
    await expect(open('warp', [])).rejects.toThrow(expect.objectContaining({ code: 'DP_PROGRAM_UNKNOWN' }));
    await expect(open('tc_ingress', ['warp'])).rejects.toThrow(expect.objectContaining({ code: 'DP_MAP_UNKNOWN' }));
  });
});
