/** One packet through a private instance of the packet path, which meets what the running one would. */
import {
  type DataPlane,
  encodeBytes,
  isLoxilbError,
  type RawBatch,
  type TraceInstance,
  type TraceOutcome,
  type XdpState,
} from '@loxilb/sdk';
import { traceWithoutKernel } from './errors.js';
import { readEntries } from './labels.js';
import {
  type CtEntry,
  CtFlags,
  type CtKey,
  CtSpecial,
  ctEntry,
  ctKey,
  type DpTraceStep,
  dpTraceStep,
} from './layout.gen.js';
import { PROTOCOL_NUMBER } from './packet.js';
import { BEGUN_MAPS, COPIED_MAPS, FETCHED_MAPS, SHARED_MAPS, SMALL_MAPS } from './trace-maps.js';
import { countedEndpoints, findServices, indexKey } from './trace-services.js';

const TC_PROGRAM = 'tc_ingress';
/** By what the driver, or the kernel in its place, does with the program. */
const XDP_PROGRAMS = { native: 'xdp_ingress', generic: 'xdp_generic' } as const;
const XDP_PASS = 2;
/** Sets the number of steps to none. */
const NO_STEPS: RawBatch = { keys: indexKey(0), values: new Uint8Array(dpTraceStep.size), count: 1 };
const TRACE_MAP = 'dp_trace';
const FLOW_MAPS = ['ct_flow', 'ct_new'];
/** More source ports than the packet path tries. */
const MAX_ROUNDS = 40;

export interface PacketToTrace {
  readonly frame: Uint8Array;
  readonly ifindex: number;
  readonly mark: number;
  /** How the XDP program hangs where the packet comes in. */
  readonly xdp: XdpState['mode'];
  /** Its flow, as the packet arrives. */
  readonly key: CtKey;
}

/** One program, and what it made of the packet. */
export interface TraceStage {
  readonly program: string;
  readonly isXdp: boolean;
  readonly outcome: TraceOutcome;
  readonly steps: readonly DpTraceStep[];
}

export interface TraceResult {
  /** In the order the packet met them. */
  readonly stages: readonly [...TraceStage[], TraceStage];
  /** This kernel does not run the XDP program on one frame: it is left out. */
  readonly xdpRefused: boolean;
  /** The packet belongs to a flow of the running packet path. */
  readonly knownFlow: boolean;
}

type Plane = Pick<DataPlane, 'openTrace' | 'rawBatches' | 'rawEntries'>;

/** Throws `TRACE_NO_KERNEL`, `DP_KERNEL`. */
export async function tracePacket(plane: Plane, packet: PacketToTrace): Promise<TraceResult> {
  const programs = [...(packet.xdp === 'off' ? [] : [XDP_PROGRAMS[packet.xdp]]), TC_PROGRAM];
  const instance = await plane.openTrace({ programs, shared: SHARED_MAPS, copied: BEGUN_MAPS, sizes: SMALL_MAPS });
  if (!instance) throw traceWithoutKernel();
  try {
    return runUntilComplete(plane, instance, packet);
  } finally {
    instance.close();
  }
}

/**
 * A program that writes an entry would have met what the real table has there: so that is fetched, and the packet sent
 * again, until there is nothing more to fetch.
 */
function runUntilComplete(plane: Plane, instance: TraceInstance, packet: PacketToTrace): TraceResult {
  const seeds = new Seeds(plane);
  const knownFlow = seeds.addFlow(packet.key);
  const copies = readCopies(plane, packet, knownFlow);
  for (let round = 1; ; round++) {
    for (const [map, batch] of copies) instance.write(map, [batch]);
    for (const map of FETCHED_MAPS) instance.write(map, seeds.of(map));
    const ran = runChain(instance, packet);
    const missed = FETCHED_MAPS.map((map) => seeds.addWhatIsReal(map, instance.read(map)));
    if (!missed.includes(true) || round === MAX_ROUNDS) {
      return { ...ran, knownFlow: knownFlow !== undefined };
    }
  }
}

/** XDP first, where it is, and tc with what XDP passes on. */
function runChain(instance: TraceInstance, packet: PacketToTrace): Pick<TraceResult, 'stages' | 'xdpRefused'> {
  const first = packet.xdp === 'off' ? undefined : tryXdp(instance, packet, packet.xdp);
  if (first && first.outcome.verdict !== XDP_PASS) return { stages: [first], xdpRefused: false };
  const second = runStage(instance, packet, { program: TC_PROGRAM, isXdp: false });
  return { stages: first ? [first, second] : [second], xdpRefused: packet.xdp !== 'off' && !first };
}

