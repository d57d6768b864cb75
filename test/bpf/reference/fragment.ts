/** Fragments as RFC 791 3.2 and RFC 8200 4.5 make them. */
import { be16, be32, buildIp, protocolNumber } from './build.js';
import { EXTENSION, type Extension, joinBytes, type Packet } from './packet.js';

/** The packet in parts of `size` bytes of its payload, a multiple of 8. */
export function fragment(packet: Packet, size: number, identification: number): Packet[] {
  const { ip, transport } = packet;
  const whole = buildIp(ip, transport);
  const headers = ip.version === 4 ? 20 + ip.options.length : 40 + extensionsLength(ip.extensions);
  const payload = whole.subarray(headers);
  const protocol = protocolNumber(ip.version, transport);
  const parts: Packet[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const more = at + size < payload.length;
    parts.push({
      ...packet,
      ip: part(ip, at / 8, more, identification),
      transport: { kind: 'opaque', protocol, payload: payload.slice(at, at + size) },
    });
  }
  return parts;
}

function part(ip: Packet['ip'], fragmentOffset: number, moreFragments: boolean, identification: number): Packet['ip'] {
  if (ip.version === 4) return { ...ip, identification, dontFragment: false, moreFragments, fragmentOffset };
  const body = joinBytes(be16(fragmentOffset * 8 + (moreFragments ? 1 : 0)), be32(identification));
  return { ...ip, extensions: [...ip.extensions, { type: EXTENSION.fragment, body }] };
}

function extensionsLength(extensions: readonly Extension[]): number {
  return extensions.reduce((sum, { body }) => sum + 2 + body.length, 0);
}
