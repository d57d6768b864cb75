/** Rings of the kernel: what a program writes arrives, in order, and waiting for it costs nothing. Needs root. */
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cleanupDataPlane, createDataPlaneBroker, testRun } from './index.js';
import { openPin } from './kernel/pins.js';
import { RingPoller } from './kernel/ring-poller.js';
import { createMap, loadTcProgram, MapTypeNumber, mapInfo } from './sys/bpf.js';
import { closeFd } from './sys/libc.js';
import { silentLog } from './testing/silent-log.js';
import type { DataPlaneBroker } from './types.js';

const OBJECT =
  process.env.LOXILB_TEST_OBJECT ?? fileURLToPath(new URL('../../bpf/build/loxilb.bpf.o', import.meta.url));
const RING_SIZE = 4096;
const HELPER_RINGBUF_OUTPUT = 130;
const RECORD_SIZE = 16;

let ringFd: number;
let programFd: number;
let poller: RingPoller;

/** Each run writes a record of 16 bytes that begins with the packet's mark; it returns 0 when there was room. */
function loadWriter(ring: number): number {
  const instructions: readonly (readonly [code: number, registers: number, offset: number, immediate: number])[] = [
    [0x61, 0x16, 8, 0], // r6 = skb->mark
    [0x7a, 0x0a, -8, 7], // the second half is 7
    [0x7a, 0x0a, -16, 0],
    [0x63, 0x6a, -16, 0],
    [0x18, 0x11, 0, ring],
    [0x00, 0x00, 0, 0],
    [0xbf, 0xa2, 0, 0],
    [0x07, 0x02, 0, -16],
    [0xb7, 0x03, 0, RECORD_SIZE],
    [0xb7, 0x04, 0, 0],
    [0x85, 0x00, 0, HELPER_RINGBUF_OUTPUT],
    [0x95, 0x00, 0, 0],
  ];
  const view = new DataView(new ArrayBuffer(instructions.length * 8));
  instructions.forEach(([code, registers, offset, immediate], index) => {
    view.setUint8(index * 8, code);
    // Source in the high half, destination in the low one.
    view.setUint8(index * 8 + 1, registers);
    view.setInt16(index * 8 + 2, offset, true);
    view.setInt32(index * 8 + 4, immediate, true);
  });
  return loadTcProgram(new Uint8Array(view.buffer));
}

function write(mark: number): boolean {
  return testRun(programFd, new Uint8Array(60), { mark }).retval === 0;
}

function markOf(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset).getUint32(0, true);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

beforeEach(() => {
  ringFd = createMap('t3_ring', {
    type: MapTypeNumber.RINGBUF,
    keySize: 0,
    valueSize: 0,
    maxEntries: RING_SIZE,
    flags: 0,
  });
  expect(ringFd).toBeGreaterThan(0);
  programFd = loadWriter(ringFd);
  expect(programFd).toBeGreaterThan(0);
  poller = new RingPoller(silentLog);
});

afterEach(() => {
  poller.close();
  closeFd(programFd);
  closeFd(ringFd);
});

describe('a ring', () => {
  it('hands over each record once and in order, many times round', async () => {
    const marks: number[] = [];
    poller.read('t3_ring', ringFd, (record) => {
      expect(record.length).toBe(RECORD_SIZE);
      expect(record[8]).toBe(7);
      marks.push(markOf(record));
    });
    for (let mark = 1; mark <= 1000; mark++) {
      expect(write(mark)).toBe(true);
      if (mark % 100 === 0) await expect.poll(() => marks.length, { interval: 1 }).toBe(mark);
    }
    expect(marks).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1));
  });

  it('has what was written before there was a reader, until it is full', async () => {
    let fitted = 0;
    while (write(fitted + 1)) fitted++;
    expect(fitted).toBe(Math.floor((RING_SIZE - 1) / (RECORD_SIZE + 8)));
    const marks: number[] = [];
    poller.read('t3_ring', ringFd, (record) => void marks.push(markOf(record)));
    await expect.poll(() => marks.length).toBe(fitted);
    expect(write(5000)).toBe(true);
    await expect.poll(() => marks.at(-1)).toBe(5000);
  });

  it('costs no processor time while nothing comes', async () => {
    poller.read('t3_ring', ringFd, () => undefined);
    await sleep(100);
    // Of this whole process, which has other things to do now and then; who asks again and again does so every time.
    const costs: number[] = [];
    for (let time = 0; time < 5; time++) {
      const before = process.cpuUsage();
      await sleep(300);
      const { user, system } = process.cpuUsage(before);
      costs.push(user + system);
    }
    expect(Math.min(...costs), `microseconds: ${costs}`).toBeLessThan(60_000);
  });

  it('has one reader, and leaves the rest to the next one', async () => {
    const first: number[] = [];
    const reader = poller.read('t3_ring', ringFd, (record) => {
      first.push(markOf(record));
      reader.close();
    });
    expect(() => poller.read('t3_ring', ringFd, () => undefined)).toThrow(
      expect.objectContaining({ code: 'DP_RING_TAKEN' }),
    );
    for (const mark of [1, 2, 3]) write(mark);
    await expect.poll(() => first.length).toBe(1);
    const second: number[] = [];
    poller.read('t3_ring', ringFd, (record) => void second.push(markOf(record)));
    await expect.poll(() => second).toEqual([2, 3]);
    expect(first).toEqual([1]);
  });

  it('goes on after a reader that throws', async () => {
    const marks: number[] = [];
    poller.read('t3_ring', ringFd, (record) => {
      marks.push(markOf(record));
      throw new Error('on purpose');
    });
    write(1);
    await expect.poll(() => marks).toEqual([1]);
    write(2);
    await expect.poll(() => marks).toEqual([1, 2]);
  });
});

describe('rings of the packet path', () => {
  const folder = mkdtempSync(join(tmpdir(), 'loxilb-ring-'));
  const open: DataPlaneBroker[] = [];

  function start(): DataPlaneBroker {
    const broker = createDataPlaneBroker({
      backend: 'kernel',
      bpfDir: folder,
      objectFile: OBJECT,
      hook: 'auto',
      log: silentLog,
    });
    open.push(broker);
    broker.load();
    return broker;
  }

  afterEach(() => {
    for (const broker of open.splice(0)) broker.close();
  });

  afterAll(() => cleanupDataPlane({ bpfDir: folder, log: silentLog }));

  it('outlive the daemon with what is in them', async () => {
    const first = start();
    expect(existsSync(join(folder, 'dp_event'))).toBe(true);
    const idOf = () => {
      const fd = openPin(join(folder, 'dp_event')) ?? -1;
      const { id } = mapInfo(fd);
      const writer = loadWriter(fd);
      closeFd(fd);
      return { id, writer };
    };
    const { id, writer } = idOf();
    first.close();
    expect(testRun(writer, new Uint8Array(60), { mark: 42 }).retval).toBe(0);
    closeFd(writer);
    const second = start();
    const marks: number[] = [];
    const reader = second.dataplane.ring('dp_event', (record) => void marks.push(markOf(record)));
    await expect.poll(() => marks).toEqual([42]);
    reader.close();
    const again = idOf();
    closeFd(again.writer);
    expect(again.id).toBe(id);
  });

  it('are known by name', () => {
    const broker = start();
    expect(() => broker.dataplane.ring('dp_control', () => undefined)).toThrow(
      expect.objectContaining({ code: 'DP_RING_UNKNOWN' }),
    );
  });
});
