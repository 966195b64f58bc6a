"""Take names off sets of scans that may be names of patients."""

import dataclasses
from pathlib import PurePath

from scangan.evaluation.scan_set import ScanSet


def anonymous(
    real: ScanSet, synthetic: ScanSet, train: ScanSet | None = None
) -> tuple[ScanSet, ScanSet, ScanSet | None]:
    """Return the sets without names that may be those of patients.

    Gone are the names of real files and folders, the folder that the synthetic scans lie in, and the
    names of classes that the synthetic scans lack: a class is a folder, too.
    """
    hidden = {*real.classes, *(train.classes if train else ())} - set(synthetic.classes)
    other = {name: f"other class {n}" for n, name in enumerate(sorted(hidden), start=1)}

    def nameless(scans: ScanSet, name: str) -> ScanSet:
        classes = tuple(other.get(each, each) for each in scans.classes)
        return dataclasses.replace(scans, name=name, sources=(), classes=classes)

    made = dataclasses.replace(synthetic, name=PurePath(synthetic.name).name or "synthetic scans")
    return (
        nameless(real, "real scans"),
        made,
        nameless(train, "training scans") if train else None,
    )
