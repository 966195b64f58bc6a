#!/usr/bin/env bash
# Build an sdist, a wheel out of it, install that in an empty environment, and run the quick tests of the
# sdist with what is installed. Takes an sdist that is there, too: tools/check_sdist.sh dist/*.tar.gz
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
unset PYTHONPATH VIRTUAL_ENV

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q -c constraints.txt build
if [ $# = 0 ]; then
    "$work/venv/bin/python" -m build --sdist -o "$work" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    rm -rf ./*.egg-info
else
    cp "$1" "$work"
fi
mkdir "$work/unpacked"
tar xzf "$work"/*.tar.gz -C "$work/unpacked" --strip-components 1
"$work/venv/bin/python" -m build --wheel -o "$work/wheel" "$work/unpacked" > "$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
"$work/venv/bin/pip" install -q -c constraints.txt "$(echo "$work"/wheel/*.whl)[dev]"

# Without the sources: what is imported is what was installed.
cd "$work/unpacked"
rm -rf cli core artifacts preprocessing training export runtime evaluation build ./*.egg-info
"$work/venv/bin/python" -m pytest -q -n auto --dist loadfile -m "not slow"
