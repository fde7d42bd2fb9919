#!/bin/sh
# Builds Pricing model v8 of the folder that this script lies in, and pushes it: see --help.
set -eu

image="quay.io/team/pricing-model-b580392e1b40b08f9ac6:v8"
platforms="linux/amd64,linux/arm64"
push=yes

usage() {
    cat <<'END'
Usage: create_docker_image.sh [--load [PLATFORM]] [--image NAME] [--help]

Builds the image with Docker's buildx for all platforms of its target and pushes it.

  --load [PLATFORM]  build for one platform alone, this machine's or the one named, put the image into the local
                     Docker, and push nothing
  --image NAME       another name for the image
  --help             this text

Environment:
  REGISTRY_USER, REGISTRY_TOKEN  sign in to the image's registry with these first
  BUILDX_BUILDER                 the builder of buildx to use, such as a remote one
  PIP_CONFIG_FILE                pip's settings (indexes and their accounts) for the build, else your own pip.conf
  PIP_CERT, SSL_CERT_FILE        further certificate authorities for the build

What the last ones name is given to the build as secrets, and no layer has it.
END
}

fail() {
    echo "create_docker_image.sh: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --load)
            push=
            platforms=
            case ${2:-} in
                */*)
                    platforms=$2
                    shift
                    ;;
            esac
            ;;
        --image)
            [ $# -gt 1 ] || fail "--image needs a name"
            image=$2
            shift
            ;;
        --help)
            usage
            exit
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done

docker buildx version >/dev/null 2>&1 ||
    fail "Docker's buildx is not there: see https://docs.docker.com/go/buildx/"

if [ -n "$push" ] && [ -n "${REGISTRY_USER:-}" ] && [ -n "${REGISTRY_TOKEN:-}" ]; then
    printf '%s' "$REGISTRY_TOKEN" | docker login --username "$REGISTRY_USER" --password-stdin "${image%%/*}"
fi

# Docker's own builder makes images of several platforms only where containerd keeps them.
case $platforms in
    *,*)
        driver=$(docker buildx inspect | sed -n 's/^Driver: *//p')
        if [ "$driver" = docker ] && ! docker info 2>/dev/null | grep -q io.containerd.snapshotter; then
            BUILDX_BUILDER=publisher-laptop
            export BUILDX_BUILDER
            docker buildx inspect >/dev/null 2>&1 ||
                docker buildx create --name "$BUILDX_BUILDER" --driver docker-container >/dev/null
        fi
        docker buildx inspect --bootstrap >/dev/null || fail "the builder of buildx does not start"
        known=$(docker buildx inspect | sed -n 's/([^)]*)//g; s/^Platforms: *//p' | tr -d ' *' | tr '\n' ,)
        for platform in $(echo "$platforms" | tr ',' ' '); do
            case ",$known," in
                *",$platform,"*) ;;
                *) fail "the builder cannot build for $platform: docker run --privileged --rm tonistiigi/binfmt --install all" ;;
            esac
        done
        ;;
esac

set -- --tag "$image" --provenance=false
[ -z "$platforms" ] || set -- "$@" --platform "$platforms"
settings=${PIP_CONFIG_FILE:-${XDG_CONFIG_HOME:-${HOME:-}/.config}/pip/pip.conf}
authorities=${PIP_CERT:-${SSL_CERT_FILE:-}}
[ ! -f "$settings" ] || set -- "$@" --secret "id=pip.conf,src=$settings"
[ ! -f "$authorities" ] || set -- "$@" --secret "id=ca.pem,src=$authorities"
if [ -n "$push" ]; then
    set -- "$@" --push
else
    set -- "$@" --load
fi

cd "$(dirname "$0")"
docker buildx build "$@" .
echo "Run it with: docker run --rm $image"
