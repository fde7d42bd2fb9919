#!/bin/bash
# One Kubernetes node of real parts: etcd, API server, controllers, scheduler, kubelet, kube-proxy and containerd.
#   kubernetes.sh serve FOLDER    as root: run it until nobody holds a lock on FOLDER.users, then leave nothing behind
#   kubernetes.sh can             say what is missing for that, and fail; or succeed
# All of it is in namespaces of its own for processes, mounts and network. So ending the first process there ends the
# rest, unmounts what containers mounted and takes rules, bridges and ports along; whatever of the machine is touched
# beside that has the name below. FOLDER/kubeconfig is there once the node is ready, and belongs to the administrator.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

NAME=publisher-kubernetes
LINK=publisher-k8s # of the machine to the node; at most 15 characters
MACHINE=10.201.0.1 # as the node and its pods see it: connections to it come out on loopback
NODE=10.201.0.2
PODS=10.202.0.0/16
SERVICES=10.203.0.0/16
CNI=/usr/lib/cni
PAUSE=publisher.test/pause:1
PROGRAMS=$(dirname "$(readlink -f "$0")")/programs.sh

can() {
  local program missing=()
  for program in etcd containerd ctr runc iptables ip nsenter unshare openssl; do
    command -v $program >/dev/null || missing+=("$program")
  done
  [ -x $CNI/bridge ] || missing+=("CNI plugins in $CNI")
  "$PROGRAMS" built kubernetes || missing+=("the programs of Kubernetes")
  [ ${#missing[@]} = 0 ] || { (IFS=,; echo "missing: ${missing[*]}"); return 1; }
}

cgroups() { # where groups of processes are made: one place in version 2, one for each controller in version 1
  findmnt --noheadings --raw --types cgroup,cgroup2 --output TARGET
}

clean() { # what a run has left on the machine, its own or one that was killed
  local pid rule table folder
  # A process that is being ended can start another one, so they are asked for until there is none.
  for _ in $(seq 100); do
    pid=$(ip netns pids $NAME 2>/dev/null) || break
    [ -n "$pid" ] || break
    # shellcheck disable=SC2086 # one word each
    kill -KILL $pid 2>/dev/null || true
    sleep 0.1
  done
  ip link delete $LINK 2>/dev/null || true
  ip netns delete $NAME 2>/dev/null || true
  for table in nat filter; do
    iptables -t $table -S | sed -n "/--comment $NAME /s/^-A/-D/p" | while read -r rule; do
      # shellcheck disable=SC2086 # as many words as it printed
      iptables -t $table $rule
    done
  done
  for folder in $(cgroups); do
    [ -d "$folder/$NAME" ] || continue
    for _ in $(seq 50); do # a group can be removed once the last of its processes is gone, a moment after its end
      find "$folder/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  done
  rm -rf "$FOLDER"
}

rule() { # TABLE CHAIN WORD...: before the rules of Docker or of a firewall, which end with a refusal
  iptables -t "$1" -I "$2" "${@:3}" -m comment --comment $NAME
}

network() { # a cable between machine and node; the node reaches what the machine does
  ip netns add $NAME
  ip link add $LINK type veth peer name uplink netns $NAME
  ip address add $MACHINE/30 dev $LINK
  ip link set $LINK up
  ip -n $NAME address add $NODE/30 dev uplink
  ip -n $NAME link set lo up
  ip -n $NAME link set uplink up
  ip -n $NAME route add default via $MACHINE
  echo 1 >/proc/sys/net/ipv4/ip_forward # as Docker does
  echo 1 >/proc/sys/net/ipv4/conf/$LINK/route_localnet
  rule nat PREROUTING -i $LINK -d $MACHINE -p tcp -j DNAT --to-destination 127.0.0.1
  rule nat OUTPUT -d $MACHINE -p tcp -j DNAT --to-destination 127.0.0.1 # the same address means the same for both
  rule nat POSTROUTING -s $NODE ! -o $LINK -j MASQUERADE
  rule filter INPUT -i $LINK -j ACCEPT
  rule filter FORWARD -i $LINK -j ACCEPT
  rule filter FORWARD -o $LINK -j ACCEPT
}

groups() {
  local folder file
  for folder in $(cgroups); do
    mkdir -p "$folder/$NAME"
    for file in cpuset.cpus cpuset.mems; do # of version 1, where they begin empty and then nothing can run
      if [ -e "$folder/$NAME/$file" ] && [ ! -s "$folder/$NAME/$file" ]; then
        cat "$folder/$file" >"$folder/$NAME/$file" 2>/dev/null || true
      fi
    done
  done
}

serve() {
  # Two that start it at the same time: the second finds that it is done.
  exec 9>>"$FOLDER.serving"
  flock --nonblock 9 || exit 0
  exec 8>>"$FOLDER.users"
  trap clean EXIT
  trap 'exit 143' TERM INT HUP
  clean
  mkdir -p "$FOLDER/log"
  chmod 700 "$FOLDER"
  network
  groups
  nsenter --net=/run/netns/$NAME unshare --mount --pid --fork --kill-child --mount-proc \
    "$0" node "$FOLDER" >"$FOLDER/log/node" 2>&1 8>&- 9>&- &
  local node=$!
  flock 8
  rm -f "$FOLDER/kubeconfig"
  kill -KILL $node
  wait $node 2>/dev/null || true
}

token() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; }

account() { # USER GROUP: a line for the API server, and a kubeconfig of that name
  local secret; secret=$(token)
  echo "$secret,$1,$1,\"$2\"" >>tokens.csv
  cat >"${1##*:}.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://$NODE:6443", certificate-authority: "$FOLDER/certificates/apiserver.crt"}}]
