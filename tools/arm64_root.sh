#!/usr/bin/env bash
# Collect a Python with onnxruntime for ARM64, to run under qemu-aarch64-static (Debian's packages):
#     tools/arm64_root.sh FOLDER
# Needs root: it adds arm64 to the architectures that apt knows of. Nothing is installed.
set -euo pipefail
root=$1
test -e "$root/usr/bin/python" && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$root" && mkdir -p "$root"

dpkg --print-foreign-architectures | grep -q arm64 || dpkg --add-architecture arm64
apt-get -qq update
version=$(apt-cache depends python3:arm64 | sed -n 's/.*Depends: python3\.\([0-9]*\).*/\1/p' | head -1)
test -n "$version" || { echo "apt knows no python3:arm64" >&2; exit 1; }
packages=(python3.$version-minimal libpython3.$version-minimal libpython3.$version-stdlib
	libc6 libstdc++6 libgcc-s1 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5)
(cd "$work" && apt-get -qq download "${packages[@]/%/:arm64}")
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$root"; done
python3 -m pip download -q -c constraints.txt --only-binary=:all: --no-deps -d "$work" --python-version "3$version" \
	--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 numpy onnxruntime
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages"; done

# qemu shows the host's processor in these files, of which onnxruntime can make no ARM: one core,
# a Cortex-A72 (Raspberry Pi 4), whose integer products are the plain ones.
cpus=$root/sys/devices/system/cpu
mkdir -p "$cpus" "$root/proc"
for file in possible present kernel_max; do echo 0 > "$cpus/$file"; done
printf '%s\n' 'processor	: 0' 'Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid' \
	'CPU implementer	: 0x41' 'CPU architecture: 8' 'CPU variant	: 0x0' 'CPU part	: 0xd08' \
	'CPU revision	: 3' '' > "$root/proc/cpuinfo"
ln -s "python3.$version" "$root/usr/bin/python"
