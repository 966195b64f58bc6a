"""Tell from the first bytes of a file whether it may hold more than 8 bits."""

from pathlib import Path

from scangan.core.errors import Rejected, Unreadable
from scangan.core.formats import head_of_scan

PNG_DEPTH = 24  # position of the bits per sample in a PNG


def may_be_deep(path: str | Path) -> bool:
    """Whether the file may decode to a scan of more than 8 bits; False if it would be rejected."""
    try:
        head, form = head_of_scan(path)
    except Unreadable:
        raise
    except Rejected:
        return False
    return form in ("tiff", "dicom", "nifti") or (
        form == "png" and head[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10"
    )
