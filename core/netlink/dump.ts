/** Whole tables of the kernel, read synchronously. */
import type { NetworkAddress, NetworkLink, NetworkNeighbor, NetworkRoute } from '@loxilb/sdk';
import { decodeAddress, decodeLink, decodeNeighbor, decodeRoute, RTM } from './decode.js';
import type { NetlinkMessage } from './message.js';
import { RequestSocket } from './request-socket.js';

/** Family-unspecific header of each request: links, addresses, routes, neighbours. */
const HEADER_SIZES = { link: 16, address: 8, route: 12, neighbor: 12 } as const;

export function dumpLinks(socket: RequestSocket): NetworkLink[] {
  return decodeAll(socket.dump(RTM.GETLINK, new Uint8Array(HEADER_SIZES.link)), decodeLink);
}

export function dumpAddresses(socket: RequestSocket): NetworkAddress[] {
  return decodeAll(socket.dump(RTM.GETADDR, new Uint8Array(HEADER_SIZES.address)), decodeAddress);
}

export function dumpRoutes(socket: RequestSocket): NetworkRoute[] {
  return decodeAll(socket.dump(RTM.GETROUTE, new Uint8Array(HEADER_SIZES.route)), decodeRoute);
}

export function dumpNeighbors(socket: RequestSocket): NetworkNeighbor[] {
  return decodeAll(socket.dump(RTM.GETNEIGH, new Uint8Array(HEADER_SIZES.neighbor)), decodeNeighbor);
}

/** Links as of now, with a socket of its own. */
export function readLinks(): NetworkLink[] {
  const socket = new RequestSocket();
  try {
    return dumpLinks(socket);
  } finally {
    socket.close();
  }
}

function decodeAll<T>(messages: readonly NetlinkMessage[], decode: (message: NetlinkMessage) => T | undefined): T[] {
  return messages.flatMap((message) => decode(message) ?? []);
}
