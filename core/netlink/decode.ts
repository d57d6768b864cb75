/** rtnetlink messages to the network contract's records. A message about something else gives undefined. */
import { ipAddress, type NetworkAddress, type NetworkLink, type NetworkNeighbor, type NetworkRoute } from '@loxilb/sdk';
import { type Attributes, decodeAttributes, type NetlinkMessage, numberOf, textOf } from './message.js';

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const;

export const AF_INET = 2;
export const AF_INET6 = 10;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  STATS64: 23,
  CARRIER: 33,
  LINK_NETNSID: 37,
} as const;
const IFLA_INFO_KIND = 1;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_RUNNING = 0x40;

/** Bridge ports are announced once more with another family: that is not the link. */
export function decodeLink({ body }: NetlinkMessage): NetworkLink | undefined {
  if (body.byteLength < 16 || body.getUint8(0) !== 0) return undefined;
  const hardware = body.getUint16(2, true);
  const flags = body.getUint32(8, true);
  const attributes = decodeAttributes(body, 16);
  const kind = kindOf(attributes);
  return {
    ifindex: body.getInt32(4, true),
    name: textOf(attributes.get(IFLA.IFNAME)),
    mac: macOf(attributes.get(IFLA.ADDRESS)) ?? '',
    mtu: numberOf(attributes.get(IFLA.MTU)),
    up: (flags & IFF_UP) !== 0,
    running: (attributes.get(IFLA.CARRIER)?.getUint8(0) ?? 1) === 1 && (flags & IFF_RUNNING) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    ethernet: hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK,
    kind,
    masterIfindex: numberOf(attributes.get(IFLA.MASTER)),
    peerIfindex: kind === 'veth' ? numberOf(attributes.get(IFLA.LINK)) : 0,
    peerInOtherNamespace: kind === 'veth' && attributes.has(IFLA.LINK_NETNSID),
    statistics: statisticsOf(attributes.get(IFLA.STATS64)),
  };
}

function kindOf(attributes: Attributes): string {
  const info = attributes.get(IFLA.LINKINFO);
  return info ? textOf(decodeAttributes(info, 0).get(IFLA_INFO_KIND)) : '';
}

function statisticsOf(attribute: DataView | undefined): NetworkLink['statistics'] {
  const counter = (index: number) =>
    attribute && attribute.byteLength >= index * 8 + 8 ? Number(attribute.getBigUint64(index * 8, true)) : 0;
  return {
    rxPackets: counter(0),
    txPackets: counter(1),
    rxBytes: counter(2),
    txBytes: counter(3),
    rxErrors: counter(4),
    txErrors: counter(5),
  };
}

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;

export function decodeAddress({ body }: NetlinkMessage): NetworkAddress | undefined {
  const family = familyOf(body, 8);
  if (!family) return undefined;
  const attributes = decodeAttributes(body, 8);
  // On a point-to-point link IFA_ADDRESS is the other end.
  const address = addressText(attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS));
  if (!address) return undefined;
  return {
    ifindex: body.getUint32(4, true),
    address,
    prefixLength: body.getUint8(1),
    family,
    scope: body.getUint8(3),
  };
}

const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, MULTIPATH: 9, TABLE: 15 } as const;
const RTM_F_CLONED = 0x200;

export function decodeRoute({ body }: NetlinkMessage): NetworkRoute | undefined {
  const family = familyOf(body, 12);
  // Cached routes to single hosts come and go with traffic.
  if (!family || (body.getUint32(8, true) & RTM_F_CLONED) !== 0) return undefined;
  const attributes = decodeAttributes(body, 12);
  const anywhere = family === 4 ? '0.0.0.0' : '::';
  const hop = firstHop(attributes);
  return {
    family,
    destination: `${addressText(attributes.get(RTA.DST)) ?? anywhere}/${body.getUint8(1)}`,
    gateway: addressText(hop.gateway),
    ifindex: hop.ifindex,
    table: attributes.has(RTA.TABLE) ? numberOf(attributes.get(RTA.TABLE)) : body.getUint8(4),
    protocol: body.getUint8(5),
    type: body.getUint8(7),
    metric: numberOf(attributes.get(RTA.PRIORITY)),
    preferredSource: addressText(attributes.get(RTA.PREFSRC)),
  };
}

/** Of a route over several ways, the first is shown. */
function firstHop(attributes: Attributes): { ifindex: number; gateway: DataView | undefined } {
  const hops = attributes.get(RTA.MULTIPATH);
  if (!hops || hops.byteLength < 8)
    return { ifindex: numberOf(attributes.get(RTA.OIF)), gateway: attributes.get(RTA.GATEWAY) };
  const length = Math.min(hops.getUint16(0, true), hops.byteLength);
  const inner = new DataView(hops.buffer, hops.byteOffset, length);
  return { ifindex: hops.getInt32(4, true), gateway: decodeAttributes(inner, 8).get(RTA.GATEWAY) };
}

/** The preferred source of a `RTM_GETROUTE` answer. */
export function decodePreferredSource({ body }: NetlinkMessage): string | undefined {
  return addressText(decodeAttributes(body, 12).get(RTA.PREFSRC));
}

const NDA_DST = 1;
const NDA_LLADDR = 2;

export function decodeNeighbor({ body }: NetlinkMessage): NetworkNeighbor | undefined {
  const family = familyOf(body, 12);
  if (!family) return undefined;
  const attributes = decodeAttributes(body, 12);
  const address = addressText(attributes.get(NDA_DST));
  if (!address) return undefined;
  return {
    ifindex: body.getInt32(4, true),
    family,
    address,
    mac: macOf(attributes.get(NDA_LLADDR)),
    state: body.getUint16(8, true),
  };
}

function familyOf(body: DataView, headerSize: number): 4 | 6 | undefined {
  if (body.byteLength < headerSize) return undefined;
  const family = body.getUint8(0);
  if (family === AF_INET) return 4;
  return family === AF_INET6 ? 6 : undefined;
}

function addressText(attribute: DataView | undefined): string | undefined {
  if (attribute?.byteLength === 16) return ipAddress.decode(attribute, 0);
  if (attribute?.byteLength !== 4) return undefined;
  return [0, 1, 2, 3].map((index) => attribute.getUint8(index)).join('.');
}

function macOf(attribute: DataView | undefined): string | undefined {
  if (attribute?.byteLength !== 6) return undefined;
  return [0, 1, 2, 3, 4, 5].map((index) => attribute.getUint8(index).toString(16).padStart(2, '0')).join(':');
}
