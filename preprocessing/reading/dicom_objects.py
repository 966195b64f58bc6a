"""DICOM objects that hold pixels and are no scans: segmentations, doses, screenshots, localizers."""

from typing import Literal, NamedTuple

from scangan.preprocessing.reading.dicom_elements import Elements

Kind = Literal["no image", "unusual"]


class NoScan(NamedTuple):
    """What an object is instead of a scan, and whether it may be taken for one if asked for."""

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
}
# By SOP class (PS3.4, B.5), where pixels can be in it.
CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.5": "a surface segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map segmentation",
    "1.2.840.10008.5.1.4.1.1.66.8": "a height map segmentation",
    "1.2.840.10008.5.1.4.1.1.67": "a real world value mapping",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose grid",
}
CLASS_GROUPS = {  # all classes below these
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
}
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# By ImageType (C.7.6.1.1.2, C.8.2.1.1.1, and what makers write there). These are pictures of
# something: they may be taken if somebody asks for them.
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
    "DOSE_INFO": "a dose report",
    "DOSE INFO": "a dose report",
    "PATIENT PROTOCOL": "a protocol",
    "CT_SOM5 PROT": "a protocol",
}
SLIDE_TYPES = {
    "LABEL": "the label of a slide",
    "OVERVIEW": "the overview of a slide",
    "THUMBNAIL": "the thumbnail of a slide",
}


def what_instead(elements: Elements, sop_class: str) -> NoScan | None:
    """Say what an object is, where its class, its modality or its image type says that it is no scan.

    Parameters
    ----------
    elements : Elements
        Of the file.
    sop_class : str
        Its SOP Class UID.
    """
    groups = (what for start, what in CLASS_GROUPS.items() if sop_class.startswith(start))
    what = CLASSES.get(sop_class) or next(groups, None)
    modality = elements.word("Modality")
    what = what or MODALITIES.get(modality)
    if what:
        return NoScan(f"{what}, not a scan", "no image")
    if sop_class == RT_IMAGE or modality == "RTIMAGE":
        return NoScan("an RT image, which shows the treatment's view", "unusual")
    types = IMAGE_TYPES | (SLIDE_TYPES if sop_class == WHOLE_SLIDE else {})
    for word in elements.words("ImageType"):
        if word in types:
            return NoScan(f"{types[word]} (ImageType {word})", "unusual")
    return None