/** Undefined: this kernel cannot. */
function tryXdp(instance: TraceInstance, packet: PacketToTrace, mode: 'native' | 'generic'): TraceStage | undefined {
  try {
    return runStage(instance, packet, { program: XDP_PROGRAMS[mode], isXdp: true });
  } catch (error) {
    if (isLoxilbError(error) && error.code === 'DP_KERNEL') return undefined;
    throw error;
  }
}

function runStage(
  instance: TraceInstance,
  { frame, ifindex, mark }: PacketToTrace,
  which: Pick<TraceStage, 'program' | 'isXdp'>,
): TraceStage {
  instance.write(TRACE_MAP, [NO_STEPS]);
  const outcome = instance.run({ program: which.program, bytes: frame, ifindex, mark });
  return { ...which, outcome, steps: readSteps(instance.read(TRACE_MAP)) };
}

/** The elements of COPIED_MAPS this packet may meet. */
function readCopies(plane: Plane, { key, mark }: PacketToTrace, flow: CtEntry | undefined): [string, RawBatch][] {
  const services = findServices(plane, key, mark);
  const serviceIds = new Set([...services.map(({ serviceId }) => serviceId), ...(flow ? [flow.serviceId] : [])]);
  const indexes: Readonly<Record<(typeof COPIED_MAPS)[number], Iterable<number>>> = {
    lb_ep_flows: countedEndpoints(plane, services),
    lb_svc_state: serviceIds,
  };
  return COPIED_MAPS.map((map) => [map, readEntries(plane, map, [...indexes[map]].map(indexKey))]);
}

/** Entries of the real tables, by table. */
class Seeds {
  private readonly batches = new Map<string, RawBatch[]>();
  private readonly keys = new Set<string>();

  constructor(private readonly plane: Pick<DataPlane, 'rawEntries'>) {}

  of(map: string): readonly RawBatch[] {
    return this.batches.get(map) ?? [];
  }

  /** Both directions of the flow, whichever table has it. The packet's own entry, undefined when there is none. */
  addFlow(key: CtKey): CtEntry | undefined {
    const bytes = this.addKey(key);
    if (!bytes) return undefined;
    const entry = ctEntry.decode(viewOf(bytes), 0);
    const { flags, special, nsaddr, ndaddr, nsport, ndport } = entry;
    if (flags & CtFlags.CT_ONE_WAY) return entry;
    const proto = special & CtSpecial.CT_SPECIAL_FAMILY ? otherFamily(key.proto) : key.proto;
    this.addKey({ saddr: ndaddr, daddr: nsaddr, sport: ndport, dport: nsport, proto, zone: key.zone });
    return entry;
  }

  /** True when the real table has any of these entries and the instance did not have it. */
  addWhatIsReal(map: string, written: Iterable<RawBatch>): boolean {
    let added = false;
    for (const { keys, count } of written) {
      const size = keys.length / count;
      for (let index = 0; index < count; index++) {
        const key = keys.slice(index * size, (index + 1) * size);
        if (!this.keys.has(nameOf(map, key)) && this.fetch(map, key)) added = true;
      }
    }
    return added;
  }

  private addKey(key: CtKey): Uint8Array | undefined {
    const bytes = encodeBytes(ctKey, key);
    for (const map of FLOW_MAPS) {
      const found = this.fetch(map, bytes);
      if (found) return found;
    }
    return undefined;
  }

  private fetch(map: string, key: Uint8Array): Uint8Array | undefined {
    const batch = readEntries(this.plane, map, [key]);
    if (batch.count === 0) return undefined;
    this.keys.add(nameOf(map, key));
    this.batches.set(map, [...this.of(map), batch]);
    return batch.values;
  }
}

function nameOf(map: string, key: Uint8Array): string {
  return `${map} ${Buffer.from(key).toString('hex')}`;
}

/** RFC 7915: ICMP has another number in the other family. */
function otherFamily(protocol: number): number {
  if (protocol === PROTOCOL_NUMBER.icmp) return PROTOCOL_NUMBER.icmp6;
  return protocol === PROTOCOL_NUMBER.icmp6 ? PROTOCOL_NUMBER.icmp : protocol;
}

/** Entry 0 says how many there are. */
function readSteps(batches: Iterable<RawBatch>): DpTraceStep[] {
  const all = [...batches].flatMap(({ values, count }) =>
    Array.from({ length: count }, (_, index) => dpTraceStep.decode(viewOf(values), index * dpTraceStep.size)),
  );
  return all.slice(1, 1 + (all[0]?.a ?? 0));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
