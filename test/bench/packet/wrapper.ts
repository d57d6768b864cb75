import { type LoadedObject, type TestRun, testRun, testRunXdp, updateMap, word } from './bpf.js';
import { FRAME_BYTES } from './frame.js';

/** Numbers of bpf/bench.bpf.c. */
const TARGET_EMPTY = 0;
const TARGET_REAL = 1;
const CONFIG_BYTES = FRAME_BYTES + 32;

export type Order = 'hot' | 'random' | 'rising';
const ORDERS: Record<Order, number> = { hot: 0, random: 1, rising: 2 };

/** Packets to run: one frame, or one per flow. */
export interface Stream {
  readonly frame: Buffer;
  readonly ifindex: number;
  readonly offsets: { address: number; port: number };
  /** Last four bytes of the first flow's address. */
  readonly addressBase: number;
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
  run(stream: Stream, order: Order, flows: number, repeat: number): TestRun {
    return this.go(TARGET_REAL, stream, order, flows, repeat);
  }

  /** The same packets through a program that does nothing. */
  runEmpty(stream: Stream, order: Order, flows: number, repeat: number): TestRun {
    return this.go(TARGET_EMPTY, stream, order, flows, repeat);
  }

  private go(target: number, stream: Stream, order: Order, flows: number, repeat: number): TestRun {
    updateMap(this.config, word(0), encodeConfig(stream, { target, order, flows }));
    return HOOKS[this.hook].run(this.program, stream.frame, stream.ifindex, repeat);
  }
}

interface Making {
  readonly target?: number;
  readonly order: Order;
  readonly flows: number;
  /** Interface of live frames. */
  readonly sendTo?: number;
}

/** struct bench_config. */
export function encodeConfig(stream: Stream, { target = TARGET_REAL, order, flows, sendTo = 0 }: Making): Buffer {
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
  return config;
}
