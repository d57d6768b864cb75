#!/usr/bin/env bash
# npm run bench: measures this balancer beside others. See `npm run bench -- --help`.
set -euo pipefail
cd "$(dirname "$0")/.."

bench() {
  node --import jiti/register test/bench/main.ts "$@"
}

for argument in "$@"; do
  if [[ $argument == --help ]]; then
    bench --help
    exit
  fi
done

# One run at a time: they share namespace names, and two would measure each other.
exec 9>/tmp/llbbench.lock
if ! flock -n 9; then
  echo "bench: another run is in progress" >&2
  exit 1
fi

missing=()
for tool in ip nsenter nginx haproxy nft wrk iperf3 gcc clang-14 curl; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]})); then
  echo "bench: missing ${missing[*]}; scripts/install-deps.sh installs them" >&2
  exit 1
fi

# Also when node was killed outright.
trap 'bench --cleanup 9>&-' EXIT
bench "$@" 9>&-
