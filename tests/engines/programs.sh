#!/bin/bash
# Engines and peers that are had as Go modules: built once, into a cache folder outside of the checkout, by version.
#   programs.sh build PART...    build what is not there yet: buildkit (with buildx), kaniko, crane, kubernetes; minutes each
#   programs.sh built PART       whether all of it is there
#   programs.sh wants-go         whether something is missing that the tests need, and no Go is there to build it
#   programs.sh folder PART      where its programs are, or would be
#   programs.sh versions         lines of "name version"
# Any Go from 1.21 on: it fetches a newer toolchain by itself where a module asks for one.
set -euo pipefail

declare -A VERSIONS=([buildkit]=v0.26.3 [buildx]=v0.30.1 [kaniko]=v1.24.0 [crane]=v0.20.7 [kubernetes]=v1.34.2)
declare -A PROGRAMS=([buildkit]="buildkitd buildx" [kaniko]="kaniko-executor" [crane]="crane"
  [kubernetes]="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl pause")
# What Kubernetes's own module has beside it, by replacements that do not count in a module that requires it.
STAGED="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
  code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib
  dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy
  kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin
  sample-controller"
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/publisher-engines

folder() {
  case $1 in
    buildkit) echo "$CACHE/buildkit-${VERSIONS[buildkit]}+buildx-${VERSIONS[buildx]}/bin" ;;
    kaniko | crane | kubernetes) echo "$CACHE/$1-${VERSIONS[$1]}/bin" ;;
    *) echo "programs.sh: $1 is none of ${!PROGRAMS[*]}" >&2; return 2 ;;
  esac
}

built() { # PART: all of its programs are there
  local folder; folder=$(folder "$1")
  for program in ${PROGRAMS[$1]}; do [ -x "$folder/$program" ] || return 1; done
}

find_go() { # prints a Go that is new enough
  local go version
  for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go "$HOME/go/bin/go"; do
    [ -x "$go" ] || continue
    version=$("$go" env GOVERSION 2>/dev/null) || continue
    if [[ $version =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 21 ]; then echo "$go"; return; fi
  done
  echo "Go 1.21 or newer is missing: https://go.dev/dl, or apt-get install golang-go (on Debian 12: -t bookworm-backports)" >&2
  return 1
}

module() { # MODULE VERSION...: a module of our own that requires exactly these
  {
    echo "module engines.test"
    echo "go 1.24.3"
    while [ $# -gt 0 ]; do echo "require $1 $2"; shift 2; done
  } >go.mod
}

compile() { # VARIABLE=VERSION... -- PACKAGE...: the programs tell their versions, which else only a release does
  local flags="-s -w"
  while [ "$1" != -- ]; do flags+=" -X $1"; shift; done
  "$GO" build -mod=mod -trimpath -ldflags "$flags" -o bin/ "${@:2}"
}

buildkit() { # both in one module: each alone would choose other versions of what they share
  module github.com/docker/buildx "${VERSIONS[buildx]}" github.com/moby/buildkit "${VERSIONS[buildkit]}"
  compile "github.com/docker/buildx/version.Version=${VERSIONS[buildx]}" \
    "github.com/moby/buildkit/version.Version=${VERSIONS[buildkit]}" -- \
    github.com/docker/buildx/cmd/buildx github.com/moby/buildkit/cmd/buildkitd
}

kaniko() { # by an exact require: its module's own replacements make "go install" refuse it
  module github.com/GoogleContainerTools/kaniko "${VERSIONS[kaniko]}"
  compile "github.com/GoogleContainerTools/kaniko/pkg/version.version=${VERSIONS[kaniko]}" -- \
    github.com/GoogleContainerTools/kaniko/cmd/executor
  mv bin/executor bin/kaniko-executor
}

crane() {
  GOBIN=$PWD/bin "$GO" install -trimpath -ldflags "-s -w" "github.com/google/go-containerregistry/cmd/crane@${VERSIONS[crane]}"
}

kubernetes() { # the server parts and the command line, which all tell the one version
  local version=${VERSIONS[kubernetes]} name=k8s.io/component-base/version part
  module k8s.io/kubernetes "$version"
  for part in $STAGED; do echo "replace k8s.io/$part => k8s.io/$part v0.${version#v1.}"; done >>go.mod
  compile "$name.gitVersion=$version" "$name.gitMajor=1" "$name.gitMinor=$(cut -d. -f2 <<<"$version")" -- \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl} || return
  mkdir pause # what Kubernetes builds of C, to need no compiler for that
  cat >pause/pause.go <<'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
GO
  compile -- ./pause
}

build() { # side by side, because much of the time goes into downloads; by xargs, so that ^C ends them all
  local missing=()
  for part in "$@"; do built "$part" || missing+=("$part"); done
  [ ${#missing[@]} = 0 ] && return
  GO=${GO:-$(find_go)}
  # Debian and Ubuntu forbid Go to fetch a newer toolchain unless it is asked to.
  export GO CGO_ENABLED=0 GOTOOLCHAIN=${GOTOOLCHAIN:-auto} GOFLAGS=
  printf '%s\n' "${missing[@]}" | xargs -P 2 -n 1 "$0" build-one
}

build_one() {
  local folder work
  folder=$(folder "$1")
  mkdir -p "$(dirname "$folder")"
  work=$(mktemp -d "$(dirname "$folder")/.part.XXXXXX")
  echo "  building $(basename "$(dirname "$folder")") with $("$GO" env GOVERSION), in minutes"
  if (cd "$work" && mkdir bin && "$1"); then
    rm -rf "$folder" && mv -T "$work/bin" "$folder" # whole or not at all
    rm -rf "$work"
  else
    rm -rf "$work"
    return 1
  fi
}

case ${1-} in
  build) shift; build "$@" ;;
  build-one) build_one "$2" ;; # of build's own
  built) built "${2?name a part}" ;;
  wants-go) { ! built buildkit || ! built kaniko || ! built kubernetes; } && ! find_go >/dev/null 2>&1 ;;
  folder) folder "${2?name a part}" ;;
  versions) for name in "${!VERSIONS[@]}"; do echo "$name ${VERSIONS[$name]}"; done | sort ;;
  *) sed -n '2,8s/^# *//p' "$0" >&2; exit 2 ;;
esac
