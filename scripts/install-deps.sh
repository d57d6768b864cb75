#!/usr/bin/env bash
# Installs what loxilb needs on Debian 12 or Ubuntu 24.04 and is not there yet. Quick when nothing is missing.
#
#   scripts/install-deps.sh            what building, running and the demo need
#   scripts/install-deps.sh test       the same, and what the tests need
#   scripts/install-deps.sh bench      the same as test, and what the benchmark compares with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

level=${1:-run}

say() { printf 'install-deps: %s\n' "$*"; }
fail() {
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

check_node() {
	local major
	command -v node >/dev/null || fail "Node.js 20 or newer is needed and there is no 'node' in PATH: https://nodejs.org/en/download"
	major=$(node -p 'process.versions.node.split(".")[0]')
	[ "$major" -ge 20 ] || fail "Node.js 20 or newer is needed, $(node -p process.version) is installed: https://nodejs.org/en/download"
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
has_candidate() { [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/.*Candidate: \([0-9].*\)/\1/p')" ]; }

# A command counts wherever it comes from; a package is only asked for when the command is not there.
need_command() { # COMMAND PACKAGE
	PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || is_installed "$2" || missing+=("$2")
}
need_package() { is_installed "$1" || missing+=("$1"); }

# clang-14 is the compiler the packet path is developed with; 19 is tested as well (build-bpf.sh has the
# same list, and newer_clang below those to choose from).
find_clang() {
	local version
	for version in 14 19 20 18 22 21 17 16 15; do
		command -v "clang-$version" >/dev/null && command -v "llvm-strip-$version" >/dev/null && echo "$version" && return
	done
	return 1
}

newer_clang() {
	local version
	for version in 19 20 18 22 21 17 16 15; do
		"$1" "clang-$version" && echo "$version" && return
	done
	return 1
}
has_command() { command -v "$1" >/dev/null 2>&1; }

# Ubuntu's /usr/sbin/bpftool is a wrapper that fails when the tools of the running kernel are not installed.
bpftool_works() { PATH="$PATH:/usr/sbin" bpftool version >/dev/null 2>&1; }

# What is missing and can be named without knowing the package lists.
collect_missing() {
	missing=()
	find_clang >/dev/null || missing+=(CLANG)
	bpftool_works || missing+=(BPFTOOL)
	need_package libbpf-dev
	need_package linux-libc-dev
	need_package libbpf1
	need_command ip iproute2
	need_command ping iputils-ping
	need_command curl curl
	need_command nginx nginx-light
	need_command ps procps
	need_command ethtool ethtool
	need_command nsenter util-linux
	[ "$level" = run ] && return 0
	newer_clang has_command >/dev/null || missing+=(NEWER_CLANG)
	need_command clang-format-14 clang-format-14
	need_command iperf3 iperf3
	need_command socat socat
	need_command tcpdump tcpdump
	need_command tc iproute2
	need_command nft nftables
	need_command gcc gcc
	need_package libc6-dev
	need_package libusrsctp-dev
	need_command tshark tshark
	need_command haproxy haproxy
	need_command openssl openssl
	# The tests on another kernel.
	if [ "$(uname -m)" = x86_64 ]; then
		need_command qemu-system-x86_64 qemu-system-x86
		need_command busybox busybox-static
	fi
	[ "$level" = test ] && return 0
	need_command wrk wrk
	need_package libnginx-mod-stream
}

# Turns the placeholders into packages; needs fresh package lists.
resolve_packages() {
	local name version
	packages=()
	for name in "${missing[@]}"; do
		case $name in
		CLANG)
			version=14
			has_candidate clang-14 || version=$(newer_clang has_candidate) || fail 'apt knows no clang between 14 and 22: are its package lists there (see above)?'
			packages+=("clang-$version" "llvm-$version")
			;;
		NEWER_CLANG)
			version=$(newer_clang has_candidate) && packages+=("clang-$version") || say 'no newer clang to be had: the second compiler is not tested'
			;;
		BPFTOOL)
			# A virtual package on Ubuntu 24.04: the program comes with the tools of a kernel.
			if has_candidate bpftool; then packages+=(bpftool); else packages+=(linux-tools-common linux-tools-generic); fi
			;;
		*) packages+=("$name") ;;
		esac
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "not root and no sudo here; as root, run: $*"
	fi
}

# `apt-get` without questions, and without starting the services (nginx, haproxy) on their default ports.
quiet_apt() {
	as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null
}

install_packages() {
	collect_missing
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || fail "this script knows Debian and Ubuntu; install by hand what is missing: ${missing[*]}"
	say 'updating the package lists'
	# Not the end: one source of many may be broken, and the lists of last time may do.
	quiet_apt update || say 'the package lists could not be updated'
	resolve_packages
	[ ${#packages[@]} -gt 0 ] || return 0
	say "installing ${packages[*]}"
	without_service_start quiet_apt install --no-install-recommends -y "${packages[@]}" >/dev/null ||
		fail "apt-get could not install what it was asked for (see above); missing are ${packages[*]}"
	link_bpftool
}

# Debian starts a daemon when its package is installed. Ours are started by us, in namespaces.
without_service_start() {
	local policy=/usr/sbin/policy-rc.d made=
	if [ ! -e "$policy" ] && [ "$(id -u)" -eq 0 ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1
	fi
	local status=0
	"$@" || status=$?
	[ -z "$made" ] || rm -f "$policy"
	return "$status"
}

# Where only the kernel tools' own copy exists (kernel of another version), use it under its plain name.
link_bpftool() {
	local found
	bpftool_works && return 0
	found=$(find /usr/lib/linux-tools /usr/lib/linux-tools-* -name bpftool -type f 2>/dev/null | sort | tail -n 1)
	[ -n "$found" ] || fail 'bpftool could not be installed'
	say "using $found as /usr/local/sbin/bpftool"
	as_root ln -sf "$found" /usr/local/sbin/bpftool
}

install_modules() {
	# Somebody else's: npm ci would empty the folder behind the link.
	[ ! -L node_modules ] || return 0
	if [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then return 0; fi
	say 'npm ci'
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null || fail "npm ci failed (see above): node_modules are missing"
	touch node_modules/.package-lock.json
}

case $level in run | test | bench) ;; *) fail "unknown level '$level' (run, test or bench)" ;; esac
check_node
install_packages
install_modules
