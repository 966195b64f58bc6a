"""Encode scans as DICOM Secondary Capture, marked as synthetic."""

import io
import json
import uuid

import numpy as np
import numpy.typing as npt

from scangan.artifacts.records import to_told
from scangan.artifacts.scan_folder import Plan
from scangan.core.sheet import NOTICE

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "scangan")


def made_up_uid(*parts: object) -> str:
    """Derive a UID from its parts (DICOM PS3.5 B.2: 2.25. and a UUID as a number)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, json.dumps(parts)).int}"


def encode_dicom(image: npt.NDArray[np.uint8], plan: Plan, which: int, index: int) -> bytes:
    """Encode one scan (DICOM PS3.3 A.8.1, Secondary Capture Image).

    The patient is made up. A study stands for a model and a seed, a series for a class. All UIDs
    follow from the model, seed, class and index.

    Parameters
    ----------
    image : ndarray
        uint8 [H, W].
    plan : Plan
        The plan that the scan belongs to.
    which : int
        Position of the scan's span in the plan.
    index : int
        Index of the scan in its class.

    Returns
    -------
    bytes
        The whole file.

    Raises
    ------
    ModuleNotFoundError
        pydicom is not installed.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    record, draw = plan.record(which, index), plan.request.draw
    # A backslash separates values, and control characters are forbidden.
    name = "".join(c if c.isprintable() and c != "\\" else "_" for c in record.class_name or "scan")
    study = [plan.model, draw.seed, draw.truncation, draw.paired]
    uid = made_up_uid("instance", *study, record.class_name, index)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(made_up_uid("implementation"))
    meta.ImplementationVersionName = "SCANGAN"
    scan = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    scan.SpecificCharacterSet = "ISO_IR 192"
    scan.ImageType = ["DERIVED", "SECONDARY"]
    scan.SOPClassUID, scan.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    scan.SyntheticData = "YES"
    scan.StudyDate = scan.StudyTime = scan.AccessionNumber = scan.ReferringPhysicianName = ""
    scan.Modality, scan.ConversionType = "OT", "SYN"
    scan.Manufacturer = "scangan"
    scan.StudyDescription = "Synthetic scans of a generative model"
    scan.SeriesDescription = f"Synthetic: {name}"[:64]
    scan.DerivationDescription = NOTICE
    scan.PatientName, scan.PatientID = "Synthetic^Nobody", f"SYNTHETIC-{plan.model[:12]}"
    scan.PatientBirthDate = scan.PatientSex = ""
    scan.StudyInstanceUID = made_up_uid("study", *study)
    scan.SeriesInstanceUID = made_up_uid("series", *study, record.class_name)
    scan.StudyID = "1"
    scan.SeriesNumber = 1 + (plan.request.spans[which].number or 0)
    # InstanceNumber has 32 bits; larger indices are only in ImageComments.
    scan.InstanceNumber = index + 1 if index < 2**31 - 1 else None
    scan.PatientOrientation = scan.Laterality = ""  # required, but unknown
    scan.ImageComments = json.dumps(to_told(record))
    scan.BurnedInAnnotation = "NO"
    scan.Rows, scan.Columns = image.shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME2"
    scan.BitsAllocated = scan.BitsStored = 8
    scan.HighBit, scan.PixelRepresentation = 7, 0
    scan.PixelData = image.tobytes()
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()
