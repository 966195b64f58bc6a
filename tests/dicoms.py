"""DICOM files made for a test, those among them that pydicom would not write."""

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

VALUES = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
NUMBERS = {  # tag: which element, and what stands in it before
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "WindowCenter": "40",
    "WindowWidth": "400",
    "PixelSpacing": "1\\1",
    "NumberOfFrames": "1",
}


def dicom(pixels=VALUES, syntax=ExplicitVRLittleEndian, raw=None, **elements):
    """The bytes of a file; None leaves an element out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    bits = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = pixels.tobytes() if raw is None else encapsulate([raw])
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is not None:
            setattr(dataset, keyword, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=False)
    return bytes(128) + b"DICM" + stream.getvalue().removeprefix(bytes(128) + b"DICM")


def with_text(keyword, text, syntax=ExplicitVRLittleEndian, **elements):
    """A file in which an element of numbers holds this text, which pydicom would not write."""
    data = dicom(syntax=syntax, **{keyword: NUMBERS[keyword]} | elements)
    tag = pydicom.tag.Tag(keyword)
    start = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    at = data.index(start) + 4
    encoded = text.encode("latin-1")
    encoded += b" " * (len(encoded) % 2)
    if syntax == ExplicitVRLittleEndian:  # the kind, then a length of two bytes
        old = int.from_bytes(data[at + 2 : at + 4], "little")
        head = data[at : at + 2] + len(encoded).to_bytes(2, "little")
        return data[:at] + head + encoded + data[at + 4 + old :]
    old = int.from_bytes(data[at : at + 4], "little")
    return data[:at] + len(encoded).to_bytes(4, "little") + encoded + data[at + 4 + old :]
