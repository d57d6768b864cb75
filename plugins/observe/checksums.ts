/** The Internet checksum (RFC 1071), with pseudo headers, and the CRC of SCTP (RFC 9260 appendix A). */

export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let index = 0; index < part.length; index += 2) sum += ((part[index] ?? 0) << 8) | (part[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** @param addresses source and destination, 4 or 16 bytes each */
export function transportChecksum(addresses: Uint8Array, protocol: number, segment: Uint8Array): number {
  const tail = new DataView(new ArrayBuffer(8));
  tail.setUint32(0, segment.length);
  tail.setUint32(4, protocol);
  return internetChecksum(addresses, new Uint8Array(tail.buffer), segment);
}

const POLYNOMIAL = 0x82f63b78;

/** As it is written into the packet: least significant byte first. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return ~crc >>> 0;
}
