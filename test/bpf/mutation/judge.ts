/** Compares what the programs did with what they may do. */
import { VERDICT } from '../harness.js';
import { adjust, Kind, Part, RawPacket, setWord, sumOf, word } from '../reference/raw.js';
import { crossRaw } from '../reference/raw-family.js';
import {
  copyRaw,
  encapsulateRaw,
  RawQuote,
  sameBytes,
  translateErrorRaw,
  translateRaw,
} from '../reference/raw-translate.js';
import { isAnswer } from './answer.js';
import { Likeness } from './likeness.js';
import {
  type Direction,
  type EndpointModel,
  isDirect,
  isLinkLocal,
  isNobody,
  isOtherEcho,
  type Model,
  type ServiceModel,
  tupleKey,
  type Way,
} from './model.js';
import { pathOfError } from './path-judge.js';
import { ProxyJudge } from './proxy-judge.js';

const SCTP = 132;
const NO_HOP_TAKEN = 0;
const NO_MACS = new Uint8Array(12);

export class Judge {
  /** Drops that must be found in the counters. */
  drops = 0;
  /** Packets that did not just pass. */
  touched = 0;
  /** A flow may be there that nobody has seen: the world has to be made anew. */
  stale = false;
  private readonly packet = new RawPacket();
  private readonly outgoing = new RawPacket();
  private readonly quote = new RawQuote();
  private readonly expected = new Uint8Array(8192);
  private readonly likeness = new Likeness(this.packet, this.quote, this.expected);
  private readonly proxy = new ProxyJudge();

  constructor(private readonly model: Model) {}

  /** What is wrong, or undefined. `output` is what came out; only its first `outputLength` bytes count. */
  judge(
    input: Uint8Array,
    length: number,
    verdict: number,
    output: Uint8Array,
    outputLength: number,
  ): string | undefined {
    const { packet } = this;
    packet.read(input, length);
    this.model.notice(packet);
    const same = outputLength === length && sameBytes(input, 0, output, 0, length);
    if (verdict === VERDICT.next && same) return this.judgePass();
    this.touched++;
    if (verdict === VERDICT.drop) return this.judgeDrop();
    if (verdict !== VERDICT.redirect && verdict !== VERDICT.next) return `verdict ${verdict}`;
    const fault =
      packet.kind === Kind.error
        ? this.judgeError(output, outputLength, verdict)
        : this.judgeFlow(output, outputLength, verdict);
    if (fault === undefined) return undefined;
    // Whatever its flow: a packet may be turned round, as the answer to it.
    const answer = verdict === VERDICT.redirect && isAnswer(packet, output, outputLength);
    if (!answer) return fault;
    this.drops++;
    this.model.remember(packet, true);
    const known = this.model.flows.has(this.model.keyOf(packet));
    if (packet.kind === Kind.flow && (packet.opens || !known)) this.stale = true;
    return undefined;
  }

  private judgePass(): string | undefined {
    const { packet, model } = this;
    if (packet.kind !== Kind.flow || packet.part === Part.later) return undefined;
    model.remember(packet, false);
    if (model.isForeignEcho(packet)) return undefined;
    const key = model.keyOf(packet);
    const known = model.flows.get(key);
    if (known) {
      // The endpoint may begin to talk to that client directly, when the flow is over.
      model.close(key);
      const over = known.service.way === 'associate' || (known.reply && packet.tcpFlags & 2);
      return over ? undefined : 'a packet of a flow passed';
    }
    const extended = packet.six && packet.transport !== 54;
    const service = extended ? undefined : model.serviceOf(packet);
    if (!service || isNobody(packet)) return undefined;
    if (service.allows?.(packet) === false) return 'a client that is not allowed came through';
    return packet.opens || isDirect(service.way) ? 'a packet to a service passed' : undefined;
  }

