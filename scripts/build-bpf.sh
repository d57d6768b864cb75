#!/usr/bin/env bash
# Compiles the packet path: bpf/progs/NAME.bpf.c -> bpf/build/NAME.bpf.o, and the copy that is installed, dist/bpf/.
# CLANG and LLVM_STRIP choose other tools.
set -euo pipefail
cd "$(dirname "$0")/.."

clang=${CLANG:-}
for candidate in clang-{14,19,20,18,22,21,17,16,15} clang; do
  [ -z "$clang" ] && command -v "$candidate" >/dev/null && clang=$candidate
done
if [ -z "$clang" ] || ! command -v "$clang" >/dev/null; then
  echo "build-bpf: ${CLANG:-clang-14} is not installed; run scripts/install-deps.sh, or set CLANG" >&2
  exit 1
fi

strip=${LLVM_STRIP:-}
suffix=$(basename "$clang" | sed -n 's/^clang\(-[0-9][0-9]*\)$/\1/p')
for candidate in "llvm-strip$suffix" llvm-strip llvm-strip-14; do
  [ -z "$strip" ] && command -v "$candidate" >/dev/null && strip=$candidate
done

flags=(-g -O2 -target bpf -mcpu=v3 -Wall -Werror -Werror=implicit-function-declaration
  "-I/usr/include/$(uname -m)-linux-gnu")

mkdir -p bpf/build dist/bpf
shopt -s nullglob
sources=(bpf/progs/*.bpf.c)
if [ ${#sources[@]} -eq 0 ]; then
  echo "build-bpf: no bpf/progs/*.bpf.c" >&2
  exit 1
fi
for source in "${sources[@]}"; do
  object="bpf/build/$(basename "$source" .c).o"
  "$clang" "${flags[@]}" -c "$source" -o "$object.new"
  # Debug sections only: BTF stays. An object that is not stripped is larger and works as well.
  if [ -n "$strip" ]; then "$strip" -g "$object.new"; fi
  # Renamed into place: a daemon that starts meanwhile sees the old object or the new one.
  mv "$object.new" "$object"
  cp "$object" dist/bpf/
  echo "build-bpf: $object ($(stat -c %s "$object") bytes, $("$clang" --version | sed -n '1s/.*version \([0-9.]*\).*/clang \1/p'))"
done
