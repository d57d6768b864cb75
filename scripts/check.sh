#!/usr/bin/env bash
# Static checks, as in CI. One line each: `ok NAME` or `FAIL NAME`; what a failed check said follows its line.
#   scripts/check.sh           all checks
#   scripts/check.sh NAME...   these only
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export NO_COLOR=1

bin=node_modules/.bin

clang_format() {
	local candidate
	for candidate in clang-format-14 clang-format; do
		command -v "$candidate" >/dev/null && echo "$candidate" && return
	done
	echo 'clang-format-14 is not installed (scripts/install-deps.sh test)' >&2
	return 1
}

check_biome() { "$bin/biome" ci --colors=off --error-on-warnings .; }
check_types() { "$bin/tsc" --noEmit -p tsconfig.json; }
check_types_sdk() { "$bin/tsc" --noEmit -p sdk; }

# With a TypeScript it cannot use, dependency-cruiser reads nothing and reports success.
check_dependencies() {
	local report modules
	report=$("$bin/depcruise" core plugins cli sdk/src sdk/examples test loxilb.config.ts --output-type err-long 2>&1) || { printf '%s\n' "$report"; return 1; }
	modules=$(printf '%s' "$report" | grep -oE '[0-9]+ modules' | grep -oE '[0-9]+')
	[ "${modules:-0}" -ge 50 ] || { printf 'only %s modules were read:\n%s\n' "${modules:-no}" "$report"; return 1; }
}

check_unused() { "$bin/knip" --no-progress --no-config-hints; }

check_c_format() {
	local tool
	tool=$(clang_format) || return 1
	git ls-files -z --cached --others --exclude-standard 'bpf/*.c' 'bpf/*.h' 'test/*.c' 'test/*.h' | xargs -0 "$tool" --dry-run -Werror
}

# The committed codecs say what the compiled objects say.
check_layout() {
	[ -e bpf/build/loxilb.bpf.o ] || { echo 'bpf/build/loxilb.bpf.o is not built: npm run build:bpf'; return 1; }
	node scripts/generate-layout.mjs --check
}

check_shell() {
	local script
	while IFS= read -r script; do
		bash -n "$script" || return 1
	done < <(git ls-files --cached --others --exclude-standard 'scripts/*.sh' .ci/run)
}

all=(biome types types_sdk dependencies unused c_format layout shell)
[ $# -eq 0 ] || all=("$@")

failed=0
for name in "${all[@]}"; do
	if output=$("check_$name" 2>&1); then
		printf 'ok %s\n' "${name//_/-}"
	else
		printf 'FAIL %s\n' "${name//_/-}"
		printf '%s\n' "$output" | sed 's/^/    /'
		failed=$((failed + 1))
	fi
done
[ "$failed" -eq 0 ]
