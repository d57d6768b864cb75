import { type LoadedObject, readMap, type TestRun, testRun, testRunXdp, updateMap, word } from './bpf.js';
import { FRAME_BYTES } from './frame.js';

/** Numbers of bpf/bench.bpf.c. */
const TARGET_EMPTY = 0;
const TARGET_REAL = 1;
const CONFIG_BYTES = FRAME_BYTES + 64;

export type Order = 'hot' | 'random' | 'rising';
const ORDERS: Record<Order, number> = { hot: 0, random: 1, rising: 2 };

/** Packets to run: one frame, or one per flow. */
export interface Stream {
  readonly frame: Buffer;
  readonly ifindex: number;
  readonly offsets: { address: number; port: number };
  /** Last four bytes of the first flow's address. */
  readonly addressBase: number;
  readonly mark?: number;
}

export interface Run {
  /** Of the last run. */
  readonly verdict: number;
  /** Average of one run. */
  readonly ns: number;
}

/** What is needed for programs of each hook. */
const HOOKS = {
  tc: { program: 'bench_packet', empty: 'bench_empty', targets: 'bench_target', run: testRun },
  xdp: { program: 'bench_frame', empty: 'bench_empty_frame', targets: 'bench_frame_target', run: testRunXdp },
} as const;

/** bench_packet or bench_frame with its maps: makes a packet per run and hands it to the program under test. */
export class Wrapper {
  private readonly program: number;
  private readonly config: number;

  constructor(
    object: LoadedObject,
    target: number,
    readonly hook: keyof typeof HOOKS = 'tc',
  ) {
    const { program, empty, targets } = HOOKS[hook];
    this.program = object.program(program);
    this.config = object.map('bench_config');
    updateMap(object.map(targets), word(TARGET_EMPTY), word(object.program(empty)));
    updateMap(object.map(targets), word(TARGET_REAL), word(target));
  }

  /** Runs the program under test; `flows` is a power of two for random order, the first flow's number for rising. */
  run(stream: Stream, order: Order, flows: number, repeat: number): Run {
    return this.go({ target: TARGET_REAL, order, flows }, stream, repeat);
  }

  /** The same packets through a program that does nothing. */
  runEmpty(stream: Stream, order: Order, flows: number, repeat: number): Run {
    return this.go({ target: TARGET_EMPTY, order, flows }, stream, repeat);
  }

  /** The same for packets that change their size: by the program's own stopwatch, with the same for the empty program. */
  time(stream: Stream, order: Order, flows: number, repeat: number): { real: Run; empty: Run } {
    return {
      empty: this.go({ target: TARGET_EMPTY, order, flows, timed: true }, stream, repeat),
      real: this.go({ target: TARGET_REAL, order, flows, timed: true }, stream, repeat),
    };
  }

  /**
   * A fresh packet for each run: nothing takes one out of a tunnel again that tc has put there. Each run's nanoseconds,
   * with the clock's own reading and after a system call.
   */
  runFresh(stream: Stream, order: Order, flows: number, count: number): { ns: number[]; verdict: number } {
    this.configure(stream, { target: TARGET_REAL, order, flows });
    const runs = Array.from({ length: count }, () => this.execute(stream, 1));
    return { ns: runs.map(({ ns }) => ns), verdict: runs.at(-1)?.verdict ?? -1 };
  }

  private go(making: Making, stream: Stream, repeat: number): Run {
    this.configure(stream, making);
    const { verdict, ns } = this.execute(stream, repeat);
    return { verdict, ns: making.timed ? this.readWatch() : ns };
  }

  private configure(stream: Stream, making: Making): void {
    updateMap(this.config, word(0), encodeConfig(stream, making));
  }

  private execute(stream: Stream, repeat: number): TestRun {
    return HOOKS[this.hook].run(this.program, stream.frame, stream.ifindex, repeat);
  }

  private readWatch(): number {
    const config = readMap(this.config, word(0), CONFIG_BYTES);
    return Number(config.readBigUInt64LE(144)) / config.readUInt32LE(132);
  }
}

interface Making {
  readonly target?: number;
  readonly order: Order;
  readonly flows: number;
  /** Interface of live frames. */
  readonly sendTo?: number;
  /** Measure by the program's own stopwatch. */
  readonly timed?: boolean;
}

/** struct bench_config. */
export function encodeConfig(stream: Stream, making: Making): Buffer {
  const { target = TARGET_REAL, order, flows, sendTo = 0, timed = false } = making;
  const config = Buffer.alloc(CONFIG_BYTES);
  stream.frame.copy(config, 0);
  config.writeUInt32LE(target, 96);
  config.writeUInt32LE(ORDERS[order], 100);
  config.writeUInt32LE(order === 'random' ? flows - 1 : 0, 104);
  config.writeUInt32LE(order === 'rising' ? flows : 0, 108);
  config.writeUInt16LE(stream.offsets.port, 112);
  config.writeUInt16LE(stream.offsets.address, 114);
  config.writeUInt32LE(stream.addressBase, 116);
  config.writeUInt32LE(sendTo, 120);
  config.writeUInt32LE(stream.mark ?? 0, 124);
  config.writeUInt32LE(timed ? 1 : 0, 128);
  stream.frame.copy(config, 152, 24, 26);
  return config;
}
