/**
 * Runs in the packet namespace (see packet.ts): measures one loaded program and prints the figures as JSON.
 * Argument: a JSON object of type MeasureInput.
 */
import { type Summary, summarise } from '../statistics.js';
import { LoadedObject, openPinned, type TestRun } from './bpf.js';
import { type Conversation, conversation, type Devices, establish, ofOthers } from './cases.js';
import { writeServices } from './service.js';
import { readDevice } from './world.js';
import { type Order, type Stream, Wrapper } from './wrapper.js';

export interface MeasureInput {
  /** The compiled wrapper. */
  readonly wrapper: string;
  /** The product's object, loaded here with services of our own ... */
  readonly object?: string;
  /** ... or the pinned program of a daemon, whose rules are used as they are. */
  readonly pinned?: string;
  readonly samples: number;
  readonly repeat: number;
  /** Power of two. */
  readonly flows: number;
}

export interface PacketFigure extends Summary {
  readonly name: string;
  /** Median of the packet's own making, already taken off. */
  readonly empty: number;
  /** Verdict of the last run; 7 is a redirect. */
  readonly verdict: number;
}

/** Flows set up before new ones are measured, so that the half-open table is full and evicts. */
const WARM_UP_FLOWS = 1 << 18;

class Bench {
  readonly figures: PacketFigure[] = [];
  /** Number of the next flow that was never used. */
  private fresh = 1 << 20;

  constructor(
    private readonly wrapper: Wrapper,
    private readonly input: MeasureInput,
  ) {}

  /** Samples of the empty and the real program in turn; their difference is the figure. */
  measure(name: string, stream: Stream, order: Order, flows: number): void {
    const net: number[] = [];
    const empty: number[] = [];
    let last: TestRun | undefined;
    for (let sample = 0; sample < this.input.samples; sample++) {
      const idle = this.wrapper.runEmpty(stream, order, this.flowsOf(order, flows), this.input.repeat);
      last = this.wrapper.run(stream, order, this.flowsOf(order, flows), this.input.repeat);
      if (order === 'rising') this.fresh += this.input.repeat;
      empty.push(idle.ns);
      net.push(last.ns - idle.ns);
    }
    this.add(name, net, empty, last?.verdict ?? -1);
  }

  /** A whole TCP handshake per flow, as nanoseconds per flow. */
  measureHandshake(name: string, talk: Conversation): void {
    const net: number[] = [];
    const empty: number[] = [];
    const repeat = Math.min(this.input.repeat, 1 << 16);
    let verdict = -1;
    for (let sample = 0; sample < this.input.samples; sample++) {
      let idle = 0;
      let real = 0;
      for (const stream of [talk.first, talk.answer, talk.data]) {
        idle += this.wrapper.runEmpty(stream, 'rising', this.fresh, repeat).ns;
        const run = this.wrapper.run(stream, 'rising', this.fresh, repeat);
        real += run.ns;
        verdict = run.verdict;
      }
      this.fresh += repeat;
      empty.push(idle);
      net.push(real - idle);
    }
    this.add(name, net, empty, verdict);
  }

  warmUp(stream: Stream): void {
    this.wrapper.run(stream, 'rising', this.fresh, WARM_UP_FLOWS);
    this.fresh += WARM_UP_FLOWS;
  }

  private flowsOf(order: Order, flows: number): number {
    return order === 'rising' ? this.fresh : flows;
  }

  private add(name: string, net: readonly number[], empty: readonly number[], verdict: number): void {
    const summary = summarise(net);
    if (summary) this.figures.push({ name, ...summary, empty: summarise(empty)?.median ?? 0, verdict });
  }
}

async function main(): Promise<void> {
  const input = JSON.parse(process.argv[2] ?? '{}') as MeasureInput;
  const devices: Devices = { client: await readDevice('c0'), server: await readDevice('s1') };
  const wrapper = new Wrapper(new LoadedObject(input.wrapper), loadTarget(input));
  const bench = new Bench(wrapper, input);
  const tcp = conversation(devices, 4, 'tcp');
  establish(wrapper, tcp, 0, input.flows);
  bench.measure('established TCP, 1 flow', tcp.data, 'hot', 0);
  bench.measure('established TCP, 1 flow, answers', tcp.back, 'hot', 0);
  bench.measure(`established TCP, ${input.flows} flows`, tcp.data, 'random', input.flows);
  bench.measure(`established TCP, ${input.flows} flows, answers`, tcp.back, 'random', input.flows);
  const udp = conversation(devices, 4, 'udp');
  establish(wrapper, udp, 0, 1);
  bench.measure('established UDP, 1 flow', udp.data, 'hot', 0);
  const tcp6 = conversation(devices, 6, 'tcp');
  establish(wrapper, tcp6, 0, 1);
  bench.measure('established TCP over IPv6, 1 flow', tcp6.data, 'hot', 0);
  bench.measure('packet of no service', ofOthers(devices), 'hot', 0);
  bench.warmUp(tcp.first);
  bench.measure('new flow (SYN)', tcp.first, 'rising', 0);
  bench.measureHandshake('TCP handshake, 3 packets', tcp);
  process.stdout.write(JSON.stringify(bench.figures));
}

function loadTarget(input: MeasureInput): number {
  if (input.pinned) return openPinned(input.pinned);
  if (!input.object) throw new Error('neither an object nor a pinned program');
  const object = new LoadedObject(input.object);
  writeServices(object);
  return object.program('tc_ingress');
}

await main();
