/** The network service over rtnetlink. */
import {
  type AddressChange,
  type AddressRefusal,
  ipAddress,
  ipFamily,
  type Logger,
  LoxilbError,
  type NetworkAddress,
  type NetworkChange,
  type NetworkLink,
  type NetworkNeighbor,
  type NetworkRoute,
} from '@loxilb/sdk';
import { ChangeNotifier } from './change-notifier.js';
import { AF_INET, AF_INET6, decodePreferredSource, RTM } from './decode.js';
import { dumpAddresses, dumpLinks, dumpNeighbors, dumpRoutes } from './dump.js';
import { EventSocket } from './event-socket.js';
import { decodeMessages, encodeAttribute, NLM_F_CREATE, NLM_F_EXCL, u32Bytes } from './message.js';
import { NetlinkError, RequestSocket } from './request-socket.js';
import { Tables } from './tables.js';
import type { ClosableNetwork } from './types.js';

/** RTNLGRP_*: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE. */
const GROUPS = [1, 3, 5, 7, 9, 11];

/** Address changes per request: their acknowledgements must fit the socket's buffer. */
const BATCH = 64;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
/** No duplicate address detection: the address can be used at once. */
const IFA_F_NODAD = 0x02;
const RTA_DST = 1;

const EEXIST = 17;
const ENODEV = 19;
const EADDRNOTAVAIL = 99;
/** Answers that mean: no way there. */
const NO_ROUTE = new Set([101, 113, 22, 13, 3]);

export class KernelNetwork implements ClosableNetwork {
  private readonly tables = new Tables();
  private readonly socket = new RequestSocket();
  /** For what is worked on beside the event loop, one batch at a time. */
  private readonly bulk = new RequestSocket();
  private bulkWork: Promise<unknown> = Promise.resolve();
  private closed = false;
  private readonly events: EventSocket;
  private readonly notifier: ChangeNotifier;

  /** Subscribes first and reads then, so that no change is lost between. */
  constructor(
    private readonly log: Logger,
    receiveBuffer?: number,
  ) {
    this.notifier = new ChangeNotifier(log);
    const reader = { take: (datagram: Uint8Array) => this.take(datagram), lost: () => this.resync() };
    this.events = new EventSocket(GROUPS, reader, receiveBuffer);
    this.readAll();
  }

  links(): readonly NetworkLink[] {
    return [...this.tables.links.values()];
  }

  addresses(): readonly NetworkAddress[] {
    return [...this.tables.addresses.values()];
  }

  routes(): readonly NetworkRoute[] {
    return [...this.tables.routes.values()];
  }

  neighbors(): readonly NetworkNeighbor[] {
    return [...this.tables.neighbors.values()];
  }

  refreshLinks(): Promise<readonly NetworkLink[]> {
    this.readLinks();
    return Promise.resolve(this.links());
  }

  sourceAddressFor(destination: string): string | undefined {
    const header = new Uint8Array(12);
    const address = addressBytes(destination);
    header[0] = familyNumber(destination);
    header[1] = address.length * 8;
    try {
      const answers = this.socket.request(RTM.GETROUTE, 0, concat(header, encodeAttribute(RTA_DST, address)));
      return answers.map(decodePreferredSource).find((source) => source !== undefined);
    } catch (error) {
      if (error instanceof NetlinkError && NO_ROUTE.has(error.errno)) return undefined;
      throw error;
    }
  }

  addAddress(address: string, interfaceName: string): void {
    const ifindex = this.findInterface(interfaceName);
    if (ifindex === undefined) throw interfaceUnknown(interfaceName);
    this.changeAddress({ address, present: true }, ifindex);
  }

  removeAddress(address: string, interfaceName: string): void {
    const ifindex = this.findInterface(interfaceName);
    if (ifindex !== undefined) this.changeAddress({ address, present: false }, ifindex);
  }

  changeAddresses(changes: readonly AddressChange[], interfaceName: string): Promise<readonly AddressRefusal[]> {
    const work = this.bulkWork.then(() => this.changeAll(changes, interfaceName));
    this.bulkWork = work;
    return work;
  }

  onChange(listener: (kinds: ReadonlySet<NetworkChange>) => void): () => void {
    return this.notifier.subscribe(listener);
  }

  close(): void {
    this.notifier.close();
    this.events.close();
    this.socket.close();
    this.closed = true;
    void this.bulkWork.then(() => this.bulk.close());
  }

  private take(datagram: Uint8Array): void {
    for (const message of decodeMessages(datagram)) {
      const change = this.tables.apply(message);
      if (change === undefined) continue;
      // IPv4 routes that go with a link or an address are not announced.
      const silent = change === 'link' || message.type === RTM.DELADDR;
      this.notifier.report(change, silent ? this.readRoutes : undefined);
    }
  }

  private readonly readRoutes = (): void => {
    this.tables.replaceRoutes(dumpRoutes(this.socket));
    this.notifier.report('route');
  };

