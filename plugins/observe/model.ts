/** What goes over the wire: the daemon writes it, `loxicmd` reads it. */

export type EventKind = 'drop' | 'pass' | 'event';

export const DROPS_PATH = '/config/drops';
export const OBSERVE_PATH = '/observe';
export const TRACE_PATH = '/trace';

/** Packets dropped for one reason since the packet path was loaded first. */
export interface DropEntry {
  /** As in the metrics: `no_endpoint`. */
  readonly reason: string;
  /** `enum dp_counter` of the packet path. */
  readonly number: number;
  readonly packets: number;
  readonly meaning: string;
  readonly remedy: string;
  /** Those of packets whose service was known, most packets first. */
  readonly services: readonly ServiceDrops[];
}

export interface ServiceDrops extends ServiceLabel {
  readonly packets: number;
}

/** How a service is named to people. */
export interface ServiceLabel {
  /** The rule's name, often empty. */
  readonly service: string;
  /** `20.20.20.1:80/tcp`, or the number of a service that is gone. */
  readonly address: string;
}

/** One packet as `observe` shows it. */
export interface ObservedEvent {
  /** RFC 3339, microseconds. */
  readonly time: string;
  readonly kind: EventKind;
  readonly reason: string;
  readonly number: number;
  readonly service?: string;
  readonly serviceAddress?: string;
  /** `10.0.0.1:8080` */
  readonly endpoint?: string;
  /** Where the packet came in; `-` when the packet path does not say. */
  readonly interface: string;
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  /** Bytes from the IP header on. */
  readonly length: number;
  /** `SYN,ACK` */
  readonly tcpFlags?: string;
}

/** Told to a watcher that was too slow, or when the packet path had no room. */
export interface LostEvents {
  readonly events: number;
  readonly where: 'packet path' | 'client';
}

export const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp'] as const;
export const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'] as const;

/** Body of `POST /trace`. */
export interface TraceBody {
  readonly source: string;
  readonly destination: string;
  readonly protocol: (typeof PROTOCOLS)[number];
  /** For icmp: the identifier. */
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  /** Device the packet comes in by. */
  readonly interface: string;
  /** TCP only; default `syn`. */
  readonly flags?: readonly (typeof TCP_FLAGS)[number][] | undefined;
  readonly mark?: number | undefined;
  /** Bytes from the IP header on; default: headers alone. */
  readonly size?: number | undefined;
  readonly ttl?: number | undefined;
}

export interface TracedPacket {
  /** The frame, Ethernet header first. */
  readonly hex: string;
  /** `10.0.0.1:1000 > 20.20.20.1:80 TCP SYN, 44 bytes, TTL 64` */
  readonly summary: string;
  readonly sourceMac: string;
  readonly destinationMac: string;
}

export interface TraceStep {
  /** Which program says it: `tc_ingress`, or XDP's before it where that hangs. */
  readonly program: string;
  /** `service_found` */
  readonly step: string;
  /** In plain words. */
  readonly text: string;
}

export interface TraceAnswer {
  readonly interface: string;
  readonly before: TracedPacket;
  readonly steps: readonly TraceStep[];
  readonly verdict: { readonly name: 'sent' | 'kernel' | 'dropped'; readonly text: string };
  /** Where the packet leaves, for packets that are sent. */
  readonly out?: {
    readonly interface: string;
    readonly how: string;
    /** Left out when the kernel fills them in. */
    readonly sourceMac?: string;
    readonly destinationMac?: string;
  };
  readonly after: TracedPacket;
  /** What this trace could not know. */
  readonly notes: readonly string[];
}
