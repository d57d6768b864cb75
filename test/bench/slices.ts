import type { Targets } from './contenders/contender.js';
import type { CpuMeter, CpuUse } from './cpu.js';
import type { RowId } from './rows.js';
import type { Topology } from './topology.js';
import { sendBulk } from './traffic/iperf.js';
import { blastUdp } from './traffic/udp.js';
import { loadHttp } from './traffic/wrk.js';

/** A contender that runs, seen from its client. */
export interface Runner {
  readonly name: string;
  readonly title: string;
  readonly topology: Topology;
  readonly targets: Targets;
}

export interface SliceOptions {
  readonly httpMs: number;
  readonly bulkMegabytes: number;
  readonly udpMs: number;
  readonly udpFlows: number;
  readonly blaster: string;
}

/** One short measurement of one contender. */
export interface Slice {
  readonly name: string;
  applies(runner: Runner): boolean;
  measure(runner: Runner, meter: CpuMeter): Promise<SliceResult>;
}

export interface SliceResult {
  readonly values: Partial<Record<RowId, number>>;
  readonly cpu: CpuUse;
  readonly seconds: number;
  readonly errors: number;
}

export function planSlices(options: SliceOptions): Slice[] {
  return [
    bulkSlice(options, 1, 'bulk1', 'bulk1Cpu'),
    bulkSlice(options, 4, 'bulk4', 'bulk4Cpu'),
    httpSlice(options, false, 'connection'),
    httpSlice(options, true, 'request'),
    udpSlice(options),
  ];
}

function bulkSlice(options: SliceOptions, streams: number, rate: RowId, cost: RowId): Slice {
  return {
    name: rate,
    applies: (runner) => runner.targets.bulk !== undefined,
    measure: (runner, meter) =>
      measured(meter, async () => {
        const { bytes, seconds } = await sendBulk(
          runner.topology.client,
          runner.targets.bulk as string,
          streams,
          options.bulkMegabytes,
        );
        return {
          values: (cpu) => ({ [rate]: (bytes * 8) / seconds / 1e9, [cost]: (cpu.busySeconds * 1e3) / (bytes / 1e9) }),
          errors: 0,
        };
      }),
  };
}

function httpSlice(options: SliceOptions, keepAlive: boolean, noun: 'connection' | 'request'): Slice {
  return {
    name: `${noun}s`,
    applies: () => true,
    measure: (runner, meter) =>
      measured(meter, async () => {
        const { client } = runner.topology;
        const result = await loadHttp(client, runner.targets.http, keepAlive, options.httpMs);
        return {
          values: (cpu) => ({
            [`${noun}s`]: result.requests / (result.micros / 1e6),
            [`${noun}P50`]: result.p50,
            [`${noun}P99`]: result.p99,
            [`${noun}Cpu`]: (cpu.busySeconds * 1e6) / result.requests,
          }),
          errors: result.errors,
        };
      }),
  };
}

function udpSlice(options: SliceOptions): Slice {
  return {
    name: 'udp',
    applies: (runner) => runner.targets.udp !== undefined,
    measure: (runner, meter) =>
      measured(meter, async () => {
        const { udpMs, udpFlows, blaster } = options;
        const target = runner.targets.udp as string;
        const result = await blastUdp(blaster, runner.topology.client, target, udpMs, udpFlows);
        return {
          values: (cpu) => ({
            udp: result.received / result.receiveSeconds,
            udpCpu: (cpu.busySeconds * 1e6) / result.received,
          }),
          errors: 0,
        };
      }),
  };
}

interface Load {
  values(cpu: CpuUse): Partial<Record<RowId, number>>;
  readonly errors: number;
}

async function measured(meter: CpuMeter, load: () => Promise<Load>): Promise<SliceResult> {
  meter.restart();
  const begin = performance.now();
  const { values, errors } = await load();
  const seconds = (performance.now() - begin) / 1e3;
  const cpu = meter.read();
  return { values: values(cpu), cpu, seconds, errors };
}