  /** What is news is told here: when its notification is read, it is none any more. */
  private readLinks(): void {
    if (this.tables.replaceLinks(dumpLinks(this.socket))) this.notifier.report('link', this.readRoutes);
  }

  private readAll(): void {
    this.tables.replaceLinks(dumpLinks(this.socket));
    this.tables.replaceAddresses(dumpAddresses(this.socket));
    this.tables.replaceRoutes(dumpRoutes(this.socket));
    this.tables.replaceNeighbors(dumpNeighbors(this.socket));
  }

  private resync(): void {
    this.log.warn({}, 'network notifications were lost: reading everything again');
    this.readAll();
    for (const kind of ['link', 'address', 'route', 'neighbor'] as const) this.notifier.report(kind);
  }

  /** By name, also when its notification has not been read yet. */
  private findInterface(name: string): number | undefined {
    const find = () => this.links().find((link) => link.name === name)?.ifindex;
    const known = find();
    if (known !== undefined) return known;
    this.readLinks();
    return find();
  }

  private changeAddress(change: AddressChange, ifindex: number): void {
    const { type, flags, fine } = formOf(change);
    try {
      this.socket.request(type, flags, addressBody(change.address, ifindex));
    } catch (error) {
      if (error instanceof NetlinkError && fine.includes(error.errno)) return;
      throw addressRefused(change.address, error);
    }
  }

  private async changeAll(changes: readonly AddressChange[], interfaceName: string): Promise<AddressRefusal[]> {
    const refused: AddressRefusal[] = [];
    for (let start = 0; start < changes.length && !this.closed; start += BATCH) {
      const part = changes.slice(start, start + BATCH);
      try {
        const ifindex = this.findInterface(interfaceName);
        if (ifindex === undefined) throw interfaceUnknown(interfaceName);
        refused.push(...(await this.changeBatch(part, ifindex)));
      } catch (error) {
        refused.push(...part.map((change) => ({ ...change, error })));
      }
    }
    return refused;
  }

  private async changeBatch(changes: readonly AddressChange[], ifindex: number): Promise<AddressRefusal[]> {
    const forms = changes.map(formOf);
    const errnos = await this.bulk.requestMany(
      forms.map(({ type }) => type),
      forms.map(({ flags }) => flags),
      changes.map(({ address }) => addressBody(address, ifindex)),
    );
    return changes.flatMap((change, index) => {
      const errno = errnos[index] ?? 0;
      if (errno === 0 || forms[index]?.fine.includes(errno)) return [];
      return { ...change, error: addressRefused(change.address, new NetlinkError('netlink request', errno)) };
    });
  }
}

/** How the kernel is asked, and which refusals mean that it is so already. */
function formOf({ present }: AddressChange) {
  return present
    ? { type: RTM.NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, fine: [EEXIST] }
    : { type: RTM.DELADDR, flags: 0, fine: [EADDRNOTAVAIL, ENODEV] };
}

/**
 * struct ifa_cacheinfo of an IPv6 address: valid for ever, preferred for no time. It is no source address of connections
 * this machine makes, unless they go to that very address (RFC 6724 5, rules 1 and 3).
 */
const NEVER_A_SOURCE = encodeAttribute(
  IFA_CACHEINFO,
  concat(u32Bytes(0), u32Bytes(0xffff_ffff), u32Bytes(0), u32Bytes(0)),
);

function addressBody(address: string, ifindex: number): Uint8Array {
  const bytes = addressBytes(address);
  const header = new DataView(new ArrayBuffer(8));
  header.setUint8(0, familyNumber(address));
  header.setUint8(1, bytes.length * 8);
  header.setUint32(4, ifindex, true);
  return concat(
    new Uint8Array(header.buffer),
    encodeAttribute(IFA_LOCAL, bytes),
    encodeAttribute(IFA_ADDRESS, bytes),
    ...(familyNumber(address) === AF_INET6 ? [encodeAttribute(IFA_FLAGS, u32Bytes(IFA_F_NODAD)), NEVER_A_SOURCE] : []),
  );
}

function familyNumber(address: string): number {
  return ipFamily(address) === 4 ? AF_INET : AF_INET6;
}

function addressBytes(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  ipAddress.encode(address, new DataView(bytes.buffer), 0);
  return ipFamily(address) === 4 ? bytes.slice(12) : bytes;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function interfaceUnknown(name: string): LoxilbError {
  return new LoxilbError(`there is no interface ${name}`, { code: 'NET_INTERFACE_UNKNOWN', status: 404, value: name });
}

function addressRefused(address: string, cause: unknown): LoxilbError {
  return new LoxilbError(`the kernel refused address ${address}`, {
    code: 'NET_ADDRESS',
    status: 500,
    value: address,
    remedy: 'run as root, with CAP_NET_ADMIN',
    cause,
  });
}
