"""Recognise scans from gen-scans by the manifest next to them.

PNG and DICOM files contain a mark that they are synthetic, which the readers see. Files that were
saved again have lost it, but the manifest still lists them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from scangan.artifacts.manifest import manifests_beside, without_suffixes
from scangan.core.address import Place
from scangan.core.files import opened_lines


def named_synthetic(source: Place, files: Sequence[str]) -> frozenset[str]:
    """Find the files that a manifest of gen-scans lists, in any format.

    Parameters
    ----------
    source : Path or Address
        The folder that the files are relative to.
    files : sequence of str
        Paths with ``/``.

    Returns
    -------
    frozenset of str
        Those among `files` that are synthetic.
    """
    made = {
        str(folder / stem)
        for folder, manifest in manifests_beside(source, files)
        for stem in _stems(manifest)
    }
    if not made:
        return frozenset()
    return frozenset(file for file in files if without_suffixes(PurePosixPath(file)) in made)


def _stems(manifest: Place) -> Iterable[str]:
    """Return the paths in a manifest, without suffixes; none if gen-scans did not write it."""
    try:
        with opened_lines(manifest) as lines:
            for line in lines:
                told = json.loads(line)
                if not isinstance(told, dict) or told.get("synthetic") is not True:
                    return
                yield without_suffixes(PurePosixPath(told.get("member") or told["file"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
