/**
 * Runs in the packet namespace (see packet.ts): measures loaded programs in turn and prints the figures as JSON.
 * Argument: a JSON object of type MeasureInput.
 */
import { type Summary, summarise } from '../statistics.js';
import { LoadedObject, openPinned } from './bpf.js';
import { conversation, type Devices, establish, establishFresh, ofOthers, towardsService } from './cases.js';
import { type Mode, planModes } from './modes.js';
import { type Opening, planOpenings } from './openings.js';
import { plainRoute } from './routes.js';
import { writeDevices, writeServices } from './service.js';
import { type Load, type Sample, Subject } from './subject.js';
import { readDevice } from './world.js';
import { type Stream, Wrapper } from './wrapper.js';

export interface MeasureInput {
  /** The compiled wrapper. */
  readonly wrapper: string;
  /** Objects loaded here with services of our own ... */
  readonly objects?: readonly string[];
  /** ... or the pinned program of a daemon, whose rules are used as they are: fewer kinds of packets. */
  readonly pinned?: string;
  readonly samples: number;
  readonly repeat: number;
  /** Power of two, at most 2^18. */
  readonly flows: number;
  /** Number of the first flow that was never used; pinned tables remember those of earlier measurements. */
  readonly firstFresh?: number;
}

/** Columns of the report; `packet` is any other single packet. */
export type Column = 'hot' | 'hotBack' | 'many' | 'manyBack' | 'new' | 'packet';

export interface PacketFigure extends Summary {
  /** What is measured: a mode, or a kind of packet. */
  readonly name: string;
  readonly column: Column;
  /** File the program came from. */
  readonly subject: string;
  readonly hook: 'tc' | 'xdp';
  /** Median of the packet's own making, already taken off. */
  readonly empty: number;
  /** Of the last run: 7 a redirect of tc, 4 one of XDP. */
  readonly verdict: number;
  /** Nanoseconds it should not be above. */
  readonly aim?: number;
}

/** Established flows; new ones have their own. */
const AIMS = {
  tc: { hot: 130, hotBack: 130, many: 600, manyBack: 600, new: 1500, packet: undefined },
  xdp: { hot: 142, hotBack: 142, many: 470, manyBack: 470, new: undefined, packet: undefined },
} as const;

/** Flows set up before a flood is measured, so that the half-open table is full and evicts. */
const WARM_UP_FLOWS = 1 << 18;
/** Flows opened per sample; they stay in the flow table. */
const OPENED = 1 << 13;
/** Entries nobody confirms have a place in the flow table up to so many. */
const FEW_FLOWS = 4096;

interface Pair {
  readonly tc: Subject;
  readonly xdp?: Subject;
}

class Measurement {
  readonly figures: PacketFigure[] = [];

  constructor(
    private readonly input: MeasureInput,
    private readonly devices: Devices,
    private readonly pairs: readonly Pair[],
  ) {}

  /** Samples of all programs in turn: what disturbs the machine disturbs them alike. */
  private measure(
    subjects: readonly Subject[],
    name: string,
    column: Column,
    take: (subject: Subject) => Sample,
    aim?: number,
  ): void {
    const taken = subjects.map((): Sample[] => []);
    for (let sample = 0; sample < this.input.samples; sample++) {
      subjects.forEach((subject, index) => void taken[index]?.push(take(subject)));
    }
    for (const [index, { name: subject, hook }] of subjects.entries()) {
      const list = taken[index] ?? [];
      const net = summarise(list.map((sample) => sample.net));
      if (!net) continue;
      const empty = summarise(list.map((sample) => sample.empty))?.median ?? 0;
      const wanted = aim ?? AIMS[hook][column];
      const about = { name, column, subject, hook, empty, verdict: list.at(-1)?.verdict ?? -1 };
      this.figures.push({ ...about, ...net, ...(wanted ? { aim: wanted } : {}) });
    }
  }

  private get tc(): Subject[] {
    return this.pairs.map(({ tc }) => tc);
  }

  private get all(): Subject[] {
    return this.pairs.flatMap(({ tc, xdp }) => (xdp ? [tc, xdp] : [tc]));
  }

  /** Open flows of a mode, one of them again and again and many in random order; then new ones. */
  mode(mode: Mode): void {
    const flows = mode.hasFewFlows ? FEW_FLOWS : this.input.flows;
    for (const { wrapper, own } of this.tc) {
      for (const service of mode.services) own?.services.add(service);
      this.open(wrapper, mode, flows);
    }
    const { data, back } = mode.talk;
    const rows: [Column, Stream | undefined, boolean][] = [
      ['hot', data, false],
      ['hotBack', back, false],
      ['many', data, true],
      ['manyBack', back, true],
    ];
    for (const [column, stream, isMany] of rows) {
      if (!stream || (isMany && mode.hasFewFlows)) continue;
      const load: Load = isMany
        ? { stream, order: 'random', flows, repeat: flows }
        : { stream, order: 'hot', flows: 1, repeat: this.input.repeat };
      this.measure(mode.hasXdp ? this.all : this.tc, mode.name, column, (subject) => samplePacket(subject, mode, load));
    }
    this.clear();
    // A mode that cannot be run twice on a packet has no figure, nor has one whose flows are never confirmed.
    if (mode.plain || mode.hasFewFlows) return;
    const first = mode.talk.opening.slice(0, 1);
    this.measure(this.tc, mode.name, 'new', (subject) =>
      subject.sampleOpening(mode.talk, first, OPENED, mode.isResized),
    );
    this.clear();
  }

