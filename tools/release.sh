#!/usr/bin/env bash
# Make a release in dist/: sdist and wheel (built twice, with equal bytes), SBOM, checksums, tag.
# Uploads nothing. Run by `make release`, from a clean checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
say() { echo "release $version: $*"; }

test -z "$(git status --porcelain)" || { say "the checkout has changes; commit them first"; exit 1; }
grep -q "^## $version " CHANGELOG.md || { say "CHANGELOG.md has no section '## $version'; write one"; exit 1; }
! grep -q "^## $version (unreleased)" CHANGELOG.md || { say "CHANGELOG.md calls $version unreleased; date it"; exit 1; }
grep -q "^version: $version$" CITATION.cff || { say "CITATION.cff names another version; mend it"; exit 1; }
if git rev-parse -q --verify "refs/tags/v$version" > /dev/null; then
    say "the tag v$version is there; raise the version in pyproject.toml"
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q -c constraints.txt build cyclonedx-bom
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
for turn in 1 2; do
    # From the commit alone, and from another folder each time: neither may show in the bytes. The
    # modes of files do, so they are set.
    mkdir "$work/$turn"
    git archive HEAD | tar x -C "$work/$turn"
    make -s -C "$work/$turn" web
    test -s "$work/$turn/runtime/web/built/page.js" || { say "scangan demo needs its script; install npm"; exit 1; }
    chmod -R u=rwX,go=rX "$work/$turn"
    (cd "$work/$turn" && "$work/venv/bin/python" -m build -o "$work/dist$turn" > "$work/log$turn" 2>&1) ||
        { cat "$work/log$turn"; exit 1; }
    "$work/venv/bin/python" tools/same_bytes.py "$work/dist$turn"/*.tar.gz
done
for file in "$work"/dist1/*; do
    cmp "$file" "$work/dist2/$(basename "$file")" || { say "two builds differ: it is not reproducible"; exit 1; }
done

rm -rf dist
cp -r "$work/dist1" dist
tools/check_sdist.sh dist/*.tar.gz
# What an install of the wheel brings: the runtime, as most people have it.
"$python" -m venv "$work/run"
# By its name: an install by path would write this machine's folders into the SBOM.
"$work/run/bin/pip" install -q -c constraints.txt --find-links dist "scangan[cpu]==$version"
"$work/venv/bin/cyclonedx-py" environment "$work/run/bin/python" --output-reproducible -o dist/sbom.json
(cd dist && sha256sum -- *.tar.gz *.whl sbom.json > SHA256SUMS && cat SHA256SUMS)
git tag -a "v$version" -m "scangan $version"
say "made in dist/, and tagged v$version"
say "next: python -m twine upload dist/*.whl dist/*.tar.gz, and push the tag"
