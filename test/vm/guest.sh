#!/bin/bash
# Process 1 of the guest, on the files of the machine outside: makes the guest ready, runs the command of $job
# (arguments that end with a NUL byte each), says how it ended, and switches the guest off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8

end() {
  echo "$1" > "$ports/status"
  # Nothing has to be saved: all that was written is in memory.
  busybox reboot -f
}

mount -t tmpfs run /run && mkdir -p /run/netns
mkdir -p /dev/pts /dev/shm && mount -t devpts pts /dev/pts && mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
. "$checkout/test/vm/devices.sh" || end 125

cd "$checkout" || end 125
mapfile -d '' -t command < "$job/command"
read -r uptime _ < /proc/uptime
{
  echo "vm: Linux $release is up after $uptime s"
  "${command[@]}" < /dev/null
} 2>&1 | cat > "$ports/output"
end "${PIPESTATUS[0]}"