  private open(wrapper: Wrapper, mode: Mode, flows: number): void {
    try {
      establish(wrapper, mode.plain ?? mode.talk, 0, flows);
      if (mode.plain) establishFresh(wrapper, mode.talk, flows);
    } catch (cause) {
      throw new Error(`${mode.name}: its flows cannot be opened`, { cause });
    }
  }

  opening({ name, services, talk, measured, aim }: Opening): void {
    for (const { own } of this.tc) for (const service of services) own?.services.add(service);
    this.measure(this.tc, name, 'new', (subject) => subject.sampleOpening(talk, measured, OPENED), aim ?? Number.NaN);
    this.clear();
  }

  /** Packets that open nothing, with a flow where one is needed. */
  packet(name: string, stream: Stream, subjects = this.tc): void {
    const load: Load = { stream, order: 'hot', flows: 1, repeat: this.input.repeat };
    this.measure(subjects, name, 'packet', (subject) => subject.sample(load));
  }

  others(name: string): void {
    this.packet(name, ofOthers(this.devices), this.all);
  }

  fragments(): void {
    const udp = conversation(this.devices, plainRoute(4), 'udp');
    for (const { wrapper } of this.tc) establish(wrapper, udp, 0, 1);
    for (const part of ['first', 'later'] as const) {
      this.packet(`UDP fragment, ${part}`, towardsService(this.devices, plainRoute(4), { protocol: 'udp' }, { part }));
    }
    this.clear();
  }

  /** The service a daemon has, or the first of our own. */
  basics(): void {
    const tcp = conversation(this.devices, plainRoute(4), 'tcp');
    const { repeat, flows } = this.input;
    for (const { wrapper } of this.tc) establish(wrapper, tcp, 0, flows);
    const load: Load = { stream: tcp.data, order: 'hot', flows: 1, repeat };
    this.measure(this.tc, 'established TCP', 'hot', (subject) => subject.sample(load));
    this.measure(this.tc, 'new flow', 'new', (subject) => subject.sampleOpening(tcp, tcp.opening.slice(0, 1), OPENED));
  }

  flood(): void {
    const [first] = conversation(this.devices, plainRoute(4), 'tcp').opening;
    if (!first) return;
    for (const subject of this.tc) subject.warmUp(first, WARM_UP_FLOWS);
    const load: Load = { stream: first, order: 'rising', flows: 0, repeat: this.input.repeat };
    this.measure(this.tc, 'SYN flood, half-open table full', 'packet', (subject) => subject.sample(load));
  }

  private clear(): void {
    for (const subject of this.tc) subject.clear();
  }
}

function samplePacket(subject: Subject, { plain, isResized }: Mode, load: Load): Sample {
  if (plain && subject.hook === 'tc') return subject.sampleTunnel(load, plain.data);
  return isResized ? subject.sampleResized(load) : subject.sample(load);
}

/** Programs of one kind: tc programs with the XDP program of the same object behind each. */
function loadPairs(input: MeasureInput, devices: Devices): Pair[] {
  const fresh = input.firstFresh ?? 1 << 20;
  if (input.pinned) {
    const wrapper = new Wrapper(new LoadedObject(input.wrapper), openPinned(input.pinned));
    return [{ tc: new Subject(input.pinned, wrapper, fresh) }];
  }
  return (input.objects ?? []).map((name) => {
    const object = new LoadedObject(name);
    const services = writeServices(object);
    writeDevices(object, devices);
    const tc = new Wrapper(new LoadedObject(input.wrapper), object.program('tc_ingress'));
    const xdp = new Wrapper(new LoadedObject(input.wrapper), object.program('xdp_ingress'), 'xdp');
    return {
      tc: new Subject(name, tc, 0, { object, services }),
      xdp: new Subject(name, xdp, 0, undefined, tc),
    };
  });
}

function measureAll(input: MeasureInput, devices: Devices): PacketFigure[] {
  const measurement = new Measurement(input, devices, loadPairs(input, devices));
  if (input.pinned) {
    measurement.basics();
  } else {
    measurement.others('packet of no service');
    for (const mode of planModes(devices)) measurement.mode(mode);
    measurement.fragments();
    for (const opening of planOpenings(devices)) measurement.opening(opening);
    measurement.others('packet of no service, where there are ranges');
  }
  measurement.flood();
  return measurement.figures;
}

const devices: Devices = { client: await readDevice('c0'), server: await readDevice('s1') };
const input = JSON.parse(process.argv[2] ?? '{}') as MeasureInput;
process.stdout.write(JSON.stringify(measureAll(input, devices)));
