#!/bin/sh
# Installs the Switchyard kubelet from the unpacked release that this file lies in, upgrades it, or removes it. Fetches nothing.
set -eu

usage() {
  cat <<'END'
usage: ./install.sh [--start] [--root DIRECTORY]      installs, or upgrades what is installed
       ./install.sh --check                           looks, and changes nothing
       ./install.sh --uninstall [--purge]             removes the program; pods run on

  --start      enables the service and starts it, too. An upgrade restarts a service that runs without being asked.
  --root       a directory to install into, such as that of an image: nothing is started there, nor asked of systemd.
  --purge      with --uninstall: removes /etc/switchyard, too. /var/lib/kubelet and /etc/kubernetes are never touched.
END
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
unit=switchyard-kubelet.service
root=
action=install
start=no
purge=no

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --check) action=check ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --start) start=yes ;;
    --root)
      [ $# -ge 2 ] || fail "--root needs a directory"
      root=${2%/}
      shift
      [ -n "$root" ] || fail "--root: leave it out to install into /"
      [ -d "$root" ] || fail "--root: $root is no directory"
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
[ "$start" = no ] || [ -z "$root" ] || fail "--start: nothing is started below --root"

lib=$root/usr/local/lib/switchyard
bin=$root/usr/local/bin/switchyard
units=$root/etc/systemd/system
etc=$root/etc/switchyard
# What the kubelet itself writes, where a shutdown is to wait for its pods.
delay=$root/etc/systemd/logind.conf.d/99-kubelet.conf

# Whether systemd is there to be asked.
managed() { [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }
active() { managed && systemctl is-active --quiet "$1"; }

# Another program of that name is not ours to replace.
own_bin() { [ ! -e "$bin" ] || grep -q /usr/local/lib/switchyard/current/ "$bin" 2>/dev/null; }

check() {
  problems=0
  problem() {
    printf 'error: %s\n' "$*" >&2
    problems=$((problems + 1))
  }
  [ "$(uname -s)" = Linux ] || problem "this is $(uname -s), and no Linux"
  [ "$(id -u)" = 0 ] || problem "run it as root"
  for file in lib/node lib/switchyard.mjs bin/switchyard install/$unit install/kubelet.yaml VERSION SHA256SUMS; do
    [ -f "$here/$file" ] || problem "$here/$file is missing: unpack the release anew"
  done
  [ "$problems" = 0 ] || exit 1
  (cd "$here" && sha256sum --check --quiet --strict SHA256SUMS >&2) ||
    problem "the release is not whole: unpack it anew"
  own_bin || problem "$bin is there and is not of Switchyard: move it away"
  if [ -z "$root" ]; then
    "$here/lib/node" --version >/dev/null 2>&1 || problem "the Node of this release does not run here: is it of another architecture than $(uname -m)?"
    look_around
  fi
  [ "$problems" = 0 ] || exit 1
}

# What a kubelet will need, and installing does not.
look_around() {
  managed || warn "systemd does not run: nothing will start the kubelet, see installing-the-kubelet.md"
  [ -S /run/containerd/containerd.sock ] ||
    warn "no containerd at /run/containerd/containerd.sock: install it, or name another in containerRuntimeEndpoint"
  [ -n "$(ls /etc/cni/net.d 2>/dev/null)" ] ||
    warn "no CNI configuration in /etc/cni/net.d: the node will not be ready without a pod network"
  for tool in mount umount iptables; do
    command -v $tool >/dev/null || warn "$tool is not installed: util-linux has mount and umount, iptables is a package of its own"
  done
  if active kubelet.service; then
    warn "kubelet.service runs: starting $unit ends it, and takes over its pods"
  fi
}

# A file is there whole, or as it was before.
put() { # SOURCE TARGET MODE
  mkdir -p "$(dirname "$2")"
  cp "$1" "$2.new"
  chmod "$3" "$2.new"
  mv -f "$2.new" "$2"
}

install_files() {
  version=$(cat "$here/VERSION")
  case $version in
    '' | *[!A-Za-z0-9.+-]* | .*) fail "VERSION holds no version" ;;
  esac
  former=$(readlink "$lib/current" 2>/dev/null || true)
  put "$here/lib/node" "$lib/$version/node" 755
  put "$here/lib/switchyard.mjs" "$lib/$version/switchyard.mjs" 644
  for page in "$here"/*.md "$here/LICENSE"; do
    [ ! -f "$page" ] || put "$page" "$lib/$version/$(basename "$page")" 644
  done
  put "$here/bin/switchyard" "$bin" 755
  # The one step from the former version to this one.
  rm -f "$lib/current.new"
  ln -s "$version" "$lib/current.new"
  mv -fT "$lib/current.new" "$lib/current"
  put "$here/install/$unit" "$units/$unit" 644
  configure
  # One version stays to go back to.
  for old in "$lib"/*/; do
    name=$(basename "$old")
    [ "$name" = "$version" ] || [ "$name" = "$former" ] || [ "$name" = current ] || rm -rf "${old%/}"
  done
}

# Only what is not there yet: this is the operator's.
configure() {
  mkdir -p "$etc"
  if [ ! -e "$etc/kubelet.env" ]; then
    config=/etc/switchyard/kubelet.yaml
    # A node that kubeadm has joined has a configuration.
    [ ! -f "$root/var/lib/kubelet/config.yaml" ] || config=/var/lib/kubelet/config.yaml
    cat >"$etc/kubelet.env.new" <<END
# Flags of the kubelet: switchyard kubelet --help. An upgrade does not touch this file.
KUBELET_FLAGS="--config=$config --kubeconfig=/etc/kubernetes/kubelet.conf --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
END
    mv -f "$etc/kubelet.env.new" "$etc/kubelet.env"
  fi
  [ -e "$etc/kubelet.yaml" ] || put "$here/install/kubelet.yaml" "$etc/kubelet.yaml" 644
}

install_all() {
  check
  install_files
  say "installed Switchyard $version: $bin, $units/$unit"
  managed || return 0
  systemctl daemon-reload
  if [ "$start" = yes ]; then
    systemctl enable "$unit"
    systemctl restart "$unit"
    say "started; its log: journalctl -u $unit"
  elif active "$unit"; then
    systemctl restart "$unit"
    say "restarted; pods ran on"
  else
    say "next: look through $etc/kubelet.yaml and $etc/kubelet.env, then"
    say "  switchyard doctor --kubelet --config=... ; systemctl enable --now $unit"
  fi
}

uninstall() {
  [ "$(id -u)" = 0 ] || fail "run it as root"
  own_bin || fail "$bin is not of Switchyard: it stays, and so does the rest"
  if managed && [ -e "$units/$unit" ]; then
    systemctl disable --now "$unit"
  fi
  rm -f "$units/$unit" "$bin"
  if managed; then systemctl daemon-reload; fi
  rm -rf "$lib"
  # That of another kubelet stays.
  if grep -q '^# Written by switchyard kubelet' "$delay" 2>/dev/null; then
    rm -f "$delay"
    if managed && ! systemctl kill --signal=HUP systemd-logind.service; then
      warn "logind was not told: it holds a shutdown back as the kubelet had it until it starts again"
    fi
  fi
  [ "$purge" = no ] || rm -rf "$etc"
  say "removed. Pods run on under containerd, and /var/lib/kubelet holds their volumes: see installing-the-kubelet.md for a node that is to be empty"
}

case $action in
  check)
    check
    say "nothing is in the way of installing"
    ;;
  install) install_all ;;
  uninstall) uninstall ;;
esac
