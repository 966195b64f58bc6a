"""Read the slices of a NIfTI file."""

import gzip
import math
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from scangan.core.counted import counted
from scangan.core.errors import Damaged, Rejected
from scangan.core.terminal import is_missing_package
from scangan.preprocessing.reading.floats import to_float32
from scangan.preprocessing.reading.masks import TO_INCLUDE, why_mask
from scangan.preprocessing.reading.nifti_affine import best_affine
from scangan.preprocessing.reading.raster import Frames
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Wanted, several_chosen

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

Array = npt.NDArray[Any]

MOST_VOXELS = 1 << 29
LARGEST_OFFSET = 1 << 28  # bytes before the voxels: the header and its extensions
FARTHEST = 1e30  # millimetres; a larger spacing is nonsense and may overflow
DISAGREE = 0.01  # of a voxel
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # per unit of the header's codes: metres, mm, microns


def read_nifti(data: bytes, wanted: Wanted, name: str = "") -> Frames:
    """Read the slices of a NIfTI-1 or NIfTI-2 file, one at a time.

    Slices are oriented as in DICOM. Axial: top is anterior, left is the patient's right. Coronal:
    top is superior, left is the patient's right. Sagittal: top is superior, left is anterior.

    Parameters
    ----------
    data : bytes
        The whole file, ``.nii`` or ``.nii.gz``.
    wanted : Wanted
        Its `included`, `axis`, `slices` and `volume`, which counts along the fourth dimension, then
        the fifth, and so on. A file with one slice gives that slice for any `axis`.
    name : str
        Path of the file below its class; it may suggest that the file is a mask.

    Yields
    ------
    frame : int
        Number of the slice: axial from inferior to superior, coronal from posterior to anterior,
        sagittal from left to right (the positive directions of the NIfTI standard).
    scan : Scan
        Pixels are the stored integers, the luma of colours, or float32, in which the volume's
        smallest finite value replaces values that are not finite.

    Raises
    ------
    Rejected
        The file is a mask, truncated, damaged, complex-valued, half of a pair, or declares more
        than 2**29 voxels; it has several volumes and `volume` is not set; or `slices` selects none.
    """
    try:
        yield from _slices(data, wanted, name)
    except (Rejected, MemoryError):
        raise
    except EOFError as error:
        raise Damaged("truncated gzip file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Damaged("damaged gzip file") from error
    except Exception as error:  # a header that no reader expected
        if is_missing_package(error):
            raise
        raise Damaged("damaged NIfTI: its header contradicts itself") from error


def _slices(data: bytes, wanted: Wanted, name: str) -> Frames:
    # Reading a gzip file inflates no more than requested.
    stream = gzip.GzipFile(fileobj=BytesIO(data)) if data[:2] == b"\x1f\x8b" else BytesIO(data)
    header = _header(cast("BinaryIO", stream))
    stored = _volume(cast("BinaryIO", stream), header, wanted.volume)
    if not wanted.included and not stored.dtype.fields and (reason := why_mask(stored.T, name)):
        raise Rejected(f"{reason}; {TO_INCLUDE}")
    affine, notes = best_affine(header)
    voxels, spacings, more = _upright(header, affine, stored)
    slope, intercept = _scaling(header)
    single = [axis for axis in range(3) if voxels.shape[axis] == 1]
    axis = single[0] if len(single) == 1 else AXES[wanted.axis]
    row_spacing, column_spacing = (spacings[k] for k in (2, 1, 0) if k != axis)
    known = all(1 / FARTHEST < side < FARTHEST for side in (row_spacing, column_spacing))
    count = voxels.shape[axis]
    chosen = several_chosen(wanted.slices, count, "slice")
    kind, fill = _kind(voxels)
    for number in chosen:
        plane = np.moveaxis(voxels, axis, 0)[number]
        pixels = _plain(plane[::-1, ::-1].T, kind, fill)
        inverted = pixels.dtype == np.uint8 and slope < 0  # bytes are shown as they are stored
        yield (
            number,
            Scan(
                255 - pixels if inverted else pixels,
                slope=slope,
                intercept=intercept,
                spacing=(row_spacing, column_spacing) if known else None,
                aspect=row_spacing / column_spacing if known else 1.0,
                notes=notes + more,
            ),
        )


def _header(stream: BinaryIO) -> "Nifti1Header":
    """Read the header; reject other formats and impossible sizes."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    head = stream.read(540)
    first, second = head[344:348], head[4:12]
    if first == b"ni1\0" or second.startswith(b"ni2\0"):
        raise Rejected("NIfTI header without its voxels (.hdr and .img); convert it to .nii")
    if first == b"n+1\0":
        # Without checks, as nibabel would print and repair what it finds.
        header = Nifti1Header(head[:348], check=False)
    elif second == b"n+2\0\r\n\x1a\n" and len(head) == 540:
        header = Nifti2Header(head, check=False)
    else:
        raise Rejected(
            "not a NIfTI file" if isinstance(stream, BytesIO) else "gzip file without NIfTI"
        )
    if not 1 <= header["dim"][0] <= 7:
        raise Damaged(f"damaged NIfTI: dim[0] is {header['dim'][0]}, not 1 to 7")
    shape = header.get_data_shape()
    if len(shape) < 2 or min(shape) < 1:
        raise Rejected(
            f"declares {'x'.join(map(str, shape)) or 'no'} voxels, which is not an image; correct it"
        )
    if math.prod(shape) > MOST_VOXELS:
        raise Rejected(
            f"declares {'x'.join(map(str, shape))} voxels; at most {MOST_VOXELS} are read; split it"
        )
    if not len(header.binaryblock) <= header["vox_offset"] <= LARGEST_OFFSET:
        raise Rejected(
            f"damaged NIfTI: its voxels start at byte {header['vox_offset']:g}; convert it again"
        )
    if 3000 <= header["intent_code"] < 3100:
        raise Rejected("CIFTI: connectivity data, not a scan")
    return header


def _volume(stream: BinaryIO, header: "Nifti1Header", volume: int | None) -> Array:
    """Return the stored values [X, Y, Z] of one volume."""
    from nibabel.nifti1 import data_type_codes

    shape = (*header.get_data_shape(), 1)
    spatial, volumes = shape[:3], math.prod(shape[3:])
    if volumes > 1 and volume is None:
        raise Rejected(f"{volumes} volumes; take one of them with --volume 0 to {volumes - 1}")
    volume = volume or 0
    if volume >= volumes:
        raise Rejected(f"--volume {volume} of {volumes}, which count from 0")
    code = int(header["datatype"])
    dtype = header.get_data_dtype() if code in data_type_codes.code else np.dtype(np.void)
    if not dtype.itemsize:
        raise Rejected(f"NIfTI data type {code} is not supported; convert it to float32")
    if dtype.kind == "c":
        raise Rejected("NIfTI of complex values; save their magnitude")
    size = math.prod(spatial) * dtype.itemsize
    stream.seek(int(header["vox_offset"]) + volume * size)
    body = stream.read(size)
    if len(body) < size:
        raise Damaged(f"truncated NIfTI: {len(body)} of {counted(size, 'byte')} of voxels")
    stream.read(1)  # the checksum of a gzip file follows the last byte
    return np.ndarray(spatial, dtype, body, order="F")


def _upright(
    header: "Nifti1Header", affine: npt.NDArray[np.float64], voxels: Array
) -> tuple[Array, list[float], tuple[str, ...]]:
    """Return a view of the voxels from left to right, posterior to anterior, inferior to superior.

    Also returns the millimetres between voxels, 0 if the file does not say, and notes on them.
    """
    from nibabel.orientations import apply_orientation, io_orientation

    with np.errstate(all="ignore"):  # a damaged affine may overflow
        try:
            orientation = io_orientation(affine)
        except np.linalg.LinAlgError as error:
            raise Rejected("damaged NIfTI: its affine has no valid rotation; correct it") from error
    # Axes without extent, such as the third one of a 2-D file, take the remaining places.
    left = iter(sorted({0, 1, 2} - set(orientation[:, 0])))
    for row in orientation:
        if np.isnan(row[0]):
            row[:] = next(left), 1
    unit = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    spacings, off = [0.0, 0.0, 0.0], False
    with np.errstate(all="ignore"):
        steps = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    for place, zoom, step in zip(orientation[:, 0], header.get_zooms(), steps, strict=False):
        size = abs(float(zoom)) if math.isfinite(zoom) else 0.0
        if header["sform_code"] > 0:
            off = off or abs(size - step) > DISAGREE * step
            size = size or step
        spacings[int(place)] = size * unit
    notes = ("pixdim and the sform disagree on the size of a voxel",) if off else ()
    return apply_orientation(voxels, orientation), spacings, notes


def _scaling(header: "Nifti1Header") -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope) or header.get_data_dtype().fields:
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise Rejected("damaged NIfTI: its scl_inter is not finite; correct it")
    return slope, intercept


def _kind(voxels: Array) -> tuple[npt.DTypeLike, float]:
    """Return the `Scan` type for the values, and for float32 the smallest finite value."""
    dtype = voxels.dtype
    if dtype.kind == "f":
        # Plane by plane, as a boolean volume would be large.
        planes = (plane.min(where=np.isfinite(plane), initial=np.inf) for plane in voxels.T)
        smallest = float(min(planes))
        if smallest == np.inf:
            raise Rejected("no finite value; leave the file out with --exclude")
        return np.float32, smallest
    if dtype.itemsize == 8 and not dtype.fields:
        low, high = int(voxels.min()), int(voxels.max())
        limits = np.iinfo(np.int32 if low < 0 else np.uint32)
        if low < limits.min or high > limits.max:
            raise Rejected("NIfTI of integers of more than 32 bits; convert it to float32")
        return limits.dtype, 0.0
    return np.int16 if dtype == np.int8 else dtype.newbyteorder("="), 0.0


def _plain(plane: Array, kind: npt.DTypeLike, fill: float) -> Array:
    """Return a slice as values of that type, or as the luma of its colours."""
    if plane.dtype.fields:
        from scangan.preprocessing.reading.opencv import luma

        return luma(np.stack([plane[name] for name in "RGB"], axis=-1))
    if plane.dtype.kind == "f":
        return to_float32(plane, fill)
    return plane.astype(kind, order="C")
