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

/*
 * x^(8 * n), x^(8 * 64 * n) and x^(8 * 4096 * n): the factors of a move over any number of bytes, by the digits of that
 * number.
 */
static const __u32 crc32c_ones[64] = {
	0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743, 0x52a0c93f,
	0x6ea2d55c, 0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24, 0xe75d06aa, 0xc94ec098,
	0x18b8ea18, 0x9a9f274a, 0x2a03aaa3, 0xb13145f8, 0x790606ff, 0xad045557, 0x8542ba6d, 0xde6b9d0b,
	0x9957c0a6, 0x8473058e, 0x2e0af75a, 0x3ae9f81c, 0x5d27e147, 0x95ec5eb6, 0x9421797f, 0x2f1f4950,
	0x510ac59a, 0xf91bdeea, 0x882b9bfc, 0xbea58b3e, 0x9c25531d, 0xafeaaeef, 0xbd8c7e90, 0x92157069,
	0x19e65dde, 0x7fb2b8d1, 0x21c7d010, 0x107f00bf, 0xec1631ed, 0x5cf4f2f8, 0x79ebc348, 0xcbdbaeb0,
	0xb2dea967, 0xb5be2920, 0x200830f7, 0x278403ae, 0x0e148e82, 0x63c35f01, 0xf208405c, 0x1c941d43,
	0x52377a55, 0x6486f9b5, 0x8780e02c, 0x6d79c1ee, 0x4f256efc, 0xbe6285cb, 0x5abaef7a, 0x1a20c6da
};
static const __u32 crc32c_sixty_fours[64] = {
	0x80000000, 0xb82be955, 0xb8fdb1e7, 0x18e4a304, 0x88e56f72, 0x9030a49c, 0x67db2c4a, 0xe744dcb2,
	0x74c360a4, 0x8e9906a7, 0xb469724f, 0x24d84074, 0x631bb273, 0xee2a2d56, 0x654f84e7, 0x629069c6,
	0xe4172b16, 0xd3cb2137, 0x4f47bf52, 0x35202632, 0x71892b1b, 0xd27285db, 0x69c2af09, 0xd271158e,
	0x835305c9, 0xeaa500ac, 0x0e36a726, 0x46951631, 0x196b1eae, 0x584ea70d, 0x15e8653c, 0xb5a65826,
	0x0d65762a, 0xebfcce28, 0xe6aef08f, 0x013ee85b, 0xafc81338, 0x61c30b85, 0xe31e7f5b, 0x5e3750cd,
	0xb5a50ab7, 0x1977c75d, 0x46bf959e, 0xe78cd046, 0xf373c3ac, 0x950979dd, 0xe31b4008, 0xc726c863,
	0x5f60970f, 0xf977f383, 0x9e7b1c10, 0xea2110f8, 0xd46d3063, 0xe2220529, 0xebd59d26, 0xedbe69a1,
	0x3a5275ea, 0x1a2bbe21, 0xd597ad7e, 0xcb8c45a6, 0x02331c01, 0xe8639712, 0xa957c550, 0xbcfda51c
};
static const __u32 crc32c_pages[16] = { 0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9,
					0x65059450, 0x4e6f41a4, 0xe2ea32dc, 0xf5b95b32, 0x695a4c87, 0xf204502c,
					0x9a4f01b6, 0x941a0916, 0x4303cb97, 0x4c3d3d65 };

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
	crc = crc32c_multiply(crc, crc32c_ones[bytes & 63]);
	crc = crc32c_multiply(crc, crc32c_sixty_fours[bytes >> 6 & 63]);
	if (unlikely(bytes >> 12 & 15))
		crc = crc32c_multiply(crc, crc32c_pages[bytes >> 12 & 15]);
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
