"""A circle of the patient is a circle of the prepared scan, whatever the shape of the stored pixels."""

import io
import struct
import zlib

import cv2
import nibabel
import numpy as np
import pytest
from dicoms import dicom
from PIL import Image

from scangan.preprocessing import PrepOptions, PreprocessingError, prepare
from scangan.preprocessing.one_file import prepare_file
from scangan.preprocessing.summary_text import summary_lines

SIDE, RADIUS = 96, 30  # of the picture, in units of the smaller side of a pixel


def circle(down, across):
    """A disc on a noisy ground, its pixels `down` high and `across` wide: uint8 [H, W]."""
    rows, columns = np.mgrid[0 : SIDE / down, 0 : SIDE / across]
    y, x = (rows + 0.5) * down - SIDE / 2, (columns + 0.5) * across - SIDE / 2
    noise = np.random.default_rng(0).integers(0, 20, rows.shape)
    return np.where(x * x + y * y < RADIUS**2, 220, noise).astype(np.uint8)


def extent(image):
    """Rows and columns that the disc spans."""
    disc = image > 128
    return int(disc.any(1).sum()), int(disc.any(0).sum())


def saved(kind, image, **options):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def png(image, across, down, unit=0):
    """A PNG with a pHYs chunk: pixels a unit across, and down."""
    whole = cv2.imencode(".png", image)[1].tobytes()
    body = b"pHYs" + struct.pack(">IIB", across, down, unit)
    return (
        whole[:33] + struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body)) + whole[33:]
    )


def jfif(image, across, down):
    data = bytearray(saved("JPEG", image, quality=100))
    at = data.index(b"JFIF") + 7
    data[at : at + 5] = struct.pack(">BHH", 0, across, down)  # a ratio, no unit
    return bytes(data)


def bmp(image, across, down):
    data = bytearray(saved("BMP", image))
    data[38:46] = struct.pack("<ii", across, down)
    return bytes(data)


def nifti(image, down, across):
    affine = np.diag([-across, -down, 3.0, 1.0])
    volume = np.ascontiguousarray(image.T.astype(np.int16))[:, :, None]
    return nibabel.Nifti1Image(volume, affine).to_bytes()


TALL, WIDE = circle(2, 1), circle(1, 3)
US = {
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.1,
    "PhysicalDeltaY": 0.2,
}


def ultrasound():
    from pydicom.dataset import Dataset

    region = Dataset()
    for keyword, value in US.items():
        setattr(region, keyword, value)
    return dicom(TALL, SequenceOfUltrasoundRegions=[region])


FILES = {
    "DICOM spacing": dicom(TALL, PixelSpacing=[1.0, 0.5]),
    "DICOM imager": dicom(WIDE, ImagerPixelSpacing=[0.1, 0.3]),
    "DICOM nominal": dicom(TALL, NominalScannedPixelSpacing=[0.2, 0.1]),
    "DICOM ratio": dicom(TALL, PixelAspectRatio=["2", "1"]),
    "DICOM ultrasound": ultrasound(),
    "PNG": png(TALL, 2, 1),
    "PNG per metre": png(WIDE, 1000, 3000, 1),
    "TIFF": saved("TIFF", TALL, x_resolution=200, y_resolution=100, resolution_unit=3),
    "BigTIFF": saved("TIFF", TALL, x_resolution=200, y_resolution=100, big_tiff=True),
    "JPEG": jfif(WIDE, 1, 3),
    "BMP": bmp(TALL, 2000, 1000),
    "NIfTI": nifti(TALL, 2, 1),
}


def made(data, tmp_path, **options):
    file = tmp_path / "scan"
    file.write_bytes(data)
    asked = PrepOptions(size=64, **options)
    result = prepare_file(file, asked, asked.wanted(), (0.0, 255.0))
    assert not result.refused
    (frame,) = result.frames
    result.images.seek(0)
    return np.frombuffer(result.images.read(), np.uint8).reshape(64, 64), frame


@pytest.mark.parametrize("name", FILES)
def test_a_circle_stays_one_by_default(name, tmp_path):
    image, frame = made(FILES[name], tmp_path)
    rows, columns = extent(image)
    assert abs(rows - columns) <= 1 and abs(rows - 2 * RADIUS * 64 / SIDE) <= 1.5
    wide = name in ("DICOM imager", "PNG per metre", "JPEG")
    assert frame.aspect == pytest.approx(1 / 3 if wide else 2, rel=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_as_stored_where_spacing_is_ignored(name, tmp_path):
    image, frame = made(FILES[name], tmp_path, ignore_spacing=True)
    rows, columns = extent(image)
    assert max(rows, columns) >= 1.8 * min(rows, columns)
    assert frame.aspect == 1


def test_cropping_takes_the_middle_of_the_patient(tmp_path):
    image, _ = made(dicom(circle(2, 1)[:, 12:84], PixelSpacing=[2, 1]), tmp_path, fit="crop")
    rows, columns = extent(image)
    assert abs(rows - columns) <= 2


@pytest.mark.parametrize(
    "data",
    [png(TALL, 0, 0), png(TALL, 1, 0), png(TALL, 3000, 1), bmp(TALL, 0, 5), bmp(TALL, -1, 5)],
)
def test_densities_that_mean_nothing_leave_a_picture_as_it_is(data, tmp_path):
    image, frame = made(data, tmp_path)
    assert frame.aspect == 1 and extent(image)[1] > 1.8 * extent(image)[0]


def test_a_turned_picture_turns_its_pixels_too(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    lying = np.ascontiguousarray(np.rot90(TALL))  # turned as the camera was held
    data = bytearray(saved("JPEG", lying, exif=exif, quality=100))
    if b"JFIF" not in data:
        data[2:2] = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    at = data.index(b"JFIF") + 7
    data[at : at + 5] = struct.pack(">BHH", 0, 1, 2)
    image, frame = made(bytes(data), tmp_path)
    assert frame.aspect == 2 and abs(np.subtract(*extent(image))) <= 1


def test_a_volume_of_thick_slices_is_square_in_every_plane(tmp_path):
    x, y, z = np.mgrid[0:64, 0:64, 0:17]
    inside = (x - 31.5) ** 2 + (y - 31.5) ** 2 + ((z - 8) * 4.0) ** 2 < 24**2
    noise = np.random.default_rng(0).integers(0, 40, x.shape)
    volume = np.where(inside, 700, noise).astype(np.int16)
    folder = tmp_path / "in/ct"
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 4, 1.0])), folder / "a.nii.gz")
    for axis in ("axial", "coronal", "sagittal"):
        done = prepare(tmp_path / "in", tmp_path / axis, PrepOptions(axis=axis))
        middle = done.images[len(done.images) // 2]
        rows, columns = extent(middle)
        assert abs(rows - columns) <= 4  # a slice is four pixels thick
        said = "\n".join(summary_lines(done.info, tmp_path / axis))
        assert ("not square" in said) == (axis != "axial")


def test_it_is_part_of_what_a_dataset_is(tmp_path, some_scans):
    prepare(some_scans, tmp_path / "out")
    with pytest.raises(PreprocessingError, match="ignore_spacing"):
        prepare(some_scans, tmp_path / "out", PrepOptions(ignore_spacing=True))


@pytest.mark.parametrize("options", [{"pixel_spacing": 1.0}, {"fit": "stretch"}])
def test_options_that_say_the_same_twice_are_refused(options):
    with pytest.raises(PreprocessingError, match="--ignore-spacing only has an effect without"):
        PrepOptions(ignore_spacing=True, **options)
