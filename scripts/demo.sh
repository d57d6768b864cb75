#!/usr/bin/env bash
# A load balancer between a client and three web servers, each in a network namespace of this machine.
#   npm run demo               shows it and cleans up
#   npm run demo -- --keep     leaves it running and tells how to play with it
#   npm run demo -- --end      ends one that was kept
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

vip=20.20.20.1
port=2020
servers=(31.31.31.1 32.32.32.1 33.33.33.1)
requests=12
work=/run/llbdemo
keep=false

bold= plain=
[ ! -t 1 ] || bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# nsenter, not `ip netns exec`: the latter mounts another /sys, which hides every bpffs below it.
inside() { nsenter "--net=/run/netns/llbdemo-$1" -- "${@:2}"; }

# Shows a command as one would type it in the balancer's namespace, then runs it.
loxicmd() {
	printf '\n$ loxicmd %s\n' "$*"
	inside lb bin/loxicmd "$@"
}

build() {
	local newest=dist/core/main.js
	if [ -e "$newest" ] && [ -e bpf/build/loxilb.bpf.o ] &&
		[ -z "$(find core plugins cli sdk/src bpf scripts/build-bpf.sh package.json \( -name build -prune \) -o -type f -newer "$newest" -print -quit)" ]; then
		return 0
	fi
	say 'Building'
	npm run --silent build
	touch "$newest"
}

# One veth pair each; the balancer's end carries the name of the host it leads to.
connect() { # HOST ADDRESS
	local name=$1 net=${2%.*}
	ip netns add "llbdemo-$name"
	ip link add "$name" netns llbdemo-lb type veth peer name eth0 netns "llbdemo-$name"
	ip -n llbdemo-lb addr add "$net.254/24" dev "$name"
	ip -n llbdemo-lb link set "$name" up
	ip -n "llbdemo-$name" link set lo up
	ip -n "llbdemo-$name" addr add "$2/24" dev eth0
	ip -n "llbdemo-$name" link set eth0 up
	ip -n "llbdemo-$name" route add default via "$net.254"
}

make_network() {
	local i
	ip netns add llbdemo-lb
	ip -n llbdemo-lb link set lo up
	inside lb sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	connect client 10.10.10.1
	for i in "${!servers[@]}"; do connect "server$((i + 1))" "${servers[i]}"; done
}

start_nginx() { # NAME
	local folder="$work/$1"
	mkdir -p "$folder/tmp"
	cat >"$folder/nginx.conf" <<-CONF
		user root;
		worker_processes 1;
		pid $folder/nginx.pid;
		error_log $folder/error.log;
		events { worker_connections 1024; }
		http {
		  access_log off;
		  client_body_temp_path $folder/tmp;
		  proxy_temp_path $folder/tmp;
		  fastcgi_temp_path $folder/tmp;
		  uwsgi_temp_path $folder/tmp;
		  scgi_temp_path $folder/tmp;
		  server {
		    listen 8080;
		    default_type text/plain;
		    return 200 "$1\n";
		  }
		}
	CONF
	inside "$1" nginx -c "$folder/nginx.conf" -p "$folder" 2>"$folder/start.log" || {
		cat "$folder/start.log" >&2
		fail "nginx of $1 did not start"
	}
}

# Ready is only said when the programs are attached and the API answers.
start_daemon() {
	# Not through inside(): $! has to be the daemon, not a shell around it.
	nsenter --net=/run/netns/llbdemo-lb -- bin/loxilb --state-dir "$work/state" --bpf-dir "$work/bpf" >"$work/loxilb.log" 2>&1 </dev/null &
	echo $! >"$work/loxilb.pid"
	local attempt
	for attempt in $(seq 150); do
		grep -qw ready "$work/loxilb.log" && return 0
		kill -0 "$(cat "$work/loxilb.pid")" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 30 "$work/loxilb.log" >&2
	fail "the daemon did not become ready"
}

# Ends what the pid files name, and only when it is still a program of one of our namespaces.
end_pid() { # PIDFILE
	local pid attempt
	pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 0
	ip netns identify "$pid" 2>/dev/null | grep -q '^llbdemo-' || return 0
	kill "$pid" 2>/dev/null || return 0
	for attempt in $(seq 50); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

clean_up() {
	local name i
	end_pid "$work/loxilb.pid"
	if [ -e "$work/bpf" ] && [ -e /run/netns/llbdemo-lb ]; then
		inside lb bin/loxilb --state-dir "$work/state" --bpf-dir "$work/bpf" --cleanup >/dev/null 2>&1 || true
	fi
	for i in "${!servers[@]}"; do end_pid "$work/server$((i + 1))/nginx.pid"; done
	for name in client server1 server2 server3 lb; do
		[ ! -e "/run/netns/llbdemo-$name" ] || ip netns del "llbdemo-$name"
	done
	mountpoint -q "$work/bpf" 2>/dev/null && umount -l "$work/bpf"
	rm -rf "$work"
}

send_requests() {
	local i
	for i in $(seq "$requests"); do inside client curl -sS --max-time 5 "http://$vip:$port/"; done | sort | uniq -c
}

show() {
	say 'A service: one address for three servers'
	local endpoints
	endpoints=$(printf '%s:1,' "${servers[@]}")
	loxicmd create lb "$vip" "--tcp=$port:8080" "--endpoints=${endpoints%,}"

	say "$requests HTTP requests from the client to http://$vip:$port/, by the server that answered"
	send_requests

	say 'What the balancer knows'
	loxicmd get lb -o wide
	loxicmd get ep
	loxicmd get ct
	loxicmd get port
}

tell_how_to_play() {
	cat <<-TEXT

		The demo is still running. As root:
		  a shell in the balancer   nsenter --net=/run/netns/llbdemo-lb    then: bin/loxicmd get lb
		  a request of the client   nsenter --net=/run/netns/llbdemo-client curl http://$vip:$port/
		  stop one server           kill \$(cat $work/server2/nginx.pid)
		  kill the balancer         kill -9 \$(cat $work/loxilb.pid)    traffic goes on
		  start it again            nsenter --net=/run/netns/llbdemo-lb bin/loxilb --state-dir $work/state --bpf-dir $work/bpf
		  its log                   $work/loxilb.log
		  end everything            npm run demo -- --end
	TEXT
}

for option in "$@"; do
	case $option in
	--keep) keep=true ;;
	--end) end=true ;;
	*) fail "unknown option '$option' (--keep or --end)" ;;
	esac
done

[ "$(id -u)" -eq 0 ] || fail 'needs root: it makes network namespaces and loads BPF programs. Try: sudo npm run demo'
if [ "${end:-false}" = true ]; then
	clean_up
	exit 0
fi

bash scripts/install-deps.sh
build
clean_up
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$work"

say 'Namespaces: client 10.10.10.1 - lb - servers' "${servers[@]}"
make_network
for i in "${!servers[@]}"; do start_nginx "server$((i + 1))"; done
start_daemon
echo "nginx runs in each server, loxilb in lb; it was ready after $(sed -n 's/.*"startMs":\([0-9]*\).*/\1/p' "$work/loxilb.log") ms"
show

if [ "$keep" = true ]; then
	trap - EXIT INT TERM
	disown -a
	tell_how_to_play
fi
