/**
 * Runs in the packet namespace (see packet.ts): measures loaded programs in turn and prints the figures as JSON.
 * Argument: a JSON object of type MeasureInput.
 */
import { type Summary, summarise } from '../statistics.js';
import { LoadedObject, openPinned } from './bpf.js';
import {
  type Conversation,
  conversation,
  type Devices,
  establish,
  establishOneWay,
  ofOthers,
  oneWay,
} from './cases.js';
import { writeDevices, writeServices } from './service.js';
import { readDevice } from './world.js';
import { type Order, type Stream, Wrapper } from './wrapper.js';

export interface MeasureInput {
  /** The compiled wrapper. */
  readonly wrapper: string;
  /** Objects loaded here with services of our own ... */
  readonly objects?: readonly string[];
  /** ... or the pinned program of a daemon, whose rules are used as they are. */
  readonly pinned?: string;
  readonly samples: number;
  readonly repeat: number;
  /** Power of two. */
  readonly flows: number;
  /** Number of the first flow that was never used; pinned tables remember those of earlier measurements. */
  readonly firstFresh?: number;
}

export interface PacketFigure extends Summary {
  readonly name: string;
  /** File the program came from. */
  readonly subject: string;
  /** Median of the packet's own making, already taken off. */
  readonly empty: number;
  /** Verdict of the last run; 7 is a redirect. */
  readonly verdict: number;
}

interface Sample {
  readonly net: number;
  readonly empty: number;
  readonly verdict: number;
}

/** Flows set up before new ones are measured, so that the half-open table is full and evicts. */
const WARM_UP_FLOWS = 1 << 18;
/** Flows that are being opened at the same time. */
const IN_FLIGHT = 512;
/** Flows of direct server return, which have one entry each. */
const DSR_FLOWS = 1 << 16;
/** Flows opened per sample; they stay in the flow table. */
const OPENED = 1 << 14;

/** A program under test. */
class Subject {
  constructor(
    readonly name: string,
    readonly wrapper: Wrapper,
    /** Number of the next flow that was never used. */
    private fresh: number,
    /** tc beside XDP. */
    private readonly beside?: Wrapper,
  ) {}

  /**
   * XDP leaves a packet to tc when the flow's way out was last looked up seconds ago, which with tc running beside it
   * hardly happens.
   */
  private refresh(stream: Stream, order: Order, flows: number): void {
    this.beside?.run(stream, order, flows, Math.max(1, flows));
  }

  /** One packet stream through the empty and the real program. */
  sample(stream: Stream, order: Order, flows: number, repeat: number): Sample {
    const from = order === 'rising' ? this.fresh : flows;
    const empty = this.wrapper.runEmpty(stream, order, from, repeat).ns;
    this.refresh(stream, order, flows);
    const real = this.wrapper.run(stream, order, from, repeat);
    if (order === 'rising') this.fresh += repeat;
    return { net: real.ns - empty, empty, verdict: real.verdict };
  }

  /**
   * The first packets of `streams` for flows never used, a few flows at a time as when connections come and go;
   * nanoseconds per flow.
   */
  sampleOpening(streams: readonly Stream[], talk: Conversation, count: number): Sample {
    const total = { net: 0, empty: 0, verdict: -1 };
    for (let done = 0; done < count; done += IN_FLIGHT) {
      for (const stream of [talk.first, talk.answer, talk.data]) {
        const empty = this.wrapper.runEmpty(stream, 'rising', this.fresh, IN_FLIGHT).ns;
        const { ns, verdict } = this.wrapper.run(stream, 'rising', this.fresh, IN_FLIGHT);
        if (!streams.includes(stream)) continue;
        total.net += ((ns - empty) * IN_FLIGHT) / count;
        total.empty += (empty * IN_FLIGHT) / count;
        total.verdict = verdict;
      }
      this.fresh += IN_FLIGHT;
    }
    return total;
  }

  warmUp(stream: Stream): void {
    this.wrapper.run(stream, 'rising', this.fresh, WARM_UP_FLOWS);
    this.fresh += WARM_UP_FLOWS;
  }
}

/** Samples of all programs in turn: what disturbs the machine disturbs them alike. */
function measure(
  subjects: readonly Subject[],
  samples: number,
  name: string,
  take: (subject: Subject) => Sample,
): PacketFigure[] {
  const taken = subjects.map((): Sample[] => []);
  for (let sample = 0; sample < samples; sample++) {
    subjects.forEach((subject, index) => void taken[index]?.push(take(subject)));
  }
  return subjects.flatMap((subject, index) => {
    const list = taken[index] ?? [];
    const net = summarise(list.map((sample) => sample.net));
    const empty = summarise(list.map((sample) => sample.empty))?.median ?? 0;
    return net ? [{ name, subject: subject.name, ...net, empty, verdict: list.at(-1)?.verdict ?? -1 }] : [];
  });
}

