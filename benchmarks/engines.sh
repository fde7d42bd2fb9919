#!/bin/bash
# The peers of the benchmarks, built from Go modules: engines.sh DIR puts buildkitd, buildx and crane into DIR/bin.
# About three minutes on two cores; what is there already is left as it is. Go 1.24 or newer.
set -eu
BUILDKIT=${BUILDKIT:?version, such as v0.26.3} BUILDX=${BUILDX:?version} CRANE=${CRANE:?version}
mkdir -p "$1/bin"
out=$(cd "$1/bin" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0

if [ ! -x "$out/buildkitd" ] || [ ! -x "$out/buildx" ]; then
  # Both in one module: each alone would choose other versions of what they share.
  cd "$work"
  cat >go.mod <<M
module benchmarks.local/buildkit

go 1.24.0

require (
	github.com/docker/buildx $BUILDX
	github.com/moby/buildkit $BUILDKIT
)
M
  mkdir bin
  go build -mod=mod -trimpath -ldflags "-s -w" -o bin/ github.com/docker/buildx/cmd/buildx github.com/moby/buildkit/cmd/buildkitd
  mv bin/* "$out/" # whole or not at all
fi
[ -x "$out/crane" ] || GOBIN=$out go install -trimpath -ldflags "-s -w" "github.com/google/go-containerregistry/cmd/crane@$CRANE"
