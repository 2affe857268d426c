#!/bin/sh
# A base image from Debian's packages, for machines that reach a Debian mirror but no registry.
# Usage (as root): debian_base.sh [IMAGE [MIRROR]]. Needs debootstrap and a Docker engine.
set -eu
image=${1:-relrec-base:bookworm}
mirror=${2:-http://deb.debian.org/debian}
docker=${DOCKER:-docker}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,tzdata,netbase \
    bookworm "$folder/root" "$mirror" >"$folder/log" 2>&1 || { tail -n 20 "$folder/log" >&2; exit 1; }
cd "$folder/root"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/locale/*
tar -c . | "$docker" import -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    -c 'ENV LANG=C.UTF-8' -c 'CMD ["python3"]' - "$image"
