/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "crc32c_tables.h"

/*
 * CRC32c (RFC 9260 appendix A) as arithmetic on polynomials over GF(2): a checksum is changed by what changes in the
 * packet, and the rest of the packet is not read. Reflected: bit 31 is the coefficient of x^0, and four bytes of the
 * packet are the little endian word they are in memory.
 */

/* The register after four more bytes of zeros: x^32 times what it was. */
static __always_inline __u32 crc32c_step(__u32 crc)
{
	return crc32c_nibbles[0][crc & 15] ^ crc32c_nibbles[1][crc >> 4 & 15] ^ crc32c_nibbles[2][crc >> 8 & 15] ^
	       crc32c_nibbles[3][crc >> 12 & 15] ^ crc32c_nibbles[4][crc >> 16 & 15] ^
	       crc32c_nibbles[5][crc >> 20 & 15] ^ crc32c_nibbles[6][crc >> 24 & 15] ^ crc32c_nibbles[7][crc >> 28];
}

/* Every fourth bit, from `first` on. */
#define EVERY_FOURTH(first) (0x1111111111111111ULL << (first))

/*
 * The product before it is brought back to 32 bits. Ordinary products of words with a bit in four leave room for what is
 * carried: at most eight bits meet in a place, and the lowest of their sum is the one that counts.
 */
static __always_inline __u64 multiply_without_carry(__u32 a, __u32 b)
{
	__u64 a0 = a & 0x11111111, a1 = a & 0x22222222, a2 = a & 0x44444444, a3 = a & 0x88888888;
	__u64 b0 = b & 0x11111111, b1 = b & 0x22222222, b2 = b & 0x44444444, b3 = b & 0x88888888;

	return (((a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1)) & EVERY_FOURTH(0)) |
	       (((a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2)) & EVERY_FOURTH(1)) |
	       (((a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3)) & EVERY_FOURTH(2)) |
	       (((a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0)) & EVERY_FOURTH(3));
}

static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	/* Both are reflected: the product of two highest bits, x^0, is one place below the highest. */
	__u64 product = multiply_without_carry(a, b) << 1;

	return product >> 32 ^ crc32c_step(product);
}

/* What a difference in a packet is at its end, `bytes` (below 65536) after the end of what differs: as if zeros followed. */
__noinline int crc32c_advance(__u32 crc, __u32 bytes)
{
	crc = crc32c_multiply(crc, crc32c_power_words[bytes >> 2 & 511]);
	/* Packets end with a whole word (RFC 9260 3.2), and few are longer than a frame of Ethernet. */
	if (unlikely(bytes & 3))
		crc = crc32c_multiply(crc, 0x80000000 >> 8 * (bytes & 3));
	if (unlikely(bytes >> 11))
		crc = crc32c_multiply(crc, crc32c_power_pages[bytes >> 11 & 31]);
	return crc;
}

/* Words that go into a register at a time, at most. */
struct crc32c_block {
	__u32 w[5];
};

/* The register after the first `count` words of the block. */
__noinline int crc32c_words(const struct crc32c_block *block, __u32 count, __u32 crc)
{
	__u32 i;

	if (!block)
		return 0;
	for (i = 0; i < sizeof(block->w) / sizeof(block->w[0]); i++) {
		if (i >= count)
			break;
		crc = crc32c_step(crc ^ block->w[i]);
	}
	return crc;
}
