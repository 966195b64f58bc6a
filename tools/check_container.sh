#!/usr/bin/env bash
# Build the container and run it, without a registry: Debian's packages stand in for both base images.
# Needs root, and Debian's buildah, crun and debootstrap. Usage: tools/check_container.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
work=$(mktemp -d)
trap 'buildah rm --all >/dev/null; rm -rf "$work"' EXIT

debootstrap --no-check-gpg --variant=minbase --include=python3,python3-venv,ca-certificates bookworm \
  "$work/build" http://deb.debian.org/debian >"$work/log" || { tail "$work/log"; exit 1; }

# What Google's distroless image holds: Python, the C++ library and certificates, but no shell.
runtime=$work/runtime lib=usr/lib/x86_64-linux-gnu
mkdir -p "$runtime"/{etc,proc,sys,dev,usr/bin,usr/lib64,$lib} && mkdir -m 1777 "$runtime/tmp"
ln -s usr/lib "$runtime/lib" && ln -s usr/lib64 "$runtime/lib64"
(
  cd "$work/build"
  cp -a usr/bin/python3 usr/bin/python3.11 "$runtime/usr/bin"
  cp -a usr/lib/python3.11 "$runtime/usr/lib"
  cp -a etc/ssl "$runtime/etc"
  cp -L lib64/ld-linux-x86-64.so.2 "$runtime/usr/lib64"
  for name in c m dl pthread rt util resolv nss_dns nss_files z expat ssl crypto ffi uuid; do
    find -L $lib -maxdepth 1 -name "lib$name.so.[0-9]" -exec cp -L {} "$runtime/$lib" \;
  done
  cp -L $lib/lib{stdc++.so.6,gcc_s.so.1,bz2.so.1.0,lzma.so.5,sqlite3.so.0} "$runtime/$lib"
)
echo 'nonroot:x:65532:65532::/tmp:/sbin/nologin' >"$runtime/etc/passwd"
for image in build runtime; do
  container=$(buildah from scratch)
  cp -a "$work/$image/." "$(buildah mount "$container")"
  buildah commit --quiet "$container" "localhost/scangan-$image" >/dev/null
done

make .wheel/.built
buildah build --tag scangan --network host --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --build-arg BUILD=localhost/scangan-build --build-arg RUNTIME=localhost/scangan-runtime . >"$work/log" 2>&1 ||
  { tail "$work/log"; exit 1; }
buildah images | grep scangan

mkdir -m 777 "$work/scans"
container=$(buildah from scangan)
buildah run --user 65532 --network none --volume "$work/scans:/work" "$container" -- \
  /usr/bin/python3 -m scangan.cli generate --class 2 --count 100 --out /work/scans
test "$(find "$work/scans/scans/no_tumor" -user 65532 -name '*.png' | wc -l)" = 100
