/** One's complement sum of big-endian 16-bit words, folded; an odd last byte counts as the high one (RFC 1071). */
export function onesSum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += (data[i] ?? 0) * 256 + (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

export function internetChecksum(data: Uint8Array): number {
  return 0xffff - onesSum(data);
}

/** What TCP, UDP and ICMPv6 sum besides themselves (RFC 9293 3.1, RFC 768, RFC 8200 8.1). */
export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  if (source.length === 4) return Uint8Array.of(...source, ...destination, 0, protocol, length >> 8, length & 255);
  const size = [0, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  return Uint8Array.of(...source, ...destination, ...size, 0, 0, 0, protocol);
}

/**
 * The checksum after `before` became `after` (equal and even lengths) somewhere in what it covers, RFC 1624 equation 3.
 * Needed only where the covered bytes are not all there: in the quotations of ICMP errors.
 */
export function adjustChecksum(checksum: number, before: Uint8Array, after: Uint8Array): number {
  const words = Uint8Array.of(
    ...[0xffff - checksum, 0xffff - onesSum(before), onesSum(after)].flatMap((word) => [word >> 8, word & 255]),
  );
  return internetChecksum(words);
}
