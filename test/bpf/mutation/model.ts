/** What the balancer may do with a packet, by the services there are and the flows it has been seen to open. */
import { Kind, Part, type RawPacket, word } from '../reference/raw.js';
import { otherProtocol } from '../reference/raw-family.js';
import { type RawChange, sameBytes } from '../reference/raw-translate.js';

export interface EndpointModel {
  readonly address: Uint8Array;
  /** Whom the endpoint sees as its client; undefined: the client. */
  readonly source?: Uint8Array | undefined;
  /** Source of tunnels to it. */
  readonly self: Uint8Array;
  readonly port: number;
  readonly ports: number;
  /** The n-th port of the service is its n-th. */
  readonly shift: boolean;
  readonly macs: Uint8Array;
}

/** How packets of a service reach its endpoints. All but the DSR ones have a way back. */
export type Way = 'translate' | 'cross' | 'associate' | 'proxy' | 'hand over' | 'tunnel';

export function isDirect(way: Way): boolean {
  return way === 'hand over' || way === 'tunnel';
}

export interface ServiceModel {
  readonly vip: Uint8Array;
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
  readonly way: Way;
  readonly endpoints: readonly EndpointModel[];
  /** Whether a client may use it; all may unless given. */
  readonly allows?: ((packet: RawPacket) => boolean) | undefined;
}

export interface Direction extends RawChange {
  readonly service: ServiceModel;
  readonly endpoint: EndpointModel;
  readonly reply: boolean;
  /** Who began the flow. */
  readonly client: Uint8Array;
  readonly clientPort: number;
  /** Key of the other direction; none for DSR. */
  readonly otherKey: string | undefined;
}

interface Fragments {
  /** Ports of the first part, once it has come. */
  ports: number | undefined;
  /** The first part belonged to a flow. */
  ours: boolean;
  /** Parts kept meanwhile. */
  held: number;
}

/**
 * No host has such an address of its own: multicast, reserved, loopback, unspecified (RFC 1812 5.3.7, RFC 6890), and of
 * IPv6 the first 2^32 (RFC 4291 2.5.5.1).
 */
export function isNobody({ bytes, addresses: at, size }: RawPacket): boolean {
  const first = bytes[at] ?? 0;
  if (size === 4) return first === 0 || first === 127 || first >= 224;
  if (first === 255) return true;
  for (let index = 0; index < 12; index++) if (bytes[at + index] !== 0) return false;
  return true;
}

const TCP = 6;
const SCTP = 132;

function long(bytes: Uint8Array, at: number): number {
  return word(bytes, at) * 0x10000 + word(bytes, at + 2);
}

/** Known on one link only (RFC 4291 2.5.6). */
export function isLinkLocal(address: Uint8Array): boolean {
  return address.length === 16 && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;
}

const scratch = Buffer.alloc(64);

/** A tuple as text, for maps. Addresses are those at `at` of `bytes`. */
export function tupleKey(
  bytes: Uint8Array,
  at: number,
  size: number,
  sport: number,
  dport: number,
  proto: number,
): string {
  for (let index = 0; index < 2 * size; index++) scratch[index] = bytes[at + index] ?? 0;
  scratch.writeUInt16BE(sport, 2 * size);
  scratch.writeUInt16BE(dport, 2 * size + 2);
  scratch[2 * size + 4] = proto;
  return scratch.toString('latin1', 0, 2 * size + 5);
}

/** Of an endpoint that is its own client one entry stands for both ways, and DSR forwards whatever comes. */
export function isOtherEcho(
  protocol: number,
  request: boolean,
  { reply, service, client, endpoint }: Direction,
): boolean {
  if ((protocol !== 1 && protocol !== 58) || request !== reply || isDirect(service.way)) return false;
  return client.length !== endpoint.address.length || !sameBytes(client, 0, endpoint.address, 0, client.length);
}

export class Model {
  readonly flows = new Map<string, Direction>();
  readonly fragments = new Map<string, Fragments>();
  /** Flows whose endpoint has said something, by the key of the client's packets. */
  readonly answered = new Set<string>();
  /** Flows whose client has acknowledged something since then, or that were reset, likewise. */
  readonly begun = new Set<string>();
  /** Verification tags that somebody has asked for (RFC 9260 8.5). */
  private readonly tags = new Set<number>();
  constructor(
    readonly services: readonly ServiceModel[],
    /** Parts of packets to or from these are kept until the first has come. */
    readonly known: readonly Uint8Array[] = [],
  ) {}

  forget(): void {
    this.flows.clear();
    this.answered.clear();
    this.begun.clear();
    this.tags.clear();
    this.fragments.clear();
  }

  keyOf(packet: RawPacket): string {
    return tupleKey(packet.bytes, packet.addresses, packet.size, packet.sport, packet.dport, packet.protocol);
  }

  /** The direction this packet is of. */
  flowOf(packet: RawPacket): Direction | undefined {
    const direction = this.flows.get(this.keyOf(packet));
    return direction && this.isForeignEcho(packet, direction) ? undefined : direction;
  }

  /** Echo requests and answers share tuples: it goes the other way than the flow of its tuple. */
  isForeignEcho(packet: RawPacket, direction = this.flows.get(this.keyOf(packet))): boolean {
    if (!direction || packet.part === Part.later) return false;
    return isOtherEcho(packet.protocol, packet.opens, direction);
  }

