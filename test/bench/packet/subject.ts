import { closeSync, readSync } from 'node:fs';
import { encodeBytes } from '@loxilb/sdk';
import { ctPass } from '../../../plugins/conntrack/layout.gen.js';
import { summarise } from '../statistics.js';
import { type LoadedObject, openWalk, updateMap, word } from './bpf.js';
import type { Conversation } from './cases.js';
import type { Services } from './service.js';
import type { Order, Run, Stream, Wrapper } from './wrapper.js';

export interface Sample {
  /** Nanoseconds per packet, or per flow when it is opened. */
  readonly net: number;
  /** The packet's own making, already taken off. */
  readonly empty: number;
  readonly verdict: number;
}

/** Which packets, and how many. */
export interface Load {
  readonly stream: Stream;
  readonly order: Order;
  /** For random order, a power of two. */
  readonly flows: number;
  readonly repeat: number;
}

/** Flows that are being opened at the same time. */
export const IN_FLIGHT = 512;
/** Runs of fresh packets in a sample. */
const FRESH_RUNS = 1024;
const XDP_PASS = 2;
const TICK_SHIFT = 20n;
/** Longer than any flow may be idle here. */
const FAR_TICKS = 1 << 26;

/** A program under test. */
export class Subject {
  constructor(
    readonly name: string,
    readonly wrapper: Wrapper,
    /** Number of the next flow that was never used; pinned tables remember those of earlier measurements. */
    private fresh: number,
    /** What is ours to change; a daemon's is not. */
    readonly own?: { readonly object: LoadedObject; readonly services: Services },
    /** tc beside XDP. */
    private readonly beside: Wrapper = wrapper,
  ) {}

  get hook(): 'tc' | 'xdp' {
    return this.wrapper.hook;
  }

  /** Packets through the empty and the real program. */
  sample(load: Load): Sample {
    const { stream, order, flows, repeat } = load;
    const from = order === 'rising' ? this.fresh : flows;
    const empty = this.wrapper.runEmpty(stream, order, from, repeat).ns;
    const real = this.refreshed(load, () => this.wrapper.run(stream, order, from, repeat));
    if (order === 'rising') this.fresh += repeat;
    return netOf(real, empty);
  }

  /** The same for packets that leave longer or shorter than they came. */
  sampleResized(load: Load): Sample {
    const { stream, order, flows, repeat } = load;
    const { empty, ...real } = this.refreshed(load, () => {
      const times = this.wrapper.time(stream, order, flows, repeat);
      return { ...times.real, empty: times.empty.ns };
    });
    return netOf(real, empty);
  }

  /**
   * The same for packets that end in a tunnel. Fresh ones come one by one with a system call between them, which cools
   * caches: what one of them costs more than one that stays as it is, is added to what such a one costs otherwise. That
   * is too much rather than too little: of NAT64, where there are both, a fifth to a third more than the stopwatch says.
   */
  sampleTunnel(load: Load, plain: Stream): Sample {
    const { stream, order, flows } = load;
    const like = this.sample({ ...load, stream: plain });
    const [without, within] = [plain, stream].map((one) => this.wrapper.runFresh(one, order, flows, FRESH_RUNS));
    const more = median(within?.ns) - median(without?.ns);
    return { ...like, net: like.net + more, verdict: within?.verdict ?? -1 };
  }

  /**
   * The first packets of flows never used, a few flows at a time as when connections come and go; those of `measured`
   * count.
   */
  sampleOpening({ opening }: Conversation, measured: readonly Stream[], count: number, isResized = false): Sample {
    const total = { net: 0, empty: 0, verdict: -1 };
    for (let done = 0; done < count; done += IN_FLIGHT) {
      for (const stream of opening) {
        if (!measured.includes(stream)) {
          this.wrapper.run(stream, 'rising', this.fresh, IN_FLIGHT);
          continue;
        }
        const { net, empty, verdict } = this.samplePortion(stream, isResized);
        total.net += (net * IN_FLIGHT) / count;
        total.empty += (empty * IN_FLIGHT) / count;
        total.verdict = verdict;
      }
      this.fresh += IN_FLIGHT;
    }
    return total;
  }

  private samplePortion(stream: Stream, isResized: boolean): Sample {
    if (isResized) {
      const { real, empty } = this.wrapper.time(stream, 'rising', this.fresh, IN_FLIGHT);
      return netOf(real, empty.ns);
    }
    const empty = this.wrapper.runEmpty(stream, 'rising', this.fresh, IN_FLIGHT).ns;
    return netOf(this.wrapper.run(stream, 'rising', this.fresh, IN_FLIGHT), empty);
  }

  /**
   * The way out of a flow that was last looked up seconds ago is looked up again, by tc alone; with real traffic that is
   * one packet in many. Here tc does it beforehand. The second time it is long enough ago, if it was not the first.
   */
  private refreshed<T extends Run>({ stream, order, flows }: Load, run: () => T): T {
    if (order === 'rising') return run();
    const packets = order === 'hot' ? 1 : flows;
    this.beside.run(stream, order, flows, packets);
    const result = run();
    if (this.hook === 'tc' || result.verdict !== XDP_PASS) return result;
    this.beside.run(stream, order, flows, packets);
    return run();
  }

  warmUp(stream: Stream, flows: number): void {
    this.wrapper.run(stream, 'rising', this.fresh, flows);
    this.fresh += flows;
  }

  /** Ends all flows as an expiry pass in the far future would, and begins to count them anew. */
  clear(): void {
    if (!this.own) return;
    const { object } = this.own;
    const now = Number((process.hrtime.bigint() >> TICK_SHIFT) & 0xffff_ffffn);
    const pass = { seen: 0, expired: 0, now: (now + FAR_TICKS) >>> 0, closingTicks: 0, cut: 0, next: 0 };
    updateMap(object.map('ct_pass'), word(0), encodeBytes(ctPass, pass));
    const walk = openWalk(object.program('ct_walk'), object.map('ct_flow'));
    const buffer = Buffer.alloc(1 << 16);
    while (readSync(walk, buffer) > 0);
    closeSync(walk);
    this.fresh = 0;
  }
}

function netOf(real: Run, empty: number): Sample {
  return { net: real.ns - empty, empty, verdict: real.verdict };
}

function median(values: readonly number[] = []): number {
  return summarise(values)?.median ?? Number.NaN;
}