/** Programs of one kind: tc programs with the XDP program of the same object behind each. */
function loadSubjects(input: MeasureInput, devices: Devices): { tc: Subject[]; xdp: Subject[] } {
  const fresh = input.firstFresh ?? 1 << 20;
  if (input.pinned) {
    const wrapper = new Wrapper(new LoadedObject(input.wrapper), openPinned(input.pinned));
    return { tc: [new Subject(input.pinned, wrapper, fresh)], xdp: [] };
  }
  const pairs = (input.objects ?? []).map((name) => {
    const object = new LoadedObject(name);
    writeServices(object);
    writeDevices(object, devices);
    const tc = new Wrapper(new LoadedObject(input.wrapper), object.program('tc_ingress'));
    const xdp = new Wrapper(new LoadedObject(input.wrapper), object.program('xdp_ingress'), 'xdp');
    return { tc: new Subject(name, tc, fresh), xdp: new Subject(`${name} XDP`, xdp, fresh, tc) };
  });
  return { tc: pairs.map((pair) => pair.tc), xdp: pairs.map((pair) => pair.xdp) };
}

function measureAll(input: MeasureInput, devices: Devices): PacketFigure[] {
  const { samples, repeat, flows } = input;
  const { tc: subjects, xdp } = loadSubjects(input, devices);
  const tcp = conversation(devices, 4, 'tcp');
  const udp = conversation(devices, 4, 'udp');
  const tcp6 = conversation(devices, 6, 'tcp');
  const { dsr, tunnel } = oneWay(devices);
  const all = [...subjects, ...xdp];
  const stream = (name: string, packets: Stream, order: Order, count = 0, of = all) =>
    measure(of, samples, name, (subject) => subject.sample(packets, order, count, repeat));
  for (const { wrapper } of subjects) {
    establish(wrapper, tcp, 0, flows);
    establish(wrapper, udp, 0, 1);
    establish(wrapper, tcp6, 0, 1);
    if (input.pinned) continue;
    establishOneWay(wrapper, dsr, DSR_FLOWS);
    establishOneWay(wrapper, tunnel, 1, 1);
  }
  const established = [
    ...stream('established TCP, 1 flow', tcp.data, 'hot'),
    ...stream('established TCP, 1 flow, answers', tcp.back, 'hot'),
    ...stream(`established TCP, ${flows} flows`, tcp.data, 'random', flows),
    ...stream(`established TCP, ${flows} flows, answers`, tcp.back, 'random', flows),
    ...stream('established UDP, 1 flow', udp.data, 'hot'),
    ...stream('established TCP over IPv6, 1 flow', tcp6.data, 'hot'),
    ...stream('packet of no service', ofOthers(devices), 'hot'),
  ];
  const directly = input.pinned
    ? []
    : [
        ...stream('L2-DSR UDP, 1 flow', dsr, 'hot'),
        ...stream(`L2-DSR UDP, ${DSR_FLOWS} flows`, dsr, 'random', DSR_FLOWS),
        // A packet tc has put into a tunnel cannot be put into another: the live runs have that figure.
        ...stream('L3-DSR UDP in IPIP, 1 flow, and out again', tunnel, 'hot', 0, xdp),
      ];
  const opening = (name: string, streams: readonly Stream[]) =>
    measure(subjects, samples, name, (subject) => subject.sampleOpening(streams, tcp, OPENED));
  const opened = [
    ...opening(`new flow (SYN), ${IN_FLIGHT} half-open`, [tcp.first]),
    ...opening(`TCP handshake (3 packets), ${IN_FLIGHT} half-open`, [tcp.first, tcp.answer, tcp.data]),
  ];
  for (const subject of subjects) subject.warmUp(tcp.first);
  const flood = stream('SYN flood, half-open table full', tcp.first, 'rising', 0, subjects);
  return [...established, ...directly, ...opened, ...flood];
}

const devices: Devices = { client: await readDevice('c0'), server: await readDevice('s1') };
const input = JSON.parse(process.argv[2] ?? '{}') as MeasureInput;
process.stdout.write(JSON.stringify(measureAll(input, devices)));
