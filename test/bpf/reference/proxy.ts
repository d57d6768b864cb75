/** PROXY protocol, version 2, as its specification (haproxy.org, proxy-protocol.txt, section 2.2) shows it. */
import { ipBytes } from './address.js';
import { be16, be32 } from './build.js';
import { joinBytes, text } from './packet.js';
import type { Peer } from './translate.js';

const SIGNATURE = text('\r\n\r\n\0\r\nQUIT\n');
const VERSION_2_PROXY = 0x21;
const STREAM_IPV4 = 0x11;
const STREAM_IPV6 = 0x21;

/** What a receiver reads first on a connection from `source` to `destination`. */
export function proxyHeader(source: Peer, destination: Peer): Uint8Array {
  const addresses = joinBytes(ipBytes(source.address), ipBytes(destination.address));
  const family = addresses.length === 8 ? STREAM_IPV4 : STREAM_IPV6;
  const body = joinBytes(addresses, be16(source.port), be16(destination.port));
  return joinBytes(SIGNATURE, Uint8Array.of(VERSION_2_PROXY, family), be16(body.length), body);
}

/** A SACK option (RFC 2018 section 3) of these blocks. */
export function sackOption(...blocks: readonly (readonly [number, number])[]): Uint8Array {
  return joinBytes(Uint8Array.of(5, 2 + 8 * blocks.length), ...blocks.flat().map((edge) => be32(edge >>> 0)));
}

/** Options filled up to a multiple of four bytes, with `before` NOPs in front. */
export function padded(options: Uint8Array, before = 0): Uint8Array {
  const front = new Uint8Array(before).fill(1);
  const rest = -(before + options.length) & 3;
  return joinBytes(front, options, new Uint8Array(rest).fill(1));
}

/**
 * Options of an answer as the client has to see them: the edges of selective acknowledgments `size` less, and no block
 * that begins at what is acknowledged. Options that nobody could read stay.
 */
export function shiftedOptions(options: Uint8Array, size: number, acknowledged: number): Uint8Array {
  const out = options.slice();
  const view = new DataView(out.buffer);
  let at = 0;
  while (at + 1 < out.length && out[at] !== 0) {
    const length = out[at + 1] ?? 0;
    if (out[at] === 1) {
      at += 1;
      continue;
    }
    if (length < 2 || at + length > out.length) return out;
    if (out[at] === 5 && length % 8 === 2) {
      for (let edge = at + 2; edge < at + length; edge += 4) {
        const number = (view.getUint32(edge) - size) >>> 0;
        const left = (edge - at) % 8 === 2;
        view.setUint32(edge, left && number === acknowledged >>> 0 ? number + 1 : number);
      }
    }
    at += length;
  }
  return out;
}
