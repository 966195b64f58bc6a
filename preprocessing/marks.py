"""Scans that gen-scans made, by the manifest that lies with them.

PNG and DICOM files say by themselves that they are synthetic, and their readers see it. Files that
were saved anew have lost that, but the manifest still names them.
"""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MANIFESTS = ("manifest.jsonl", "manifest-*-of-*.jsonl")


def named_synthetic(source: Path, files: Iterable[str]) -> frozenset[str]:
    """Find the files that a manifest of gen-scans names, in whatever format they are now.

    Parameters
    ----------
    source : Path
        The folder that the files are relative to.
    files : iterable of str
        With ``/``.

    Returns
    -------
    frozenset of str
        Those among `files` that are synthetic.
    """
    paths = [PurePosixPath(file) for file in files]
    folders = {folder for path in paths for folder in path.parents}
    made = {
        str(folder / stem)
        for folder in folders
        for pattern in MANIFESTS
        for manifest in sorted((source / folder).glob(pattern))
        for stem in _stems(manifest)
    }
    return frozenset(str(path) for path in paths if str(path.with_suffix("")) in made)


def _stems(manifest: Path) -> Iterable[str]:
    """The paths, without their endings, that a manifest names; none where it is somebody else's."""
    try:
        with manifest.open(encoding="utf-8") as lines:
            for line in lines:
                told = json.loads(line)
                if not isinstance(told, dict) or told.get("synthetic") is not True:
                    return
                yield str(PurePosixPath(told.get("member") or told["file"]).with_suffix(""))
    except (OSError, ValueError, KeyError, TypeError):
        return