  private judgeDrop(): string | undefined {
    const { packet, model } = this;
    if (packet.kind === Kind.none) return 'dropped, although it is nothing of ours';
    if (packet.kind === Kind.flow && packet.part !== Part.whole) {
      const fragments = model.fragmentsOf(packet);
      if (packet.part === Part.first && fragments.held > 0) {
        // It comes in again, and what was kept behind it.
        fragments.held = 0;
        return undefined;
      }
      this.drops++;
      if (packet.part === Part.later && !model.borrowPorts(packet)) {
        fragments.held++;
        return model.isKnown(packet) ? undefined : 'a part was kept of a packet between others';
      }
    } else this.drops++;
    model.remember(packet, true);
    if (packet.kind === Kind.error)
      return packet.ttl <= 1 || this.aboutUs() ? undefined : 'an error about others was dropped';
    const direction = model.flowOf(packet);
    const service = model.serviceOf(packet);
    const way = (direction?.service ?? service)?.way;
    if (way !== undefined && !isStrict(way)) {
      // The flow may have been opened, or opened anew, before its packet was refused.
      this.stale ||= packet.opens || !direction;
      return undefined;
    }
    if (packet.protocol === SCTP) return undefined;
    if (direction) {
      // A client may have any address, also one that no route leads to.
      return direction.reply || packet.ttl <= 1 ? undefined : 'a packet of a flow was dropped';
    }
    if (service && (isNobody(packet) || service.endpoints.length === 0)) return undefined;
    return service?.allows?.(packet) === false ? undefined : 'dropped without a reason';
  }

  private judgeFlow(output: Uint8Array, length: number, verdict: number): string | undefined {
    const { packet, model } = this;
    if (packet.kind !== Kind.flow) return 'touched, although it is nothing of ours';
    if (!model.borrowPorts(packet)) return 'a later part without its first';
    if (!model.hasKnownTag(packet)) return 'a tag that nobody has asked for';
    const key = model.keyOf(packet);
    if (model.isForeignEcho(packet)) return 'an echo of another conversation';
    const known = model.flows.get(key);
    if (known && this.isSent(known, output, length, verdict)) {
      model.remember(packet, true);
      return undefined;
    }
    const forward = known?.reply && known.service.way === 'proxy' ? model.flows.get(known.otherKey ?? '') : undefined;
    if (forward && this.proxy.isHeaderBack(packet, forward, output, length)) return undefined;
    if (packet.part === Part.later)
      return this.isPath(output, length) ? undefined : 'a later part that went another way than its flow';
    const opened = this.judgeOpening(key, known, output, length, verdict);
    const fault = opened !== undefined && this.isPath(output, length) ? undefined : opened;
    if (fault === undefined) model.remember(packet, true);
    return fault;
  }

  /** A packet that is the first of a flow, or the first again. */
  private judgeOpening(
    key: string,
    known: Direction | undefined,
    output: Uint8Array,
    length: number,
    verdict: number,
  ): string | undefined {
    const { packet, model } = this;
    const service = model.serviceOf(packet);
    if (!service) return 'neither of a flow nor to a service';
    if (isNobody(packet)) return 'from an address nobody can have';
    if (service.allows?.(packet) === false) return 'a client that is not allowed';
    if (!isDirect(service.way) && !packet.opens) return 'a flow out of its middle';
    if (known && !packet.opens) return 'a flow went another way';
    if (known && isDirect(service.way)) return 'DSR changed its mind';
    for (const endpoint of service.endpoints) {
      const ports = this.portsSeen(service, endpoint, output, length);
      if (!ports) continue;
      model.close(key);
      const direction = model.open(packet, service, endpoint, ports);
      if (!direction) return 'the way back belongs to another flow';
      if (this.isSent(direction, output, length, verdict)) return undefined;
      model.close(key);
    }
    return 'went to nobody of the service';
  }

  /**
   * Another path of an SCTP association: who knows its verification tag may send from any of his addresses, and to any
   * of his peer's. Which these may be has tests of its own; here, that all is between one service and its endpoints.
   * Later parts have the ports of the first, which may have been dropped behind that path's back.
   */
  private isPath(output: Uint8Array, length: number): boolean {
    const { packet, model, outgoing, expected } = this;
    outgoing.read(output, length);
    if (packet.protocol !== SCTP || outgoing.protocol !== SCTP || outgoing.size !== packet.size) return false;
    if (!model.services.some((service) => this.isPathOf(service))) return false;
    const { addresses: at, size, sport, dport } = outgoing;
    const source = output.slice(at, at + size);
    const destination = output.slice(at + size, at + 2 * size);
    const hops = outgoing.ttl === packet.ttl ? NO_HOP_TAKEN : 1;
    const total = translateRaw(packet, { source, destination, sport, dport }, hops, expected);
    expected.set(output.subarray(0, 12), 0);
    return this.likeness.matches(output, length, total, 0);
  }

