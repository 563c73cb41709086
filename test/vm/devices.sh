# What each guest has, whatever its process 1 is: sourced by that. $checkout and $modules come from the kernel's command line.
ports=/dev/virtio-ports
mkdir "$ports"
for each in /sys/class/virtio-ports/*; do ln -s "/dev/${each##*/}" "$ports/$(< "$each/name")"; done

# Modules that nothing loads by itself; the others follow when they are asked for.
release=$(uname -r)
mkdir -p /lib/modules
[ -e "/lib/modules/$release" ] || ln -s "$modules" "/lib/modules/$release"
grep -v '^#' "$checkout/test/vm/modules.txt" | xargs modprobe -a || return

# The machine outside: its 127.0.0.1 (that of the namespace the guest runs in) is 10.0.2.2.
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
