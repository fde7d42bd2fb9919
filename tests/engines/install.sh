#!/bin/bash
# The real components that the tests and the demo use: Debian's or Ubuntu's own packages, and Go modules.
# Says what is there at the end, and never fails: what is missing makes tests skip (or fail, where CI=true).
set -uo pipefail

# Program that shows a part is there -> its packages. Without debian-archive-keyring Ubuntu's mmdebstrap trusts no Debian.
declare -A PACKAGES=(
  [pgrep]="procps"
  [docker-registry]="docker-registry"
  [mmdebstrap]="mmdebstrap debian-archive-keyring"
  [bwrap]="bubblewrap"
  [htpasswd]="apache2-utils"
  [runc]="runc"
  [buildah]="buildah"
  [etcd]="etcd-server"
  [containerd]="containerd"
  [iptables]="iptables"
  [ip]="iproute2"
  [openssl]="openssl"
)
PROGRAMS=$(dirname "$0")/programs.sh
KUBERNETES=$(dirname "$0")/kubernetes.sh
DOCKER_LOG=${DOCKER_LOG:-/var/log/dockerd-by-hand.log}
BINFMT=/proc/sys/fs/binfmt_misc
PATH=$PATH:/usr/sbin:/sbin

say() { printf '  %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if have sudo && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
fi
root() { [ "${as_root[0]-}" != false ] && "${as_root[@]}" "$@"; }
docker_answers() { have docker && { docker info || root docker info; } >/dev/null 2>&1; }
emulates_arm64() {
  case $(uname -m) in aarch64 | arm64) return 0 ;; esac
  # F: the kernel holds the interpreter open, so that it is found inside containers too.
  grep -qs '^enabled' $BINFMT/qemu-aarch64 && grep -qs '^flags:.*F' $BINFMT/qemu-aarch64
}

install_packages() { # every package that is missing, in one go
  if ! have apt-get; then say "no apt-get here: install by hand: $*"; return; fi
  if ! root true; then say "neither root nor sudo without a password. Run: sudo apt-get install $*"; return; fi
  say "apt-get install $*"
  root apt-get -qq update || say "apt-get update failed in part; going on with what is known"
  local known=() package policy=/usr/sbin/policy-rc.d placed=
  for package in "$@"; do
    if [ "$package" = golang-go ] && too_old_go; then continue; fi
    if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
  done
  # A service that starts with its package would fail where no init runs, or takes a port (docker-registry's 5000).
  if [ ! -e $policy ]; then
    root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy" && placed=yes
  fi
  root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends --yes "${known[@]}" >/dev/null || say "apt-get failed; see above"
  if [ -n "$placed" ]; then root rm -f $policy; fi
  if [ -d /run/systemd/system ]; then # the tests start their own
    for package in docker-registry etcd-server; do
      [[ " $* " != *" $package "* ]] || root systemctl disable --quiet "${package%-server}"
    done
  fi
}

too_old_go() { # Debian 12 has 1.19, which neither builds our modules nor fetches a Go that does
  local candidate; candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^ *Candidate: *//p')
  [ "${candidate:-(none)}" != "(none)" ] && dpkg --compare-versions "$candidate" lt 2:1.21
}

start_docker() {
  have docker && have dockerd && root true || return
  # A killed daemon whose parent does not reap it is still in the list, as a zombie.
  if ps -C dockerd -o stat= 2>/dev/null | grep -qv '^Z'; then say "dockerd runs, but does not answer"; return; fi
  if [ -d /run/systemd/system ]; then
    root systemctl start docker || say "systemctl start docker failed"
    return
  fi
  if ! mountpoint -q /sys/fs/cgroup; then root mount -t cgroup2 none /sys/fs/cgroup; fi
  say "starting dockerd by hand, log in $DOCKER_LOG"
  # A session of its own, and no pipe of ours: it outlives make, and make does not wait for it.
  # The pid files are those of a daemon that ended without cleaning up: none answers.
  local pid; pid=$(root sh -c "rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
                   setsid dockerd >'$DOCKER_LOG' 2>&1 </dev/null & echo \$!")
  for _ in $(seq 120); do
    docker_answers && return
    root kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  say "dockerd does not answer; the end of $DOCKER_LOG:"
  root tail -n 5 "$DOCKER_LOG"
}

register_arm64() {
  [ "$(uname -s)" = Linux ] && root true || return
  [ -e $BINFMT/register ] || root mount -t binfmt_misc binfmt_misc $BINFMT || return
  if emulates_arm64; then return; fi
  if [ -e $BINFMT/qemu-aarch64 ]; then root sh -c "echo -1 >$BINFMT/qemu-aarch64"; fi # there, but without F
  if have update-binfmts; then root update-binfmts --enable qemu-aarch64 >/dev/null 2>&1; fi
  if emulates_arm64; then return; fi
  # Newer Debian leaves this to systemd-binfmt, which is not there without systemd.
  local qemu; qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || return
  if [ -e $BINFMT/qemu-aarch64 ]; then root sh -c "echo -1 >$BINFMT/qemu-aarch64"; fi
  local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$magic:$mask:$qemu:F" | root tee $BINFMT/register >/dev/null
}

wanted=()
for program in "${!PACKAGES[@]}"; do have "$program" || wanted+=(${PACKAGES[$program]}); done
[ -e /etc/ssl/certs/ca-certificates.crt ] || wanted+=(ca-certificates)
if "$PROGRAMS" wants-go && ! too_old_go; then wanted+=(golang-go); fi
[ -x /usr/lib/cni/bridge ] || wanted+=(containernetworking-plugins)
# Recent docker.io only recommends its command line. A docker without dockerd may belong to a daemon elsewhere.
docker_answers || { have docker && have dockerd; } || wanted+=(docker.io docker-cli)
emulates_arm64 || have qemu-aarch64-static || wanted+=(qemu-user-static binfmt-support)

if [ "${#wanted[@]}" -gt 0 ]; then install_packages "${wanted[@]}"; fi
docker_answers || start_docker
emulates_arm64 || register_arm64
"$PROGRAMS" build buildkit kaniko kubernetes || say "see above: these are built from Go modules"

tell() { if "${@:2}"; then say "$1: ready"; else say "$1: missing; tests that need it are skipped"; fi; }
echo "Engines:"
tell "container registry (docker-registry)" have docker-registry
tell "registry accounts (htpasswd)" have htpasswd
tell "base images (mmdebstrap)" have mmdebstrap
tell "sources shut in (bubblewrap)" have bwrap
tell "containers (docker)" docker_answers
tell "arm64 programs (binfmt_misc, qemu)" emulates_arm64
tell "Dockerfiles (buildkitd, buildx)" "$PROGRAMS" built buildkit
tell "Dockerfiles (kaniko's executor)" "$PROGRAMS" built kaniko
tell "Dockerfiles (buildah)" have buildah
tell "a node of Kubernetes" "$KUBERNETES" can
if docker_answers && ! docker info >/dev/null 2>&1; then
  say "docker answers root alone: add yourself to the group docker and log in again"
fi
exit 0