  private isPathOf({ vip, protocol, first, endpoints }: ServiceModel): boolean {
    const { packet, outgoing } = this;
    const { bytes, addresses: at, size } = outgoing;
    if (protocol !== SCTP || vip.length !== size) return false;
    const later = packet.part === Part.later;
    return endpoints.some(({ address, port }) => {
      const ports = { there: later || outgoing.dport === port, back: later || outgoing.sport === first };
      const there = packet.dport === first && ports.there && sameBytes(bytes, at + size, address, 0, size);
      const back = packet.sport === port && ports.back && sameBytes(bytes, at, vip, 0, size);
      // Whoever sends to the address of a service does not reach another one's endpoint.
      const asked = this.model.serviceOf(packet)?.vip ?? vip;
      return (there && sameBytes(asked, 0, vip, 0, size)) || back;
    });
  }

  /** Ports the endpoint sees, when they are such as it may see. */
  private portsSeen(service: ServiceModel, endpoint: EndpointModel, output: Uint8Array, length: number) {
    const { packet, outgoing } = this;
    if (isDirect(service.way)) return { sport: packet.sport, dport: packet.dport };
    outgoing.read(output, length);
    if (outgoing.kind !== Kind.flow) return undefined;
    const { sport, dport, size } = outgoing;
    if (size !== endpoint.address.length || !sameBytes(output, outgoing.addresses + size, endpoint.address, 0, size))
      return undefined;
    if (sport !== packet.sport && sport < 1024) return undefined;
    if (packet.protocol === 1 || packet.protocol === 58) return { sport, dport };
    const offset = dport - endpoint.port;
    if (offset < 0 || offset >= endpoint.ports) return undefined;
    if (endpoint.shift && offset !== packet.dport - service.first) return undefined;
    return { sport, dport };
  }

  private isSent(direction: Direction, output: Uint8Array, length: number, verdict: number): boolean {
    const { packet, expected } = this;
    const { way, endpoint } = { way: direction.service.way, endpoint: direction.endpoint };
    if (way === 'hand over') {
      const size = copyRaw(packet, expected);
      expected.set(endpoint.macs, 0);
      return verdict === VERDICT.redirect && this.likeness.matches(output, length, size, 0);
    }
    if (packet.ttl <= 1 && verdict === VERDICT.redirect) return false;
    if (way === 'tunnel') {
      const size = encapsulateRaw(packet, { ...tunnelOf(endpoint), macs: endpoint.macs }, word(output, 18), expected);
      return (
        verdict === VERDICT.redirect &&
        this.likeness.matches(output, length, size, endpoint.self.length === 16 ? 40 : 20)
      );
    }
    if (way === 'proxy') return this.proxy.isSent(packet, direction, output, length, verdict);
    // Through lo goes what the kernel shall route, as packets of the other family have to: a client may call itself what
    // is the broadcast address of a network here.
    const throughLo = way === 'cross' && direction.reply && sameBytes(output, 0, NO_MACS, 0, 12);
    const hops = verdict === VERDICT.redirect && !throughLo ? 1 : NO_HOP_TAKEN;
    const size =
      way === 'cross'
        ? crossRaw(packet, direction, hops, word(output, 18), expected)
        : translateRaw(packet, direction, hops, expected);
    if (size === 0) return false;
    // Clients may be anywhere: their MAC addresses are the routing table's business.
    if (direction.reply || this.isLeftToKernel(direction, verdict)) expected.set(output.subarray(0, 12), 0);
    else if (verdict !== VERDICT.redirect) return false;
    return this.likeness.matches(output, length, size, 0);
  }

  /** No router takes an address of its own link elsewhere (RFC 4291 2.5.6): the kernel sees to that. */
  private isLeftToKernel({ source }: Direction, verdict: number): boolean {
    return verdict === VERDICT.next && isLinkLocal(source);
  }

  /** Whether there is a flow whose packets the error is about. */
  private aboutUs(): boolean {
    return this.answerOf() !== undefined;
  }

  private isErrorOfPath(output: Uint8Array, length: number, verdict: number): boolean {
    const { packet, quote, expected } = this;
    const path = quote.read(packet) ? pathOfError(quote, this.model.services, output, length) : undefined;
    if (!path) return false;
    const size = translateErrorRaw(packet, quote, path, verdict === VERDICT.redirect ? 1 : NO_HOP_TAKEN, expected);
    expected.set(output.subarray(0, 12), 0);
    return this.likeness.matches(output, length, size, 0);
  }

