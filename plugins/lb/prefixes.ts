import { isIPv4 } from 'node:net';
import { encodeBytes, ipAddress, ipFamily, isIpAddress } from '@loxilb/sdk';

const PREFIX = /^(.+)\/(\d{1,3})$/;
/** An IPv4 address is the last 32 of 128 bits in the data plane. */
const IPV4_OFFSET = 96;

/** `10.2.0.5/16` is `10.2.0.0/16`: no host bits, one spelling. Undefined when it is no prefix. */
export function canonicalPrefix(text: string): string | undefined {
  const [, address = '', digits] = PREFIX.exec(text) ?? [];
  const length = Number(digits);
  if (!isIpAddress(address) || length > (ipFamily(address) === 4 ? 32 : 128)) return undefined;
  const bits = isIPv4(address) ? IPV4_OFFSET + length : length;
  const masked = mask(address, bits);
  // An IPv6 prefix of IPv4-mapped addresses is one of IPv4.
  return `${masked}/${ipFamily(masked) === 4 ? bits - IPV4_OFFSET : bits}`;
}

/** Address and number of significant bits of 128. */
export function prefixBits(prefix: string): { addr: string; bits: number } {
  const slash = prefix.lastIndexOf('/');
  const addr = prefix.slice(0, slash);
  const length = Number(prefix.slice(slash + 1));
  return { addr, bits: ipFamily(addr) === 4 ? IPV4_OFFSET + length : length };
}

function mask(address: string, bits: number): string {
  const bytes = encodeBytes(ipAddress, address);
  bytes.forEach((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    bytes[index] = byte & (0xff << (8 - kept));
  });
  return ipAddress.decode(new DataView(bytes.buffer), 0);
}