users: [{name: "$1", user: {token: "$secret"}}]
contexts: [{name: node, context: {cluster: node, user: "$1"}}]
current-context: node
YAML
}

keep() { # NAME WORD...: started again whenever it ends, as a node's own service manager does
  (
    while :; do
      "${@:2}" || echo "$1 ended with $?"
      sleep 0.5
    done
  ) >>"log/$1" 2>&1 </dev/null &
}

until_true() { # SECONDS WORD...
  local end=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then echo "not within $1 s: ${*:2}"; return 1; fi
    sleep 0.2
  done
}

pause_image() { # what holds a pod's namespaces: a program that sleeps, in an archive as Docker makes them
  mkdir pause
  tar --create --file pause/layer.tar --owner 0 --group 0 --directory "$BIN" pause
  local machine; machine=$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')
  echo "{\"architecture\":\"$machine\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/pause\"],\"User\":\"65535:65535\"}," \
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$(sha256sum <pause/layer.tar | cut -d' ' -f1)\"]}}" >pause/config.json
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$PAUSE\"],\"Layers\":[\"layer.tar\"]}]" >pause/manifest.json
  tar --create --directory pause manifest.json config.json layer.tar | ctr --address containerd.sock -n k8s.io images import -
}

containerd_settings() {
  mkdir cni hosts
  cat >cni/node.conflist <<JSON
{"cniVersion": "0.4.0", "name": "node", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$FOLDER/cni-data"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  # restrict_oom_score_adj: containers and small virtual machines may not lower the score of a process.
  cat >containerd.toml <<TOML
version = 2
root = "$FOLDER/containerd"
state = "$FOLDER/containerd-state"
[grpc]
address = "$FOLDER/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$PAUSE"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$CNI"
conf_dir = "$FOLDER/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "$FOLDER/hosts"
TOML
}

kubelet_settings() {
  local names=/etc/resolv.conf
  # systemd-resolved listens on the machine's loopback, which is not that of a pod.
  if [ -e /run/systemd/resolve/resolv.conf ]; then names=/run/systemd/resolve/resolv.conf; fi
  # No clusterDNS: there is none, so pods take the machine's name servers.
  cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$FOLDER/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
failCgroupV1: false
failSwapOn: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
syncFrequency: 10s
resolvConf: $names
YAML
}

node() { # the first process of the namespaces
  cd "$FOLDER"
  mount --make-rshared / # a pod's volumes must be seen by those who come later; the machine sees none of it
  BIN=$("$PROGRAMS" folder kubernetes)
  export PATH=$BIN:$PATH KUBECONFIG=$FOLDER/admin.conf
  mkdir -p certificates etcd
  mount -t tmpfs tmpfs etcd # it waits for the disk at each change
  account admin system:masters
  account system:node:node system:nodes
  account system:kube-controller-manager ""
  account system:kube-scheduler ""
  account system:kube-proxy ""
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  containerd_settings
  kubelet_settings

  keep etcd etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  keep kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir certificates \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file sa.pub \
    --service-account-signing-key-file sa.key --advertise-address $NODE --service-cluster-ip-range $SERVICES \
    --token-auth-file tokens.csv --authorization-mode Node,RBAC --allow-privileged \
    --kubelet-preferred-address-types InternalIP
  keep containerd containerd --config containerd.toml
  until_true 60 kubectl get --raw /readyz
  keep kube-controller-manager kube-controller-manager --kubeconfig kube-controller-manager.conf \
    --authentication-kubeconfig kube-controller-manager.conf --authorization-kubeconfig kube-controller-manager.conf \
    --service-account-private-key-file sa.key --use-service-account-credentials --leader-elect=false \
    --root-ca-file certificates/apiserver.crt
  keep kube-scheduler kube-scheduler --kubeconfig kube-scheduler.conf --leader-elect=false \
    --authentication-kubeconfig kube-scheduler.conf --authorization-kubeconfig kube-scheduler.conf
  keep kube-proxy kube-proxy --kubeconfig kube-proxy.conf --hostname-override node --cluster-cidr $PODS \
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
  until_true 30 test -S containerd.sock
  until_true 30 ctr --address containerd.sock version
  pause_image
  keep kubelet kubelet --kubeconfig node.conf --config kubelet.yaml --root-dir "$FOLDER/kubelet" \
    --hostname-override node --node-ip $NODE
  until_true 60 kubectl wait --for=condition=Ready node/node --timeout=10s
  until_true 60 kubectl get serviceaccount default
  cp admin.conf kubeconfig.part && mv kubeconfig.part kubeconfig
  while :; do wait || true; sleep 1; done
}

FOLDER=${2-}
case ${1-} in
  can) can ;;
  serve | node) # to its end: a shell that runs for long would go on reading a file that has changed meanwhile
    [[ $FOLDER == /* ]] || { echo "name a whole path" >&2; exit 2; }
    "$1"
    exit
    ;;
  *) sed -n '2,4s/^# *//p' "$0" >&2; exit 2 ;;
esac
