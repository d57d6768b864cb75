import { isIPv4, isIPv6 } from 'node:net';
import type { Codec } from './codec.js';

/**
 * An IP address in a map: 16 bytes, network byte order, IPv4 as IPv4-mapped IPv6 (`::ffff:a.b.c.d`, RFC 4291 2.5.5.2).
 * In TypeScript it is the usual text.
 */
export const ipAddress: Codec<string> = {
  size: 16,
  encode(value, target, offset) {
    encodeIp(value, target, offset);
  },
  decode: decodeIp,
};

function encodeIp(value: string, target: DataView, offset: number): void {
  if (isIPv4(value)) {
    target.setUint32(offset, 0);
    target.setUint32(offset + 4, 0);
    target.setUint32(offset + 8, 0xffff);
    value.split('.').forEach((part, index) => {
      target.setUint8(offset + 12 + index, Number(part));
    });
    return;
  }
  const groups = expandIpv6(value);
  groups.forEach((group, index) => {
    target.setUint16(offset + index * 2, group);
  });
}

function expandIpv6(value: string): number[] {
  if (!isIPv6(value) || value.includes('%')) throw new RangeError(`not an IP address: ${value}`);
  let text = value;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted) {
    const [, head, a, b, c, d] = dotted as unknown as [string, string, string, string, string, string];
    text = `${head}${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`;
  }
  const [left = '', right] = text.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = right === undefined ? 0 : 8 - head.length - tail.length;
  return [...head, ...Array<string>(zeros).fill('0'), ...tail].map((group) => Number.parseInt(group, 16));
}

function decodeIp(source: DataView, offset: number): string {
  if (source.getUint32(offset) === 0 && source.getUint32(offset + 4) === 0 && source.getUint32(offset + 8) === 0xffff) {
    return `${source.getUint8(offset + 12)}.${source.getUint8(offset + 13)}.${source.getUint8(offset + 14)}.${source.getUint8(offset + 15)}`;
  }
  // Blank entries of array maps: a scan over them should cost nothing.
  if (source.getBigUint64(offset) === 0n && source.getBigUint64(offset + 8) === 0n) return '::';
  return formatIpv6(Array.from({ length: 8 }, (_, index) => source.getUint16(offset + index * 2)));
}

/** RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) becomes `::`. */
function formatIpv6(groups: readonly number[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}

export function isIpAddress(value: string): boolean {
  return isIPv4(value) || (isIPv6(value) && !value.includes('%'));
}

export function ipFamily(value: string): 4 | 6 {
  return isIPv4(value) ? 4 : 6;
}

/** One spelling per address (RFC 5952), so that text can be compared. */
export function canonicalIp(value: string): string {
  const bytes = new DataView(new ArrayBuffer(16));
  encodeIp(value, bytes, 0);
  return decodeIp(bytes, 0);
}
