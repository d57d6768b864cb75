/** Frames through xdp_ingress, beside what tc_ingress makes of them. */
import { expect } from 'vitest';
import { DpXdpFlags } from '../../core/dataplane/layout.gen.js';
import { runProgram } from '../../core/dataplane/sys/bpf.js';
import { type RunResult, VERDICT } from './harness.js';
import { CLIENT_SIDE, type Device, NARROW_SIDE, SERVER_SIDE } from './network.js';
import type { Bench } from './scenario.js';

/** What XDP programs answer. */
export const XDP = { drop: 1, pass: 2, tx: 3, redirect: 4 } as const;

const BOTH_WAYS = DpXdpFlags.DP_XDP_IN | DpXdpFlags.DP_XDP_OUT;

/** What the daemon writes when it attaches the program to the devices. */
export function knowDevices(bench: Bench, flags: number = BOTH_WAYS): void {
  for (const device of [CLIENT_SIDE, SERVER_SIDE, NARROW_SIDE]) knowDevice(bench, device, flags);
}

export function knowDevice(bench: Bench, device: Device, flags: number): void {
  const mac = Uint8Array.from(device.mac.split(':'), (byte) => Number.parseInt(byte, 16));
  bench.path.maps.xdpDevices.set(bench.network.ifindex(device), { mac, flags });
}

/** The frame comes in by the device. */
export function runXdp(bench: Bench, frame: Uint8Array, device: Device): RunResult {
  const context = new DataView(new ArrayBuffer(24));
  context.setUint32(4, frame.length, true);
  context.setUint32(12, bench.network.ifindex(device), true);
  const dataOut = new Uint8Array(16_384);
  const contextIn = new Uint8Array(context.buffer);
  const outcome = runProgram(bench.path.programFd('xdp_ingress'), { data: frame, dataOut, contextIn, repeat: 1 });
  if (outcome.result < 0) throw new Error(`xdp_ingress: the kernel refused the test frame, errno ${-outcome.result}`);
  return { verdict: outcome.retval, frame: dataOut.slice(0, outcome.dataLength) };
}

/** XDP makes of the frame what tc makes of it, and counts it as tc does. */
export function expectSameByXdp(bench: Bench, frame: Uint8Array, device: Device, verdict: number = XDP.redirect): void {
  const before = traces(bench);
  const tc = bench.path.ingress(frame, { ifindex: bench.network.ifindex(device) });
  expect(tc.verdict).toBe(VERDICT.redirect);
  const between = traces(bench);
  const xdp = runXdp(bench, frame, device);
  expect(xdp.verdict).toBe(verdict);
  expect(hex(xdp.frame)).toBe(hex(tc.frame));
  expect(difference(between, traces(bench))).toEqual(difference(before, between));
}

/** XDP leaves the frame to tc, and no trace of it anywhere. */
export function expectLeftToTc(bench: Bench, frame: Uint8Array, device: Device): void {
  const before = traces(bench);
  const { verdict, frame: after } = runXdp(bench, frame, device);
  expect(hex(after)).toBe(hex(frame));
  expect(verdict).toBe(XDP.pass);
  expect(traces(bench)).toEqual(before);
}

/** Everything that counts packets. */
function traces({ path }: Bench): Record<string, bigint> {
  const sums: Record<string, bigint> = {};
  for (const [name, value] of Object.entries(path.counters())) sums[name] = BigInt(value ?? 0);
  return { ...sums, ...flowTraces(path.maps.flows.entries()), ...endpointTraces(path) };
}

function flowTraces(entries: ReturnType<Bench['path']['maps']['flows']['entries']>): Record<string, bigint> {
  return Object.fromEntries(
    entries.flatMap(([key, { packets, bytes, state }]) => {
      const name = `${key.saddr} ${key.sport}`;
      return [
        [`${name} packets`, packets],
        [`${name} bytes`, bytes],
        [`${name} state`, BigInt(state)],
      ];
    }),
  );
}

function endpointTraces(path: Bench['path']): Record<string, bigint> {
  const copies = path.maps.endpointStats.getAll(1) ?? [];
  return {
    packets: copies.reduce((sum, copy) => sum + copy.packets, 0n),
    bytes: copies.reduce((sum, copy) => sum + copy.bytes, 0n),
  };
}

function difference(before: Record<string, bigint>, after: Record<string, bigint>): Record<string, bigint> {
  const changed = Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0n)] as const);
  return Object.fromEntries(changed.filter(([, by]) => by !== 0n));
}

function hex(frame: Uint8Array): string {
  return Buffer.from(frame).toString('hex');
}
