"""Recognise DICOM objects that are not scans: segmentations, doses, screenshots, localizers."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["no image", "unusual"]


class NoScan(NamedTuple):
    """What an object is instead of a scan, and whether the user may still ask to take it as one."""

    what: str
    kind: Kind


# By Modality (C.7.3.1.1.1): none of these shows a patient.
MODALITIES = {
    "SEG": "a segmentation",
    "RTSEGANN": "a segmentation",
    "RTDOSE": "an RT dose grid",
    "RTSTRUCT": "an RT structure set",
    "RTPLAN": "an RT plan",
    "PLAN": "a plan",
    "PR": "a presentation state",
    "SR": "a structured report",
    "KO": "a key object selection",
    "DOC": "a document",
    "REG": "a registration",
    "FID": "a set of fiducials",
    "RWV": "a real world value mapping",
    "ANN": "a set of annotations",
    "M3D": "a 3-D model",
    "HC": "a printout",
}
# By SOP class (PS3.4, B.5).
CLASSES = {
    "1.2.840.10008.5.1.4.1.1.4.2": "MR spectroscopy",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.1": "a registration",
    "1.2.840.10008.5.1.4.1.1.66.2": "a set of fiducials",
    "1.2.840.10008.5.1.4.1.1.66.3": "a registration",
    "1.2.840.10008.5.1.4.1.1.66.6": "a tractography",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.5": "a surface segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map segmentation",
    "1.2.840.10008.5.1.4.1.1.66.8": "a height map segmentation",
    "1.2.840.10008.5.1.4.1.1.67": "a real world value mapping",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose grid",
    "1.2.840.10008.5.1.4.1.1.481.3": "an RT structure set",
    "1.2.840.10008.5.1.4.1.1.481.4": "an RT treatment record",
    "1.2.840.10008.5.1.4.1.1.481.5": "an RT plan",
    "1.2.840.10008.5.1.4.1.1.481.8": "an RT plan",
}
CLASS_GROUPS = {  # all classes below these
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
    "1.2.840.10008.5.1.4.1.1.9.": "a waveform",
}
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# By ImageType (C.7.6.1.1.2, C.8.2.1.1.1, and vendors' own values). These are pictures, so the user may
# ask to take them. For some, vendors write "_" instead of a space.
IMAGE_TYPES = {
    "LOCALIZER": "a localizer",
    "SCOUT": "a localizer",
    "TOPOGRAM": "a localizer",
    "MOSAIC": "a mosaic of many slices (dcm2niix converts it to NIfTI)",
    "SCREEN SAVE": "a screenshot",
    "SCREENSAVE": "a screenshot",
    "SCREENSHOT": "a screenshot",
    "SCREEN SHOT": "a screenshot",
    "SCREEN CAPTURE": "a screenshot",
    "SCREENCAPTURE": "a screenshot",
    "CSA REPORT": "a report",
    "DOSE REPORT": "a dose report",
    "DOSE INFO": "a dose report",
    "PATIENT PROTOCOL": "a protocol",
    "CT SOM5 PROT": "a protocol",
}
SLIDE_TYPES = {
    "LABEL": "the label of a slide",
    "OVERVIEW": "the overview of a slide",
    "THUMBNAIL": "the thumbnail of a slide",
}


def what_instead(sop_class: str, modality: str, image_type: Sequence[str]) -> NoScan | None:
    """Return what an object is if its class, modality or image type shows that it is not a scan.

    Parameters
    ----------
    sop_class : str
        SOP Class UID.
    modality : str
        Modality in upper case.
    image_type : sequence of str
        Values of ImageType in upper case.
    """
    groups = (what for start, what in CLASS_GROUPS.items() if sop_class.startswith(start))
    what = CLASSES.get(sop_class) or next(groups, None)
    what = what or MODALITIES.get(modality)
    if what:
        return NoScan(f"{what}, not a scan", "no image")
    if sop_class == RT_IMAGE or modality == "RTIMAGE":
        return NoScan("an RT image, which shows the treatment's view", "unusual")
    if sop_class == PARAMETRIC_MAP:
        return NoScan("a parametric map, computed from scans", "unusual")
    types = IMAGE_TYPES | (SLIDE_TYPES if sop_class == WHOLE_SLIDE else {})
    for word in image_type:
        if what := types.get(word.replace("_", " ")):
            return NoScan(f"{what} (ImageType {word})", "unusual")
    return None


def told_instead(head: bytes) -> NoScan | None:
    """Do the same for the first bytes of a file, by searching them instead of parsing.

    This finds the elements in little-endian files only, with explicit or implicit value
    representations. All three come early in a file, because elements are sorted.
    """
    sop_class = _value(head, 0x0008, 0x0016) or _value(head, 0x0002, 0x0002)
    words = _value(head, 0x0008, 0x0008).split("\\")
    modality = _value(head, 0x0008, 0x0060)
    return what_instead(sop_class, modality, [word.strip() for word in words])


def _value(head: bytes, group: int, element: int) -> str:
    """Return the text of the first element with that tag in upper case; empty if there is none."""
    tag = group.to_bytes(2, "little") + element.to_bytes(2, "little")
    found = re.search(re.escape(tag) + rb"(?:(?:UI|CS)(..)|(..)\0\0)", head, re.DOTALL)
    if not found:
        return ""
    length = int.from_bytes(found[1] or found[2], "little")
    text = head[found.end() : found.end() + length]
    return text.decode("ascii", errors="replace").strip(" \0").upper()
