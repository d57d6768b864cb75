import type { Family } from './network.js';

/** What an ICMP error says, and about which packet. */
export interface Quote {
  /** Who sent the error. */
  readonly from: string;
  readonly type: number;
  readonly code: number;
  /** Of the packet that is quoted. */
  readonly source: string;
  readonly destination: string;
  /** IPPROTO_*. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** ICMP errors that `tcpdump -x` printed. Takes no IPv4 options and no IPv6 extension headers. */
export function quotesIn(output: string, family: Family): Quote[] {
  const dumps = [...output.matchAll(/(?:^\t0x[0-9a-f]+: .*\n)+/gm)].map(([text]) => text);
  return dumps.map((text) => {
    const words = text.replace(/^\t0x[0-9a-f]+: /gm, '').match(/[0-9a-f]{2}/g) ?? [];
    return family === 'v4' ? quoteV4(Buffer.from(words.join(''), 'hex')) : quoteV6(Buffer.from(words.join(''), 'hex'));
  });
}

function quoteV4(packet: Buffer): Quote {
  const quoted = packet.subarray(28);
  return {
    from: addressV4(packet, 12),
    type: packet.readUInt8(20),
    code: packet.readUInt8(21),
    source: addressV4(quoted, 12),
    destination: addressV4(quoted, 16),
    protocol: quoted.readUInt8(9),
    sourcePort: quoted.readUInt16BE(20),
    destinationPort: quoted.readUInt16BE(22),
  };
}

function quoteV6(packet: Buffer): Quote {
  const quoted = packet.subarray(48);
  return {
    from: addressV6(packet, 8),
    type: packet.readUInt8(40),
    code: packet.readUInt8(41),
    source: addressV6(quoted, 8),
    destination: addressV6(quoted, 24),
    protocol: quoted.readUInt8(6),
    sourcePort: quoted.readUInt16BE(40),
    destinationPort: quoted.readUInt16BE(42),
  };
}

function addressV4(packet: Buffer, offset: number): string {
  return [...packet.subarray(offset, offset + 4)].join('.');
}

/** As the addresses of test networks are written: `fd20::1`. */
function addressV6(packet: Buffer, offset: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => packet.readUInt16BE(offset + 2 * index).toString(16));
  return groups.join(':').replace(/:0(:0)+:/, '::');
}
