/** Prefixes and ranges, as the tries of the packet path want them. */

export interface PortBlock {
  readonly first: number;
  /** How many of the 16 bits are fixed. */
  readonly bits: number;
}

/** The fewest aligned blocks of power-of-two length that are `first` to `last`, in order. */
export function alignedBlocks(first: number, last: number): PortBlock[] {
  const blocks: PortBlock[] = [];
  for (let at = first; at <= last; ) {
    let size = 1;
    while (at % (size * 2) === 0 && at + size * 2 - 1 <= last) size *= 2;
    blocks.push({ first: at, bits: 16 - Math.log2(size) });
    at += size;
  }
  return blocks;
}

/** Bits of a 16-byte address that `10.0.0.0/8` or `2001:db8::/32` fixes; IPv4 lies in the last four bytes. */
export function parsePrefix(text: string): { readonly address: string; readonly bits: number } {
  const [address = '', length] = text.split('/');
  const six = address.includes(':');
  const bits = length === undefined ? (six ? 128 : 32) : Number(length);
  return { address, bits: six ? bits : 96 + bits };
}