  serviceOf(packet: RawPacket): ServiceModel | undefined {
    const at = packet.addresses + packet.size;
    const icmp = packet.protocol === 1 || packet.protocol === 58;
    return this.services.find(
      ({ vip, protocol, first, last }) =>
        protocol === packet.protocol &&
        vip.length === packet.size &&
        sameBytes(vip, 0, packet.bytes, at, packet.size) &&
        (icmp || (packet.dport >= first && packet.dport <= last)),
    );
  }

  isKnown(packet: RawPacket): boolean {
    const { bytes, addresses, size } = packet;
    return this.known.some(
      (address) =>
        address.length === size &&
        (sameBytes(address, 0, bytes, addresses, size) || sameBytes(address, 0, bytes, addresses + size, size)),
    );
  }

  /** What is known of the packet this is a part of; a record is made where there is none. */
  fragmentsOf(packet: RawPacket): Fragments {
    const { bytes, addresses, size, identification: at, protocol } = packet;
    const high = packet.six ? word(bytes, at) : 0;
    const key = tupleKey(bytes, addresses, size, high, word(bytes, packet.six ? at + 2 : at), protocol);
    const known = this.fragments.get(key) ?? { ports: undefined, ours: false, held: 0 };
    this.fragments.set(key, known);
    return known;
  }

  /** Later parts are looked up by the ports of the first; false where that has not come. */
  borrowPorts(packet: RawPacket): boolean {
    if (packet.part !== Part.later) return true;
    const { ports, ours } = this.fragmentsOf(packet);
    if (ports === undefined || !ours) return false;
    packet.sport = ports >>> 16;
    packet.dport = ports & 0xffff;
    return true;
  }

  /** The first part of a packet has been judged: the others follow it. */
  remember(packet: RawPacket, ours: boolean): void {
    if (packet.part !== Part.first || packet.kind !== Kind.flow) return;
    const fragments = this.fragmentsOf(packet);
    fragments.ports = ((packet.sport << 16) | packet.dport) >>> 0;
    fragments.ours = ours;
    fragments.held = 0;
  }

  /** What the programs may learn from a packet, whatever becomes of it then. */
  notice(packet: RawPacket): void {
    if (packet.kind !== Kind.flow || packet.part === Part.later) return;
    if (packet.protocol === SCTP) this.noticeTag(packet);
    const key = this.keyOf(packet);
    const known = packet.protocol === TCP ? this.flows.get(key) : undefined;
    if (known) this.noticeHandshake(packet.tcpFlags, known.reply ? (known.otherKey ?? '') : key, known.reply);
  }

  /** The TCP handshake of the flow with this key may be one step farther. */
  private noticeHandshake(flags: number, key: string, reply: boolean): void {
    if (flags & 0x04) this.begun.add(key);
    if (reply) this.answered.add(key);
    else if (this.answered.has(key) && (flags & 0x16) === 0x10) this.begun.add(key);
  }

  /** An INIT or INIT ACK says which tag its sender wants to see. */
  private noticeTag({ bytes, transport: at }: RawPacket): void {
    const chunk = bytes[at + 12];
    if (chunk === 1 || chunk === 2) this.tags.add(long(bytes, at + 16));
  }

  /** INIT has no tag, and all else one that was asked for. */
  hasKnownTag({ bytes, transport: at, protocol, part, opens }: RawPacket): boolean {
    if (protocol !== SCTP || part === Part.later) return true;
    const tag = long(bytes, at + 4);
    return opens ? tag === 0 : tag !== 0 && this.tags.has(tag);
  }

  /** Both directions of a flow that was seen to be opened. Undefined: the way back belongs to another flow. */
  open(packet: RawPacket, service: ServiceModel, endpoint: EndpointModel, ports: { sport: number; dport: number }) {
    const { bytes, addresses, size, protocol } = packet;
    const client = bytes.slice(addresses, addresses + size);
    const key = this.keyOf(packet);
    const { source: own } = endpoint;
    const hairpin = client.length === endpoint.address.length && sameBytes(client, 0, endpoint.address, 0, size);
    const translated = !isDirect(service.way);
    const source = translated ? (hairpin ? service.vip : (own ?? client)) : endpoint.self;
    const forward: RawChange = { source, destination: endpoint.address, ...ports, macs: endpoint.macs };
    const both = Buffer.concat([endpoint.address, source]);
    const behind = service.way === 'cross' ? otherProtocol(protocol) : protocol;
    const otherKey = translated
      ? tupleKey(both, 0, endpoint.address.length, ports.dport, ports.sport, behind)
      : undefined;
    if (otherKey !== undefined) {
      const owner = this.flows.get(otherKey);
      if (owner && owner.otherKey !== key) return undefined;
    }
    this.close(key);
    const common = { service, endpoint, client, clientPort: packet.sport };
    const direction: Direction = { ...forward, ...common, reply: false, otherKey };
    this.flows.set(key, direction);
    if (otherKey === undefined) return direction;
    const back = { source: service.vip, destination: client, sport: packet.dport, dport: packet.sport };
    this.flows.set(otherKey, { ...back, ...common, reply: true, otherKey: key });
    return direction;
  }

  close(key: string): void {
    const direction = this.flows.get(key);
    if (!direction) return;
    this.flows.delete(key);
    this.answered.delete(key);
    this.begun.delete(key);
    if (direction.otherKey !== undefined) this.flows.delete(direction.otherKey);
  }
}
