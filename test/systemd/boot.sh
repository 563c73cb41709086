#!/bin/bash
# Process 1 of the guest, on the files of the machine outside: takes away what that machine has set up for itself, so that a
# node with Debian's packages and nothing more is left, and becomes systemd. $checkout and $job come from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. "$checkout/test/vm/devices.sh" || exec busybox poweroff -f

# That it may be a container, of which systemd takes no word of the kernel's.
rm -f /.dockerenv
# Which services it starts, how, and what it clears away when it boots: files of the test lie below /tmp.
rm -rf /etc/systemd/system /etc/systemd/*.conf.d /etc/rc?.d /etc/tmpfiles.d /etc/containerd /etc/cni /etc/kubernetes /etc/switchyard
mkdir -p /etc/systemd/system/multi-user.target.wants /etc/tmpfiles.d
ln -s /dev/null /etc/tmpfiles.d/tmp.conf
for each in tmp.mount serial-getty@ttyS0.service getty@tty1.service; do
  ln -s /dev/null "/etc/systemd/system/$each"
done
for each in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket; do
  ln -s /dev/null "/etc/systemd/system/$each"
done
# What it has installed, runs and remembers.
for each in /usr/local /var/lib/containerd /var/lib/kubelet /var/lib/cni /var/log; do
  mkdir -p "$each"
  mount -t tmpfs -o mode=755 tmpfs "$each"
done
rm -f /etc/machine-id /etc/hostname /etc/resolv.conf
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
echo n1 > /etc/hostname
echo nameserver 10.0.2.3 > /etc/resolv.conf

# The one folder that it shares with the test.
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none shared "$job/shared"

cat > /etc/systemd/system/commands.service <<END
[Unit]
Description=Runs the commands of the test outside, until the machine is off
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/python3 $checkout/test/systemd/commands.py
END
ln -s ../commands.service /etc/systemd/system/multi-user.target.wants/
exec env -i /lib/systemd/systemd
