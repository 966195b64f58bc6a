"""Tell from the first bytes of a file whether it may hold more than 8 bits."""

from scangan.core.address import Place
from scangan.core.formats import head_of_scan

PNG_DEPTH = 24  # position of the bits per sample in a PNG


def may_be_deep(path: str | Place) -> bool:
    """Whether the file may decode to a scan of more than 8 bits; raises as `head_of_scan` does."""
    head, form = head_of_scan(path)
    return form in ("tiff", "dicom", "nifti") or (
        form == "png" and head[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10"
    )
