#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test level.
#   scripts/test.sh              all levels
#   scripts/test.sh LEVEL...     these only (all_levels below)
# Last line: `N passed, N failed`. In CI (CI=true) a skipped test is a failed one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all_levels=(check unit unit-24 conformance kernel bpf bpf-newer bpf-fallback kernel-6.1 model integration readme)
levels=("$@")
[ $# -gt 0 ] || levels=("${all_levels[@]}")

[ -t 1 ] || export NO_COLOR=1

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT

passed=0 failed=0 skipped=0
summary=()
unstable=()

add() { # LEVEL PASSED FAILED SKIPPED
	local rest=$4
	if [ "$rest" -gt 0 ] && [ "${CI:-}" = true ]; then
		set -- "$1" "$2" $(($3 + rest)) 0
		printf '%s: %s skipped, and nothing may be skipped in CI\n' "$1" "$rest"
	fi
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	summary+=("$(printf '%-14s %5d passed %4d failed %4d skipped' "$1" "$2" "$3" "$4")")
}

headline() { printf '\n=== %s\n' "$*"; }

vitest() { # PROJECT NODE REPORT [FILE...]
	local project=$1 node=$2 report=$3
	shift 3
	"$node" node_modules/vitest/vitest.mjs run --project "$project" --reporter=default --reporter=json \
		--outputFile.json="$report" "$@" </dev/null
}

# Runs one project of vitest.config.ts and counts from its report, not from its exit status alone.
run_vitest() { # LEVEL PROJECT NODE
	local level=$1 project=$2 node=$3 report="$reports/$1.json" status=0 p f s
	headline "$level ($("$node" -p process.version))"
	vitest "$project" "$node" "$report" || status=$?
	if [ "$status" -ne 0 ] && uses_real_time "$level"; then
		run_again "$level" "$project" "$node" && status=0
	fi
	read -r p f s < <(node scripts/count-tests.mjs "$report" "$reports/$level.again.json") || true
	: "${p:=0}" "${f:=1}" "${s:=0}"
	# Errors outside of a test (an unhandled rejection, a crashed worker) are in the status only.
	[ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
	add "$level" "$p" "$f" "$s"
}

# Levels with processes, timers of the kernel and retransmissions: a machine that stands still for a second shows there.
uses_real_time() { [[ $1 == integration || $1 == readme || $1 == kernel || $1 == bpf* ]]; }

# One or two files that failed have a second try, alone and from the start; more is no accident. What failed only once
# is said in the summary: it is a fault to be found, in a test or in the product.
run_again() { # LEVEL PROJECT NODE
	local level=$1 files names
	mapfile -t files < <(node scripts/count-tests.mjs --failed "$reports/$level.json")
	[ ${#files[@]} -ge 1 ] && [ ${#files[@]} -le 2 ] || return 1
	names=$(node scripts/count-tests.mjs --names "$reports/$level.json")
	headline "$level, once more: ${files[*]}"
	vitest "$2" "$3" "$reports/$level.again.json" "${files[@]}" || return 1
	unstable+=("$names")
}

run_privileged() { # LEVEL PROJECT
	if [ "$(id -u)" -eq 0 ]; then
		run_vitest "$1" "$2" node
	else
		headline "$1: SKIPPED, it needs root (it loads BPF programs and makes network namespaces)"
		add "$1" 0 0 1
	fi
}

run_check() {
	local output
	headline check
	output=$(bash scripts/check.sh) || true
	printf '%s\n' "$output"
	add check "$(grep -ac '^ok ' <<<"$output")" "$(grep -ac '^FAIL ' <<<"$output")" 0
}

# The other Node.js release we support, from its npm package.
node_24() {
	local folder=.cache/node-24 arch
	case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
	local binary="$folder/node_modules/node-linux-$arch/bin/node"
	if ! "$binary" -e 0 2>/dev/null; then
		npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
			"node-linux-$arch@24.21.0" </dev/null >&2 || return 1
	fi
	echo "$binary"
}

run_unit_24() {
	local node
	if node=$(node_24); then
		run_vitest unit-24 unit "$node"
	else
		headline 'unit-24: SKIPPED, Node.js 24 could not be installed from npm'
		add unit-24 0 0 1
	fi
}

newer_clang() {
	local version
	for version in 19 20 18 22 21 17 16 15; do
		command -v "clang-$version" && return
	done
	return 1
}

# The packet tests once more, with programs from a newer compiler. The usual objects come back afterwards.
run_bpf_newer() {
	local clang
	if ! clang=$(newer_clang); then
		headline 'bpf-newer: SKIPPED, no clang newer than 14 is installed'
		add bpf-newer 0 0 1
		return
	fi
	headline "building the programs with $clang"
	if CLANG=$clang bash scripts/build-bpf.sh; then
		run_privileged bpf-newer bpf
	else
		add bpf-newer 0 1 0
	fi
	bash scripts/build-bpf.sh || add bpf-rebuild 0 1 0
}

# The programs on a real kernel that is older than this machine's: its verifier takes less.
run_other_kernel() { # LEVEL VERSION
	local output status=0 p f
	headline "$1"
	output=$(bash scripts/load-programs.sh "$2") || status=$?
	printf '%s\n' "$output"
	if [ "$status" -eq 125 ]; then
		headline "$1: SKIPPED, Linux $2 could not be run here (see above)"
		add "$1" 0 0 1
		return
	fi
	p=$(grep -ac '^ok ' <<<"$output")
	f=$(grep -ac '^FAIL ' <<<"$output")
	[ "$status" -eq 0 ] && [ $((p + f)) -gt 0 ] || [ "$f" -gt 0 ] || f=1
	add "$1" "$p" "$f" 0
}

run_level() {
	case $1 in
	check) run_check ;;
	unit) run_vitest unit unit node ;;
	unit-24) run_unit_24 ;;
	conformance) run_vitest conformance conformance node ;;
	kernel | bpf | model | integration | readme) run_privileged "$1" "$1" ;;
	bpf-newer) run_bpf_newer ;;
	# The same packets, as on a kernel without what is newer than 5.15.
	bpf-fallback) LOXILB_BPF_OLD_KERNEL=1 run_privileged bpf-fallback bpf ;;
	kernel-6.1) run_other_kernel kernel-6.1 6.1 ;;
	*)
		echo "unknown level '$1' (one of: ${all_levels[*]})"
		add "$1" 0 1 0
		;;
	esac
}

finish() {
	headline summary
	printf '%s\n' "${summary[@]}"
	[ ${#unstable[@]} -eq 0 ] || printf 'UNSTABLE, failed once and passed alone: %s\n' "${unstable[@]}"
	local line="$passed passed, $failed failed"
	[ "$skipped" -eq 0 ] || line+=", $skipped skipped"
	printf '%s\n' "$line"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

if ! bash scripts/install-deps.sh test; then
	add install 0 1 0
elif ! npm run --silent build; then
	add build 0 1 0
else
	for level in "${levels[@]}"; do run_level "$level"; done
fi
finish
