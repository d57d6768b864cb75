import { type MapSpec, type NetworkLink, u32 } from '@loxilb/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import { Broker } from './broker.js';
import { sumCounters } from './core-maps.js';
import { createDataPlaneBroker } from './create.js';
import { LAYOUT_VERSION } from './layout-version.js';
import { MemoryBackend } from './memory/memory-backend.js';
import { describeMaps } from './testing/map-contract.js';
import { silentLog } from './testing/silent-log.js';

const SAMPLE = new URL('btf/testdata/sample.bpf.o', import.meta.url).pathname;

const SPEC: MapSpec<number, number> = { name: 'lb_test', type: 'hash', key: u32, value: u32, maxEntries: 4 };

function createBroker(objectFile = '/nonexistent/loxilb.bpf.o') {
  return createDataPlaneBroker({ backend: 'memory', bpfDir: '/nonexistent', objectFile, hook: 'auto', log: silentLog });
}

function code(wanted: string) {
  return expect.objectContaining({ code: wanted });
}

describeMaps('memory maps', () => createBroker());

describe('claims', () => {
  let broker: ReturnType<typeof createBroker>;
  beforeEach(() => {
    broker = createBroker();
  });

  it('have one owner', () => {
    broker.claim('lb', SPEC);
    expect(() => broker.claim('fw', SPEC)).toThrow(code('DP_MAP_CLAIMED'));
    expect(() => broker.claim('fw', { ...SPEC, name: 'intf_map' })).toThrow(/belongs to core/);
  });

  it('come before the load', () => {
    broker.load();
    expect(() => broker.claim('lb', SPEC)).toThrow(code('DP_MAP_LATE'));
  });

  it('must exist for every view', () => {
    broker.view('statistics', SPEC);
    expect(() => broker.load()).toThrow(code('DP_MAP_UNOWNED'));
  });

  it('may come after the view', () => {
    const view = broker.view('statistics', SPEC);
    const slice = broker.claim('lb', SPEC);
    broker.load();
    slice.set(1, 2);
    expect(view.get(1)).toBe(2);
  });

  it('must have the sizes of the compiled packet path', () => {
    const checked = createBroker(SAMPLE);
    expect(() => checked.claim('lb', { ...SPEC, name: 'sample_map' })).toThrow(
      /map sample_map: key size is 4 as declared and 12 in the compiled packet path/,
    );
    expect(() => checked.view('lb', { ...SPEC, name: 'sample_map' })).toThrow(code('DP_MAP_LAYOUT'));
  });
});

describe('features', () => {
  it('must be known to the packet path', () => {
    const broker = createBroker(SAMPLE);
    broker.setFeature('lb', 'first', true);
    expect(() => broker.setFeature('lb', 'warp', true)).toThrow(code('DP_FEATURE_UNKNOWN'));
    expect(() => broker.setFeature('lb', 'first', 3)).toThrow(code('DP_FEATURE_VALUE'));
    expect(() => broker.setFeature('lb', 'number', -1)).toThrow(code('DP_FEATURE_VALUE'));
    broker.setFeature('lb', 'number', 9);
    expect(() => broker.setFeature('ct', 'number', 10)).toThrow(/lb asks for 9/);
  });

  it('are off unless somebody asks', () => {
    const backend = new MemoryBackend(SAMPLE);
    const given: ReadonlyMap<string, number | boolean>[] = [];
    const load = backend.load.bind(backend);
    const spied = Object.assign(backend, {
      load: (requests: Parameters<typeof load>[0], constants: ReadonlyMap<string, number | boolean>) => {
        given.push(constants);
        return load(requests);
      },
    });
    const broker = new Broker(spied);
    broker.setFeature('a', 'first', true);
    broker.setFeature('b', 'first', false);
    broker.load();
    expect(Object.fromEntries(given[0] ?? [])).toEqual({ cfg_first: true, cfg_second: false });
  });
});

describe('core maps', () => {
  const link = (ifindex: number, extra: Partial<NetworkLink> = {}): NetworkLink => ({
    ifindex,
    name: `eth${ifindex}`,
    mac: '02:00:00:00:00:01',
    mtu: 1500,
    up: true,
    running: true,
    loopback: false,
    ethernet: true,
    kind: '',
    masterIfindex: 0,
    peerIfindex: 0,
    peerInOtherNamespace: false,
    statistics: { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxErrors: 0, txErrors: 0 },
    ...extra,
  });

  it('carry the layout version and a generation that grows', () => {
    const broker = createBroker();
    broker.load();
    const [before] = [...broker.dataplane.rawBatches('dp_control')];
    broker.bumpGeneration();
    const [after] = [...broker.dataplane.rawBatches('dp_control')];
    expect([...(before?.values ?? [])]).toEqual([LAYOUT_VERSION, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(after?.values ?? [])]).toEqual([LAYOUT_VERSION, 0, 0, 0, 1, 0, 0, 0]);
  });

  it('know of an interface what the packet path needs', () => {
    const broker = createBroker();
    broker.load();
    broker.writeInterfaces([link(1), link(7, { kind: 'veth', peerInOtherNamespace: true })]);
    broker.writeInterfaces([link(7, { kind: 'veth', peerInOtherNamespace: true })]);
    const [batch] = [...broker.dataplane.rawBatches('intf_map')];
    expect(batch?.count).toBe(1);
    const words = new Uint32Array(batch?.values.slice().buffer ?? new ArrayBuffer(0));
    expect([...words]).toEqual([7, 0, 3807, 1]);
  });

  it('name counters and sum them over CPUs', () => {
    const entries: [number, { packets: bigint }[]][] = [
      [1, [{ packets: 2n }, { packets: 3n }]],
      [2, [{ packets: 0n }]],
      [63, [{ packets: 1n }]],
    ];
    expect(sumCounters(entries)).toEqual({ drop_no_endpoint: 5, counter_63: 1 });
  });
});

describe('the memory backend', () => {
  it('has rings that tests feed', () => {
    const backend = new MemoryBackend('/nonexistent/loxilb.bpf.o');
    const { dataplane } = new Broker(backend);
    const records: Uint8Array[] = [];
    backend.feedRing('dp_event', new Uint8Array([1]));
    const reader = dataplane.ring('dp_event', (record) => void records.push(record));
    expect(() => dataplane.ring('dp_event', () => undefined)).toThrow(code('DP_RING_TAKEN'));
    backend.feedRing('dp_event', new Uint8Array([2]));
    reader.close();
    backend.feedRing('dp_event', new Uint8Array([3]));
    dataplane.ring('dp_event', () => undefined).close();
    expect(records).toEqual([new Uint8Array([2])]);
  });

  it('pretends nothing', async () => {
    const broker = createBroker();
    broker.load();
    broker.attach({ ifindex: 1, name: 'lo' });
    expect(broker.attached()).toEqual([]);
    expect(broker.dataplane.program('lb_recount').run(new Uint8Array(8))).toBeUndefined();
    await expect(broker.dataplane.walk('ct_walk', 'ct_flow').run()).resolves.toBeUndefined();
    expect(broker.programInfo()).toEqual([]);
    await expect(
      broker.dataplane.openTrace({ programs: ['tc_ingress'], shared: [], copied: [], sizes: {} }),
    ).resolves.toBeUndefined();
  });
});
