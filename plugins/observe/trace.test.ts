/** Which programs a packet meets, and in which order; what they decide is test/bpf's. */
import { LoxilbError, type RawBatch, type TraceInstance, type TraceOptions } from '@loxilb/sdk';
import { expect, it } from 'vitest';
import { DpStep, dpTraceStep } from './layout.gen.js';
import { type PacketToTrace, tracePacket } from './trace.js';

const XDP_PASS = 2;
const XDP_REDIRECT = 4;
const TC_NEXT = 0xffffffff;
const NOTHING: RawBatch = { keys: new Uint8Array(0), values: new Uint8Array(0), count: 0 };

const packet: PacketToTrace = {
  ...{ frame: new Uint8Array(60), ifindex: 2, mark: 0, xdp: 'native' },
  key: { saddr: '10.0.0.1', daddr: '20.20.20.1', sport: 1, dport: 2, proto: 6, zone: 0 },
};

/** Programs that answer with these verdicts, one step each; undefined: the kernel does not run it. */
function createPlane(verdicts: Readonly<Record<string, number | undefined>>) {
  let opened: TraceOptions | undefined;
  const instance: TraceInstance = {
    write: () => undefined,
    read: (map) => (map === 'dp_trace' ? [oneStep()] : []),
    run: ({ program, bytes }) => {
      const verdict = verdicts[program];
      if (verdict === undefined) throw new LoxilbError('test run: EINVAL', { code: 'DP_KERNEL', status: 500 });
      return { verdict, bytes };
    },
    close: () => undefined,
  };
  const plane = {
    openTrace: (options: TraceOptions) => {
      opened = options;
      return Promise.resolve(instance);
    },
    rawBatches: () => [],
    rawEntries: () => NOTHING,
  };
  return { plane, opened: () => opened };
}

/** Element 0 says that there is one. */
function oneStep(): RawBatch {
  const values = new Uint8Array(2 * dpTraceStep.size);
  const view = new DataView(values.buffer);
  const none = { step: DpStep.STEP_NONE, a: 1, b: 0, c: 0, addr: '::' };
  dpTraceStep.encode(none, view, 0);
  dpTraceStep.encode({ ...none, step: DpStep.STEP_XDP }, view, dpTraceStep.size);
  return { keys: new Uint8Array(8), values, count: 2 };
}

it.each<[string, PacketToTrace['xdp'], Record<string, number | undefined>, string[], boolean]>([
  ['tc alone', 'off', { tc_ingress: TC_NEXT }, ['tc_ingress'], false],
  ['XDP sends', 'native', { xdp_ingress: XDP_REDIRECT }, ['xdp_ingress'], false],
  ['XDP passes on', 'native', { xdp_ingress: XDP_PASS, tc_ingress: 7 }, ['xdp_ingress', 'tc_ingress'], false],
  ['generic XDP passes on', 'generic', { xdp_generic: XDP_PASS, tc_ingress: 7 }, ['xdp_generic', 'tc_ingress'], false],
  ['a kernel that cannot', 'native', { tc_ingress: 7 }, ['tc_ingress'], true],
])('%s', async (_, xdp, verdicts, stages, xdpRefused) => {
  const { plane, opened } = createPlane(verdicts);
  const result = await tracePacket(plane, { ...packet, xdp });
  expect(result.stages.map(({ program, steps }) => [program, steps.length])).toEqual(stages.map((name) => [name, 1]));
  expect(result.xdpRefused).toBe(xdpRefused);
  const hung = { native: ['xdp_ingress'], generic: ['xdp_generic'], off: [] }[xdp];
  expect(opened()?.programs).toEqual([...hung, 'tc_ingress']);
});

it('fails when tc cannot be run', async () => {
  const { plane } = createPlane({ xdp_ingress: XDP_PASS });
  await expect(tracePacket(plane, packet)).rejects.toThrow(expect.objectContaining({ code: 'DP_KERNEL' }));
});
