#!/bin/busybox sh
# The first program of the guest: puts the file system of the machine outside (9p, read-only) under one of its own
# in memory, and hands over to a script there. $checkout, $modules, $job and $script come from the kernel's command line.
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /lower /upper /new
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
for module in /modules/*; do $bb insmod "$module"; done
$bb mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /lower
$bb mount -t tmpfs upper /upper
$bb mkdir /upper/files /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new
for each in proc sys dev; do $bb mount --move /$each /new/$each; done
exec $bb switch_root /new /bin/bash "$checkout/$script"
