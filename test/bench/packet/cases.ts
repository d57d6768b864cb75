import { ACK, buildFrame, type FrameSpec, flowOffsets, SYN, SYN_ACK } from './frame.js';
import { DSR_PORT, ENDPOINT_PORT, SERVICE_PORT, TUNNEL_PORT } from './service.js';
import { type Device, WORLD } from './world.js';
import type { Stream, Wrapper } from './wrapper.js';

type Family = 4 | 6;
type Protocol = 'tcp' | 'udp';

export interface Devices {
  readonly client: Device;
  readonly server: Device;
}

/** Packets of clients to the service, as they come in on the client side. */
export function towardsService(
  devices: Devices,
  family: Family,
  protocol: Protocol,
  tcp: Partial<FrameSpec> = {},
): Stream {
  return {
    frame: buildFrame({
      sourceMac: WORLD.clientMac,
      targetMac: devices.client.mac,
      source: WORLD.clients[family],
      target: WORLD.vip[family],
      sourcePort: 0,
      targetPort: SERVICE_PORT,
      protocol,
      ...tcp,
    }),
    ifindex: devices.client.ifindex,
    offsets: flowOffsets(family, 'source'),
    addressBase: WORLD.clientBase[family],
  };
}

/** The endpoint's answers, as they come in on the server side. */
export function fromEndpoint(
  devices: Devices,
  family: Family,
  protocol: Protocol,
  tcp: Partial<FrameSpec> = {},
): Stream {
  return {
    frame: buildFrame({
      sourceMac: WORLD.serverMac,
      targetMac: devices.server.mac,
      source: WORLD.server[family],
      target: WORLD.clients[family],
      sourcePort: ENDPOINT_PORT,
      targetPort: 0,
      protocol,
      ...tcp,
    }),
    ifindex: devices.server.ifindex,
    offsets: flowOffsets(family, 'target'),
    addressBase: WORLD.clientBase[family],
  };
}

/** Both sides of a flow's set-up and of its life afterwards. */
export interface Conversation {
  readonly first: Stream;
  readonly answer: Stream;
  /** What the client sends from then on; for TCP the first of these ends the handshake. */
  readonly data: Stream;
  readonly back: Stream;
}

export function conversation(devices: Devices, family: Family, protocol: Protocol): Conversation {
  if (protocol === 'udp') {
    const first = towardsService(devices, family, protocol);
    const answer = fromEndpoint(devices, family, protocol);
    return { first, answer, data: first, back: answer };
  }
  return {
    first: towardsService(devices, family, 'tcp', { tcpFlags: SYN, sequence: 1000 }),
    answer: fromEndpoint(devices, family, 'tcp', { tcpFlags: SYN_ACK, sequence: 5000, acknowledgment: 1001 }),
    data: towardsService(devices, family, 'tcp', { tcpFlags: ACK, sequence: 1001, acknowledgment: 5001 }),
    back: fromEndpoint(devices, family, 'tcp', { tcpFlags: ACK, sequence: 5001, acknowledgment: 1001 }),
  };
}

/** Packets of clients whose flows know one direction: to a neighbour, and into a tunnel. */
export function oneWay(devices: Devices): { readonly dsr: Stream; readonly tunnel: Stream } {
  const to = (targetPort: number) => towardsService(devices, 4, 'udp', { targetPort });
  return { dsr: to(DSR_PORT), tunnel: to(TUNNEL_PORT) };
}

/** A packet that belongs to no service and no flow: what the load balancer costs everybody else. */
export function ofOthers(devices: Devices): Stream {
  return towardsService(devices, 4, 'tcp', { target: WORLD.server[4], targetPort: 22 });
}

const TC_ACT_REDIRECT = 7;

/** Flows set up together: fewer than the table of half-open flows holds, since it evicts. */
const PORTION = 2048;

/** Sets `count` flows up from flow `first` on, as a client and an endpoint would. */
export function establish(wrapper: Wrapper, talk: Conversation, first: number, count: number): void {
  for (let from = first; from < first + count; from += PORTION) {
    const portion = Math.min(PORTION, first + count - from);
    for (const stream of [talk.first, talk.answer, talk.data, talk.back]) {
      const { verdict } = wrapper.run(stream, 'rising', from, portion);
      if (verdict !== TC_ACT_REDIRECT) throw new Error(`a flow's packet was not sent on: verdict ${verdict}`);
    }
  }
}

/** Packets after which a flow of one direction is open. */
const ONE_WAY_OPEN = 9;

/**
 * Sets `count` flows of one direction up from the first on. A packet in a tunnel cannot be run twice: those of tunnels
 * are opened one by one.
 */
export function establishOneWay(wrapper: Wrapper, stream: Stream, count: number, portion = PORTION): void {
  for (let from = 0; from < count; from += portion) {
    for (let packet = 0; packet < ONE_WAY_OPEN; packet++) {
      const { verdict } = wrapper.run(stream, 'rising', from, Math.min(portion, count - from));
      if (verdict !== TC_ACT_REDIRECT) throw new Error(`a flow's packet was not sent on: verdict ${verdict}`);
    }
  }
}
