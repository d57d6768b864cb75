#!/usr/bin/env bash
# Runs a command in this folder on another kernel: a virtual machine that has this machine's files, which it cannot change.
#
#   scripts/other-kernel.sh VERSION COMMAND [ARGUMENT]...
#
# VERSION is 6.1, 6.12 ...: the newest kernel package of that version apt knows, unpacked below .cache and not installed;
# or a folder with an unpacked one (boot/vmlinuz-*, lib/modules/*). Ends as the command does; 125: it could not be run.
#   OTHER_KERNEL_OUT      folder the command may write to, under the same name
#   OTHER_KERNEL_TIMEOUT  seconds until the machine is ended, 600 unless told
# Without a KVM that works the processor is emulated, which is about ten times slower.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -ge 2 ] || { sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3- >&2 && exit 125; }
version=$1
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OTHER_KERNEL_OUT:-$work/out}
mkdir -p "$out" "$work/run" "$work/root"

say() { printf 'other-kernel: %s\n' "$*" >&2; }
cannot() {
	say "$*"
	exit 125
}

newest_package() {
	apt-cache search --names-only "^linux-image-${version//./\\.}[.][0-9]+(-[0-9]+|[+]deb[0-9]+)?-amd64\$" |
		cut -d' ' -f1 | sort -V | tail -n 1
}

