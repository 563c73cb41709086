#!/bin/bash
# Process 1 of the guest, on the files of the machine outside: makes the guest ready, runs the command of $job
# (arguments that end with a NUL byte each), says how it ended, and switches the guest off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
ports=/dev/virtio-ports
mkdir "$ports"
for each in /sys/class/virtio-ports/*; do ln -s "/dev/${each##*/}" "$ports/$(< "$each/name")"; done

end() {
  echo "$1" > "$ports/status"
  # Nothing has to be saved: all that was written is in memory.
  busybox reboot -f
}

mount -t tmpfs run /run && mkdir -p /run/netns
mkdir -p /dev/pts /dev/shm && mount -t devpts pts /dev/pts && mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd

# Modules that nothing loads by itself; the others follow when they are asked for.
release=$(uname -r)
mkdir -p /lib/modules
[ -e "/lib/modules/$release" ] || ln -s "$modules" "/lib/modules/$release"
grep -v '^#' "$checkout/test/vm/modules.txt" | xargs modprobe -a || end 125

# The machine outside: its 127.0.0.1 (that of the namespace the guest runs in) is 10.0.2.2.
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

cd "$checkout" || end 125
mapfile -d '' -t command < "$job/command"
read -r uptime _ < /proc/uptime
{
  echo "vm: Linux $release is up after $uptime s"
  "${command[@]}" < /dev/null
} 2>&1 | cat > "$ports/output"
end "${PIPESTATUS[0]}"
