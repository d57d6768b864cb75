/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "types.h"

/*
 * CRC32c (RFC 9260 appendix A) as arithmetic on polynomials over GF(2): a checksum is changed by what changes in the
 * packet, and the rest of the packet is not read. Reflected: bit 31 is the coefficient of x^0, and four bytes of the
 * packet are the little endian word they are in memory.
 */
#define CRC32C_POLYNOMIAL 0x82f63b78
/* x^32: what a register that has taken in four bytes is multiplied by. It is the polynomial without its own x^32. */
#define CRC32C_WORD CRC32C_POLYNOMIAL

/* x^(8 * digit * 16^row): the n-th factor of a move over so many bytes, by the n-th hexadecimal digit of their number. */
static const __u32 crc32c_powers[4][16] = {
	{ 0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743, 0x52a0c93f, 0x6ea2d55c,
	  0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24, 0xe75d06aa, 0xc94ec098 },
	{ 0x80000000, 0x18b8ea18, 0x510ac59a, 0xb2dea967, 0xb82be955, 0x36c41f1c, 0x19b29a35, 0xc9e90b9e, 0xb8fdb1e7,
	  0xe55ef1f3, 0x1fe0b5c3, 0xe0553f1e, 0x18e4a304, 0x2b830011, 0x56993a31, 0x0246e2e6 },
	{ 0x80000000, 0x88e56f72, 0x74c360a4, 0x631bb273, 0xe4172b16, 0x71892b1b, 0x835305c9, 0x196b1eae, 0x0d65762a,
	  0xafc81338, 0xb5a50ab7, 0xf373c3ac, 0x5f60970f, 0xd46d3063, 0x3a5275ea, 0x02331c01 },
	{ 0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9, 0x65059450, 0x4e6f41a4, 0xe2ea32dc,
	  0xf5b95b32, 0x695a4c87, 0xf204502c, 0x9a4f01b6, 0x941a0916, 0x4303cb97, 0x4c3d3d65 },
};

static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	int i;

	for (i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* What a difference in a packet is at its end, `bytes` (below 65536) after the end of what differs: as if zeros followed. */
__noinline int crc32c_advance(__u32 crc, __u32 bytes)
{
	crc = crc32c_multiply(crc, crc32c_powers[0][bytes & 15]);
	if (bytes >> 4 & 15)
		crc = crc32c_multiply(crc, crc32c_powers[1][bytes >> 4 & 15]);
	if (bytes >> 8 & 15)
		crc = crc32c_multiply(crc, crc32c_powers[2][bytes >> 8 & 15]);
	if (bytes >> 12 & 15)
		crc = crc32c_multiply(crc, crc32c_powers[3][bytes >> 12 & 15]);
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
		crc = crc32c_multiply(crc ^ block->w[i], CRC32C_WORD);
	}
	return crc;
}