# Prints the folder of the unpacked package, whose name has no colon or comma in it: qemu would take those as its own.
fetch_kernel() {
	local package folder partial
	package=$(newest_package)
	if [ -z "$package" ]; then
		apt-get -qq update </dev/null >&2
		package=$(newest_package)
	fi
	[ -n "$package" ] || return 1
	folder=$PWD/.cache/kernels/$package
	if [ ! -e "$folder/complete" ]; then
		say "fetching $package"
		partial=$(mktemp -d "$work/kernel.XXXX")
		(cd "$partial" && apt-get -qq -o APT::Sandbox::User=root download "$package" </dev/null >&2 && dpkg-deb -x "$package"_*.deb . && rm ./*.deb) || return 1
		rm -rf "$folder" && mkdir -p "$folder" && cp -r "$partial/." "$folder" && touch "$folder/complete" || return 1
		rm -rf "$partial"
	fi
	echo "$folder"
}

# The files of a module and of all it needs, in the order they are to be loaded.
module_files() { # MODULES_FOLDER MODULE
	local line
	line=$(grep -E "(^|/)$2\.ko(\.[a-z]+)?:" "$1/modules.dep") || return 0
	# shellcheck disable=SC2086
	printf '%s\n' ${line#*:} | sed '/^$/d' | tac
	echo "${line%%:*}"
}

# What runs until the file system of this machine is there: all of it by 9p, below a layer in memory for changes.
make_initramfs() {
	local modules=$kernel/lib/modules/$release name file
	mkdir -p "$work/root"/{bin,modules,proc,sys,dev,new,lower,layer}
	cp "$(command -v busybox)" "$work/root/bin/busybox" || return 1
	for name in virtio_pci 9pnet_virtio 9p overlay; do module_files "$modules" "$name"; done | awk '!seen[$0]++' >"$work/files"
	while read -r file; do
		cp "$modules/$file" "$work/root/modules/" || return 1
		echo "${file##*/}"
	done <"$work/files" >"$work/root/order"
	cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </order
p9() { $b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$1" "$2" "$3"; }
p9 ro,cache=loose root /lower || $b poweroff -f
$b mount -t tmpfs -o size=75% layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work root /new || $b poweroff -f
$b mkdir -p /new/lib/modules /new/mnt/run
p9 ro,cache=loose modules /new/lib/modules
p9 rw run /new/mnt/run
for name in proc sys dev; do $b mount -o move "/$name" "/new/$name"; done
[ -e /new/sbin/modprobe ] || $b cp /bin/busybox /new/sbin/modprobe
exec $b switch_root /new /bin/bash /mnt/run/guest.sh
INIT
	chmod +x "$work/root/init"
	(cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"
}

write_guest() { # COMMAND...
	rm -f "$work/run/status" "$work/run/log"
	{
		printf 'export PATH=%q HOME=/root TERM=dumb NO_COLOR=1 CI=%q\n' "$PATH:/usr/sbin:/sbin" "${CI:-}"
		printf 'out=%q here=%q\ncommand=(' "$out" "$PWD"
		printf '%q ' "$@"
		echo ')'
		cat <<'GUEST'
mount -t tmpfs run /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
ln -sfn /proc/self/fd /dev/fd
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
mkdir -p "$out"
mount -t 9p -o trans=virtio,version=9p2000.L out "$out"
cd "$here"
echo "other-kernel: Linux $(uname -r)" >/mnt/run/log
"${command[@]}" </dev/null >>/mnt/run/log 2>&1
echo $? >/mnt/run/status
sync
echo o >/proc/sysrq-trigger
while :; do read -r -t 10 </dev/zero; done
GUEST
	} >"$work/run/guest.sh"
}

share() { # FOLDER TAG [OPTION]
	echo "-virtfs local,path=$1,mount_tag=$2,security_model=none${3:-}"
}

# Runs what write_guest has prepared. The console is kept for when it fails.
run_machine() { # ACCELERATION SECONDS
	local shares
	# shellcheck disable=SC2046,SC2206
	shares=($(share / root ,readonly=on,multidevs=remap) $(share "$kernel/lib/modules" modules ,readonly=on) $(share "$work/run" run) $(share "$out" out))
	# shellcheck disable=SC2086
	timeout -k 5 "$2" qemu-system-x86_64 -accel $1 -smp 2 -m "${OTHER_KERNEL_MEMORY:-2500M}" -nic none -display none -monitor none \
		-serial stdio -no-reboot -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initramfs" "${shares[@]}" \
		-append 'console=ttyS0 quiet panic=-1 mitigations=off' </dev/null >"$work/console" 2>&1
	[ -e "$work/run/status" ]
}

# A KVM that is there need not work, in a machine that is virtual itself.
choose_acceleration() {
	acceleration='tcg,thread=multi -cpu max'
	[ -w /dev/kvm ] || return 0
	write_guest true
	# In a shell of its own, for bash tells of programs that abort.
	if (run_machine 'kvm -cpu host' 20) 2>/dev/null; then acceleration='kvm -cpu host'; else say 'KVM does not work here: the processor is emulated'; fi
}

[ "$(uname -m)" = x86_64 ] || cannot 'only on x86-64'
[ "$(id -u)" -eq 0 ] || cannot 'root is needed, to read all files and to be root in the virtual machine'
for command in qemu-system-x86_64 busybox dpkg-deb apt-get; do
	command -v "$command" >/dev/null || cannot "$command is not installed: scripts/install-deps.sh test"
done
if [ -d "$version/boot" ]; then kernel=$(realpath "$version"); else kernel=$(fetch_kernel) || cannot "apt has no kernel $version"; fi
release=$(basename "$kernel"/lib/modules/*)
[ -e "$kernel/lib/modules/$release/modules.dep" ] || busybox depmod -b "$kernel" "$release" || cannot 'no modules'
make_initramfs || cannot 'no initramfs'
choose_acceleration

write_guest "$@"
say "booting $release"
seconds=$SECONDS
# A last resort only: the command's own time limits come before.
run_machine "$acceleration" "${OTHER_KERNEL_TIMEOUT:-600}"
cat "$work/run/log" 2>/dev/null
if [ ! -e "$work/run/status" ]; then
	say "the virtual machine ended without a result after $((SECONDS - seconds)) s; the end of its console:"
	tail -n 60 "$work/console" >&2
	[ -e "$work/run/log" ] || exit 125
	exit 1
fi
status=$(cat "$work/run/status")
say "done in $((SECONDS - seconds)) s, status $status"
[ "$status" -eq 0 ] || tail -n 20 "$work/console" >&2
exit "$status"
