#!/usr/bin/env bash
# Whether another kernel's verifier takes the programs: those of each installed compiler, and with only what that kernel
# has, and what 5.15 has. Prints `ok NAME` or `FAIL NAME` and the end of the verifier's log; ends as other-kernel.sh does.
#
#   scripts/load-programs.sh VERSION [FOLDER]
#
# VERSION is 6.1, 6.12 ...; FOLDER an unpacked kernel package of it, where apt knows none (backports, another release).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${1:?a version such as 6.1}
kernel=${2:-$version}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number() { printf '%d%02d' "${1%%.*}" "${1#*.}"; }

for clang in clang-14 clang-19; do
	command -v "$clang" >/dev/null || continue
	for features in "$version" 5.15; do
		"$clang" -g -O2 -target bpf -mcpu=v3 "-DKERNEL=$(number "$features")" "-I/usr/include/$(uname -m)-linux-gnu" \
			-c bpf/progs/loxilb.bpf.c -o "$work/$clang-features-of-$features.bpf.o" || echo "FAIL to compile with $clang"
	done
done

cat >"$work/load.sh" <<'GUEST'
for object in "$1"/*.bpf.o; do
	name=$(basename "$object" .bpf.o)
	if bpftool prog loadall "$object" /sys/fs/bpf/programs >/tmp/load.log 2>&1; then
		echo "ok $name on $(uname -r)"
	else
		echo "FAIL $name on $(uname -r)"
		tail -n 40 /tmp/load.log
	fi
	rm -rf /sys/fs/bpf/programs
done
GUEST
# In the folder that the other machine may write to, for that one's files are as they were.
OTHER_KERNEL_OUT=$work OTHER_KERNEL_MEMORY=1500M bash scripts/other-kernel.sh "$kernel" bash "$work/load.sh" "$work"
