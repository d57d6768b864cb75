/**
 * Services plugins and the core offer each other, by token. Plugins never import one another: they meet here.
 */
import { token } from './token.js';

/** A link as the kernel tells it (rtnetlink), counters included. */
export interface NetworkLink {
  readonly ifindex: number;
  readonly name: string;
  /** Six bytes as `aa:bb:cc:dd:ee:ff`. */
  readonly mac: string;
  readonly mtu: number;
  /** Administratively up. */
  readonly up: boolean;
  /** Carrier. */
  readonly running: boolean;
  readonly loopback: boolean;
  /** ARPHRD type is Ethernet (or loopback, which frames like it): packets start with a 14-byte header. */
  readonly ethernet: boolean;
  /** rtnetlink kind: `veth`, `bridge`, `bond`, `vlan`, `vxlan`, `wireguard`, `` for a plain device. */
  readonly kind: string;
  readonly masterIfindex: number;
  /** For a veth: the peer's ifindex, and whether the peer is in another network namespace. */
  readonly peerIfindex: number;
  readonly peerInOtherNamespace: boolean;
  readonly statistics: {
    readonly rxBytes: number;
    readonly txBytes: number;
    readonly rxPackets: number;
    readonly txPackets: number;
    readonly rxErrors: number;
    readonly txErrors: number;
  };
}

export interface NetworkAddress {
  readonly ifindex: number;
  /** Text form without prefix length. */
  readonly address: string;
  readonly prefixLength: number;
  readonly family: 4 | 6;
  /** rtnetlink scope: 0 global, 253 link, 254 host. */
  readonly scope: number;
}

export interface NetworkRoute {
  readonly family: 4 | 6;
  /** `0.0.0.0/0` form. */
  readonly destination: string;
  readonly gateway: string | undefined;
  readonly ifindex: number;
  readonly table: number;
  readonly protocol: number;
  readonly type: number;
  readonly metric: number;
  readonly preferredSource: string | undefined;
}

export interface NetworkNeighbor {
  readonly ifindex: number;
  readonly family: 4 | 6;
  readonly address: string;
  readonly mac: string | undefined;
  /** NUD_* bits. */
  readonly state: number;
}

/** Kernel links, addresses, routes and neighbours, kept current by subscription. Provided by the core. */
export interface Network {
  links(): readonly NetworkLink[];
  addresses(): readonly NetworkAddress[];
  routes(): readonly NetworkRoute[];
  neighbors(): readonly NetworkNeighbor[];
  /** Re-reads links so that their counters are of now. */
  refreshLinks(): Promise<readonly NetworkLink[]>;
  /** The source address the kernel would use towards `destination`, undefined when there is no route. */
  sourceAddressFor(destination: string): string | undefined;
  /** Adds or removes a host address (/32 or /128) on an interface; repeating is not an error. */
  addAddress(address: string, interfaceName: string): void;
  removeAddress(address: string, interfaceName: string): void;
  /**
   * The same for many, in this order and off the event loop: with ten thousand addresses on an interface the kernel
   * takes a third of a millisecond for one. Resolves with what it refused; never rejects.
   */
  changeAddresses(changes: readonly AddressChange[], interfaceName: string): Promise<readonly AddressRefusal[]>;
  /** Called after any change of the named kinds, coalesced. Returns the unsubscribe function. */
  onChange(listener: (kinds: ReadonlySet<NetworkChange>) => void): () => void;
}

export interface AddressChange {
  readonly address: string;
  readonly present: boolean;
}

export interface AddressRefusal extends AddressChange {
  readonly error: unknown;
}

export type NetworkChange = 'link' | 'address' | 'route' | 'neighbor';

export const NETWORK = token<Network>('core.network');

/** Whole IP packets, sent as they are. Provided by the core. */
export interface RawSender {
  /**
   * Sends one IPv4 or IPv6 packet, header included, the way the kernel routes its destination; its source may be
   * anybody's. Takes some ten microseconds and never throws. `busy`: the device has more than it can take, try later.
   */
  send(packet: Uint8Array): 'sent' | 'busy' | 'refused';
}

export const RAW_SENDER = token<RawSender>('core.raw-sender');

/** Connection tracking, as other plugins use it. Provided by the conntrack plugin. */
export interface Conntrack {
  /** Ends the flows of these services (ids of `lb_service`), in the kernel, off the event loop. */
  purgeServices(serviceIds: readonly number[]): Promise<void>;
  /**
   * Ends the flows of these endpoints (ids of `lb_endpoint`), in the kernel, off the event loop. Their owner has set
   * LB_EP_CUT in their flags, and LB_EP_RESET where both ends of open TCP flows are to be told.
   */
  cutEndpoints(endpointIds: readonly number[]): Promise<void>;
  /** Idle times of services are others than they were: flows may be over sooner than the last pass found. */
  idleTimesChanged(): void;
  /** Names shown in `get ct`. */
  setServiceNames(name: (serviceId: number) => string | undefined): void;
  /** Called after each expiry pass. */
  onPass(listener: () => void): () => void;
}

export const CONNTRACK = token<Conntrack>('conntrack');

/** Endpoints that rules use, for `get ep`. Provided by lb. */
export interface EndpointDirectory {
  list(): readonly DirectoryEndpoint[];
}

export interface DirectoryEndpoint {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
  /** What the data plane has: an inactive endpoint is never chosen. */
  readonly active: boolean;
  readonly monitored: boolean;
  /** Rules that use it. */
  readonly rules: number;
  /** No rule uses it any more, but live flows of one may go on until `until`, in seconds of Unix time. */
  readonly draining?: { readonly flows: number; readonly until: number };
}

export const ENDPOINT_DIRECTORY = token<EndpointDirectory>('lb.endpoint-directory');

/** Services by the id the packet path knows them by, for those who explain what it did. Provided by lb. */
export interface ServiceDirectory {
  list(): readonly DirectoryService[];
  find(id: number): DirectoryService | undefined;
  /** Called with ids no flow carries any more, before they are given to other services. Returns the unsubscriber. */
  onFreed(listener: (ids: readonly number[]) => void): () => void;
}

export interface DirectoryService {
  /** `service_id` of the packet path. */
  readonly id: number;
  /** The rule's name, often empty. */
  readonly name: string;
  /** As packets carry it; a service may have further ones. */
  readonly address: string;
  readonly port: number;
  /** Last port of a range, otherwise equal to `port`. */
  readonly lastPort: number;
  readonly protocol: string;
  /** Firewall mark, 0 for any packet. */
  readonly mark: number;
}

export const SERVICE_DIRECTORY = token<ServiceDirectory>('lb.service-directory');

/** Where a prober tells what it found. Provided by lb. */
export interface EndpointHealth {
  /**
   * Takes an endpoint into service or out of it, for every rule that uses it, before it returns: an inactive endpoint
   * gets no new flow. What becomes of its established flows is the rules' to say; they go on where none says otherwise.
   * False when no rule uses the endpoint.
   */
  setEndpointActive(address: string, protocol: string, port: number, active: boolean): boolean;
}

export const ENDPOINT_HEALTH = token<EndpointHealth>('lb.endpoint-health');

/** Product version, for `/version`. Provided by the core. */
export interface BuildInfo {
  readonly version: string;
  readonly build: string;
}

export const BUILD_INFO = token<BuildInfo>('core.build-info');
