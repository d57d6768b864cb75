/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Source of sample.bpf.o, for the BTF reader's tests:
 * clang-14 -g -O2 -target bpf -mcpu=v3 -c sample.bpf.c -o sample.bpf.o && llvm-strip-14 -g sample.bpf.o
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

enum sample_color {
	SAMPLE_RED = 1,
	SAMPLE_NONE = -1,
};

struct sample_key {
	__be16 port;
	__u8 mac[6];
	enum sample_color color;
};

struct sample_value {
	__u64 packets;
	__u32 parts[3];
	__u8 low : 3;
	__u8 high : 5;
};

const volatile _Bool cfg_first = 1;
const volatile __u32 cfg_number = 7;
const volatile _Bool cfg_second = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100);
	__uint(map_flags, 1);
	__type(key, struct sample_key);
	__type(value, struct sample_value);
} sample_map SEC(".maps");

SEC("tc")
int sample(void *ctx)
{
	struct sample_key key = {.color = SAMPLE_RED};
	struct sample_value *value = bpf_map_lookup_elem(&sample_map, &key);

	if (!value || !cfg_first || cfg_second)
		return cfg_number;
	return value->low + value->high;
}
