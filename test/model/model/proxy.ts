/**
 * What a PROXY protocol header does to a flow. It goes in with the acknowledgment that ends the client's handshake, and
 * again while nothing came behind it and the endpoint has not answered; the client's numbers move behind it.
 */
import { type Packet, TCP, type Tcp } from '../../bpf/reference/packet.js';
import { proxyHeader } from '../../bpf/reference/proxy.js';
import type { ClientSays, EndpointSays, Talk } from '../commands.js';
import { CLIENT_FIRST, type Flow } from './flow.js';
import type { Rule } from './rule.js';

export interface ProxyHeader {
  readonly bytes: Uint8Array;
  /** The endpoint has acknowledged it. */
  hasArrived: boolean;
}

export function proxyOf({ ppv2 }: Rule, { from, port, to, at }: Talk): ProxyHeader | undefined {
  if (!ppv2) return undefined;
  return { bytes: proxyHeader({ address: from, port }, { address: to, port: at }), hasArrived: false };
}

/** Whether this is how it usually goes. What else the two may say, and when, is the matter of test/bpf. */
export function isUsual({ state, proxy }: Flow, say: ClientSays | EndpointSays): boolean {
  if (!proxy || say === 'syn' || say === 'answer') return true;
  if (state === 'answered') return say === 'ack';
  return (state === 'open' || state === 'half') && (say !== 'rst' || proxy.hasArrived);
}

/** The client's segment as the endpoint shall get it, but for addresses and ports. */
export function withHeader({ proxy }: Flow, packet: Packet): Packet {
  if (!proxy || packet.transport.kind !== 'tcp' || packet.transport.flags & TCP.syn) return packet;
  const { flags, sequence, payload } = packet.transport;
  const isFirst = sequence === CLIENT_FIRST + 1 && payload.length === 0 && (flags & (TCP.fin | TCP.rst)) === 0;
  if (isFirst && !proxy.hasArrived) return changed(packet, { flags: flags | TCP.psh, payload: proxy.bytes });
  return changed(packet, { sequence: sequence + proxy.bytes.length });
}

/** What an endpoint that counts the header says, and the client shall not notice. */
export function acknowledging({ proxy }: Flow, packet: Packet, shift: 1 | -1): Packet {
  if (!proxy || packet.transport.kind !== 'tcp' || packet.transport.flags & TCP.syn) return packet;
  return changed(packet, { acknowledgment: packet.transport.acknowledgment + shift * proxy.bytes.length });
}

function changed(packet: Packet, fields: Partial<Tcp>): Packet {
  return { ...packet, transport: { ...(packet.transport as Tcp), ...fields } };
}