  /** The direction that answers the packet an error quotes. */
  private answerOf(): Direction | undefined {
    const { packet, quote, model } = this;
    if (!quote.read(packet)) return undefined;
    const { bytes } = packet;
    const { addresses: at, size, sport, dport, protocol } = quote;
    if (!sameBytes(bytes, at, bytes, packet.addresses + size, size)) return undefined;
    const turned = Buffer.concat([bytes.subarray(at + size, at + 2 * size), bytes.subarray(at, at + size)]);
    const answer = model.flows.get(tupleKey(turned, 0, size, dport, sport, protocol));
    if (!answer || !quote.echo) return answer;
    const type = bytes[quote.transport];
    const [request, reply] = protocol === 1 ? [8, 0] : [128, 129];
    if (type !== request && type !== reply) return undefined;
    return isOtherEcho(protocol, type !== request, answer) ? undefined : answer;
  }

  private judgeError(output: Uint8Array, length: number, verdict: number): string | undefined {
    const { packet, expected } = this;
    const answer = this.answerOf();
    if (!answer) return this.isErrorOfPath(output, length, verdict) ? undefined : 'an error about nothing of ours';
    if (answer.service.way === 'cross') return this.judgeCrossedError(answer, output, length);
    if (isDirect(answer.service.way))
      return this.isSent(answer, output, length, verdict) ? undefined : 'an error that did not go to the endpoint';
    const hops = verdict === VERDICT.redirect ? 1 : NO_HOP_TAKEN;
    if (answer.service.way === 'proxy') this.moveQuoteBack(answer, output);
    const size = translateErrorRaw(packet, this.quote, answer, hops, expected);
    expected.set(output.subarray(0, 12), 0);
    return this.likeness.matches(output, length, size, 0) ? undefined : 'an error not translated as it should be';
  }

  /**
   * The client's sequence numbers are less by the header's length, but for what came before the header: its SYN. The
   * packet is changed as if it had come so.
   */
  private moveQuoteBack(answer: Direction, output: Uint8Array): void {
    const { packet, quote } = this;
    const { bytes, end } = packet;
    const at = quote.transport + 4;
    const seen = (word(output, at) << 16) | word(output, at + 2);
    // Until the handshake is over, one way or another, there was nothing but a SYN. Afterwards a number is less by the header's
    // length, or the first behind the header; which, tests of their own judge.
    const begun = this.model.begun.has(answer.otherKey ?? '');
    const back = ((word(bytes, at) << 16) | word(bytes, at + 2)) - seen;
    if (!answer.reply || !begun || back <= 0 || back > (packet.six ? 52 : 28)) return;
    const [before, check] = [sumOf(bytes, at, at + 4), quote.transport + 16];
    setWord(bytes, at, (seen >>> 16) & 0xffff);
    setWord(bytes, at + 2, seen & 0xffff);
    const after = sumOf(bytes, at, at + 4);
    // The quoted checksum covers the number, and that of the error both.
    if (check + 2 <= end) {
      setWord(bytes, check, adjust(word(bytes, check), before, after));
      return;
    }
    const icmp = packet.transport + 2;
    setWord(bytes, icmp, adjust(word(bytes, icmp), before, after));
  }

  /** Its kind and its quote are judged by tests of their own; here, that it goes from whom it may to whom it is for. */
  private judgeCrossedError(answer: Direction, output: Uint8Array, length: number): string | undefined {
    const { outgoing } = this;
    outgoing.read(output, length);
    const { addresses: at, size, kind } = outgoing;
    const { source, destination } = answer;
    if (kind !== Kind.error || size !== destination.length) return 'an error that became no error of the other family';
    const right = sameBytes(output, at + size, destination, 0, size) && sameBytes(output, at, source, 0, size);
    return right ? undefined : 'an error of somebody else, or for somebody else';
  }
}

/** Packets of these ways are always carried; others are refused where they cannot be carried without harm. */
function isStrict(way: Way): boolean {
  return way === 'translate' || isDirect(way);
}

function tunnelOf(endpoint: EndpointModel) {
  return { source: endpoint.self, destination: endpoint.address };
}
