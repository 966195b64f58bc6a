"""NIfTI files: nibabel's own, volumes made for it, and damaged ones."""

import gzip
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from scangan.core.errors import Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading import nifti
from scangan.preprocessing.reading.nifti import read_nifti
from scangan.preprocessing.reading.wanted import Wanted

FILES = Path(nibabel.__file__).parent / "tests" / "data"
READ = {
    "anatomical.nii": None,
    "reoriented_anat_moved.nii": None,
    "resampled_anat_moved.nii": None,
    "standard.nii.gz": None,
    "example4d.nii.gz": 1,
    "example_nifti2.nii.gz": 1,
    "functional.nii": 19,
}
REFUSED = {
    "nifti1.hdr": "NIfTI header without its voxels (.hdr and .img); convert it to .nii",
    "nifti2.hdr": "NIfTI header without its voxels (.hdr and .img); convert it to .nii",
    "analyze.hdr": "not a NIfTI file",
    "row_major.dconn.nii": "CIFTI: connectivity data, not a scan",
    "example4d+orig.BRIK.gz": "gzip file without NIfTI",
    "example4d.nii.gz": "2 volumes; take one of them with --volume 0 to 1",
    "functional.nii": "20 volumes; take one of them with --volume 0 to 19",
}


def read(data, **options):
    return list(numbered(data, **options).values())


def numbered(data, **options):
    return dict(read_nifti(data, PrepOptions(**options).wanted()))


def reason(data, **options):
    with pytest.raises(Rejected) as caught:
        read(data, **options)
    return str(caught.value)


def made(voxels, affine=None, image=nibabel.Nifti1Image, **header):
    """The bytes of a file with these stored values."""
    affine = np.eye(4) if affine is None else affine
    made_image = image(voxels, affine, dtype=voxels.dtype)
    data = bytearray(made_image.to_bytes())
    for keyword, value in header.items():
        kind, offset = made_image.header.structarr.dtype.fields[keyword]
        data[offset : offset + kind.itemsize] = np.array(value, kind.base).tobytes()
    return bytes(data)


@pytest.mark.parametrize("name", REFUSED)
def test_files_of_nibabel_are_refused_for_a_known_reason(name):
    assert reason((FILES / name).read_bytes()) == REFUSED[name]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("name", READ)
def test_values_and_spacings_are_those_of_nibabel(name, axis):
    volume = READ[name]
    image = nibabel.as_closest_canonical(nibabel.load(FILES / name))
    values = image.get_fdata()
    values = values if volume is None else values[..., volume]
    normal = ["sagittal", "coronal", "axial"].index(axis)
    zooms = [zoom for k, zoom in enumerate(image.header.get_zooms()[:3]) if k != normal]
    scans = numbered((FILES / name).read_bytes(), axis=axis, volume=volume)
    assert len(scans) == values.shape[normal]
    for number, scan in scans.items():
        expected = np.take(values, number, axis=normal)[::-1, ::-1].T
        ours = scan.pixels.astype(np.float64) * scan.slope + scan.intercept
        finite = np.isfinite(expected)
        np.testing.assert_allclose(ours[finite], expected[finite], rtol=1e-6, atol=1e-6)
        assert scan.spacing == pytest.approx(zooms[::-1])


# The marks: most to the right, most anterior, most superior; each brighter than the one before.
SHAPE = (5, 6, 7)  # left to right, posterior to anterior, inferior to superior
MARKED = np.zeros(SHAPE, np.uint8)
MARKED[4, 1, 1], MARKED[2, 5, 1], MARKED[2, 1, 6] = 100, 150, 200


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "SRA", "AIL"])
@pytest.mark.parametrize("image", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_each_way_of_storing_a_volume_gives_the_same_picture(codes, image):
    canonical = np.array([[2.0, 0, 0, -9], [0, 3, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])
    canonical[:3, :3] = canonical[:3, :3] @ np.array(
        [[0.98, 0.17, 0.05], [-0.17, 0.98, 0.02], [-0.05, -0.02, 0.99]]  # slightly oblique
    )
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    voxels = nibabel.apply_orientation(MARKED, change)
    data = made(voxels, canonical @ inv_ornt_aff(change, SHAPE), image)

    axial = numbered(data)
    # Rows from anterior to posterior, columns from the patient's right to the left.
    assert list(axial) == list(range(7)) and axial[1].pixels.shape == (6, 5)
    assert (axial[1].pixels[4, 0], axial[1].pixels[0, 2]) == (100, 150)
    assert axial[6].pixels[4, 2] == 200
    coronal = numbered(data, axis="coronal")
    # Rows from superior to inferior, columns from right to left.
    assert coronal[1].pixels.shape == (7, 5)
    assert (coronal[1].pixels[5, 0], coronal[1].pixels[0, 2]) == (100, 200)
    assert coronal[5].pixels[5, 2] == 150
    sagittal = numbered(data, axis="sagittal")
    # Rows from superior to inferior, columns from anterior to posterior.
    assert sagittal[2].pixels.shape == (7, 6)
    assert (sagittal[2].pixels[5, 0], sagittal[2].pixels[0, 4]) == (150, 200)
    assert sagittal[4].pixels[5, 4] == 100
    spacings = (scans[1].spacing for scans in (axial, coronal, sagittal))
    expected = [(3, 2), (4, 2), (4, 3)]
    for spacing, (row, column) in zip(spacings, expected):
        assert spacing == pytest.approx((row, column), rel=0.02)


def test_slices_are_taken_in_order_and_an_empty_range_says_how_many_there_are():
    data = made(MARKED)
    assert list(numbered(data, slices="2:4")) == [2, 3]
    assert list(numbered(data, slices="0.5:1.0", axis="coronal")) == [3, 4, 5]
    assert reason(data, slices="7:9") == "--slices 7:9 selects none of the 7 slices"


def test_a_file_of_one_slice_gives_it_whatever_the_axis():
    flat = np.arange(20, dtype=np.int16).reshape(4, 5)
    for voxels in (flat, flat[..., None], flat[..., None, None]):
        # Of no thickness, as in headers that leave what a 2-D file does not have at 0.
        data = made(voxels, sform_code=0, pixdim=[1, 2, 3, 0, 0, 0, 0, 0])
        (scan,) = read(data)
        # Without an affine, the first axis runs to the left (NIfTI-1, method 1, as nibabel has it).
        np.testing.assert_array_equal(scan.pixels, flat[:, ::-1].T)
        assert scan.spacing == (3, 2)
        assert len(read(data, axis="sagittal")) == 1
    (scan,) = read(made(flat[None]))
    np.testing.assert_array_equal(scan.pixels, flat[::-1, ::-1].T)


def test_a_volume_of_several_is_taken_by_number():
    several = np.random.default_rng(0).integers(0, 999, (3, 4, 2, 2, 3), np.int16)
    for packed in (made(several), gzip.compress(made(several))):
        assert reason(packed) == "6 volumes; take one of them with --volume 0 to 5"
        assert reason(packed, volume=6) == "--volume 6 of 6, which count from 0"
        scans = read(packed, volume=3)  # over the fourth dimension, then the fifth
        expected = several[:, :, 1, 1, 1][::-1, ::-1].T
        np.testing.assert_array_equal(scans[1].pixels, expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u1", np.uint8),
        ("i1", np.int16),
        ("u2", np.uint16),
        (">i2", np.int16),
        ("i4", np.int32),
        ("u4", np.uint32),
        ("i8", np.int32),
        ("u8", np.uint32),
        ("f4", np.float32),
        ("f8", np.float32),
    ],
)
def test_stored_values_keep_their_value(dtype, expected):
    low = 0 if np.dtype(dtype).kind == "u" else -100
    voxels = np.linspace(low, 127, 24).astype(dtype).reshape(2, 3, 4)
    data = made(voxels)
    if dtype.startswith(">"):
        header = nibabel.Nifti1Header(data[:348]).as_byteswapped(">")
        data = header.binaryblock + data[348:352] + voxels.tobytes(order="F")
    for number, scan in enumerate(read(data)):
        assert scan.pixels.dtype == expected
        np.testing.assert_array_equal(
            scan.pixels, voxels[::-1, ::-1, number].T.astype(scan.pixels.dtype)
        )


def test_colour_becomes_its_luma_and_complex_and_64_bits_are_refused():
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 2, 3), np.uint8)
    packed = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    scans = read(made(packed))
    luma = colours[..., 1, :] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(scans[1].pixels - luma[::-1, ::-1].T).max() < 1
    assert (
        reason(made(np.ones((2, 2, 2), np.complex64)))
        == "NIfTI of complex values; save their magnitude"
    )
    assert (
        reason(made(np.full((2, 2, 2), 1 << 40)))
        == "NIfTI of integers of more than 32 bits; convert it to float32"
    )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_is_not_finite_becomes_the_smallest_finite_value(dtype):
    voxels = np.linspace(-3, 20, 24).astype(dtype).reshape(2, 3, 4)
    voxels[:, :, 0], voxels[0, 0, 1], voxels[0, 1, 1] = np.nan, np.inf, -np.inf
    scans = read(made(voxels))
    smallest = np.float32(voxels[np.isfinite(voxels)].min())
    expected = np.where(np.isfinite(voxels), voxels, smallest).astype(np.float32)
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.pixels, expected[::-1, ::-1, number].T)
    assert reason(made(voxels[:, :, :1])) == "no finite value; leave the file out with --exclude"


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(2.5, -1024, (2.5, -1024)), (0, 7, (1, 0)), (np.nan, 7, (1, 0)), (np.inf, 7, (1, 0))],
)
def test_scaling_is_that_of_the_header(slope, intercept, expected):
    (scan, *_) = read(made(MARKED, scl_slope=slope, scl_inter=intercept))
    assert (scan.slope, scan.intercept) == expected
    np.testing.assert_array_equal(scan.pixels, MARKED[::-1, ::-1, 0].T)


def test_bytes_are_dark_where_their_scaled_values_are_low():
    ramp = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    (plain, *_), (turned, *_) = read(made(ramp)), read(made(ramp, scl_slope=-1, scl_inter=255))
    np.testing.assert_array_equal(turned.pixels, 255 - plain.pixels)


@pytest.mark.parametrize("sizes", [(np.nan, 2, 4), (0, 2, 4), (np.inf, 2, 4), (0, 0, 0), (1, 2, 4)])
def test_spacing_is_that_of_the_sform_where_pixdim_has_none(sizes):
    data = made(
        MARKED, np.diag([1.0, 2, 4, 1]), sform_code=1, qform_code=0, pixdim=[1, *sizes, 1, 1, 1, 1]
    )
    (scan, *_) = read(data)
    assert scan.spacing == pytest.approx((2, 1)) and scan.aspect == pytest.approx(2)
    assert bool(scan.notes) == (tuple(sizes) != (1, 2, 4))


@pytest.mark.filterwarnings("ignore:overflow")  # of making the files
def test_nothing_is_printed_of_an_sform_that_overflows():
    for size in (1e200, 1e308):
        affine = np.diag([size, 2, 4, 1])
        data = made(MARKED, affine, nibabel.Nifti2Image, sform_code=1, pixdim=[1] + 7 * [0])
        with warnings.catch_warnings(action="error"):
            assert all(read(data, axis=axis) for axis in ("axial", "coronal", "sagittal"))


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3 | 8, 0.001), (7, 1)])
def test_spacing_is_in_millimetres(code, factor):
    (scan, *_) = read(made(MARKED, np.diag([2.0, 3, 4, 1]), xyzt_units=code))
    assert scan.spacing == pytest.approx((3 * factor, 2 * factor))


def test_contradictions_are_named():
    whole = made(MARKED)
    packed = gzip.compress(whole)
    assert reason(whole[:-1]) == "truncated NIfTI: 209 of 210 bytes of voxels; copy it again"
    assert reason(packed[:-20]) == "truncated gzip file; copy it again"
    assert (
        reason(packed[:-6] + b"\0\0" + packed[-4:]) == "damaged gzip file; copy it again"
    )  # its checksum
    assert reason(packed[:30] + b"\xff" * 9 + packed[39:]).startswith("damaged gzip file")
    assert reason(gzip.compress(b"text" * 200)) == "gzip file without NIfTI"
    assert reason(b"") == reason(b"text" * 200) == reason(whole[:300]) == "not a NIfTI file"
    assert (
        reason(made(MARKED, datatype=1))
        == "NIfTI data type 1 is not supported; convert it to float32"
    )
    assert reason(made(MARKED, vox_offset=0)).startswith("damaged NIfTI: its voxels start at")
    assert (
        reason(made(MARKED, dim=[3, 5, -6, 7, 1, 1, 1, 1]))
        == "declares 5x-6x7 voxels, which is not an image; correct it"
    )
    assert reason(made(MARKED, srow_x=[np.nan] * 4)) == (
        "damaged NIfTI: srow_x is nan, nan, nan, nan; correct it"
    )
    huge = made(MARKED, dim=[4, 32767, 32767, 32767, 9, 1, 1, 1])
    assert reason(huge, volume=0).startswith("declares 32767x32767x32767x9 voxels; at most 5368")


def test_a_gzip_bomb_is_inflated_only_as_far_as_its_header_asks():
    bomb = gzip.compress(made(MARKED) + bytes(1 << 28), compresslevel=1)
    tracemalloc.start()
    try:
        assert len(read(bomb)) == 7
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_no_copy_of_the_volume_is_made():
    data = made(np.zeros((256, 256, 128), np.int16))
    tracemalloc.start()
    try:
        for _, scan in read_nifti(data, Wanted(axis="sagittal")):
            assert scan.pixels.dtype == np.int16
        # Its stored values once, and a slice.
        assert tracemalloc.get_traced_memory()[1] < 1.2 * len(data)
    finally:
        tracemalloc.stop()


def test_nothing_is_printed_of_a_questionable_header():
    # nibabel's checks log each of these to the standard error.
    data = made(MARKED, bitpix=3, pixdim=[5, -1, 1, 1, 0, 0, 0, 0], qform_code=99, scl_slope=np.nan)
    program = (
        "import sys; from scangan.preprocessing.reading.nifti import read_nifti\n"
        "from scangan.preprocessing.reading.wanted import Wanted\n"
        "print(len(list(read_nifti(sys.stdin.buffer.read(), Wanted()))))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], input=data, capture_output=True
    )
    assert (run.stdout, run.stderr) == (b"7\n", b"")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([*READ, *REFUSED]), st.data())
def test_damaged_files_are_read_or_refused(name, data):
    content = bytearray((FILES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(content), 600) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    axis = data.draw(st.sampled_from(["axial", "coronal", "sagittal"]))
    try:
        scans = read(bytes(content), axis=axis, volume=0)
    except Rejected as error:
        assert "\n" not in str(error)
    else:
        assert all(scan.pixels.ndim == 2 and np.isfinite(scan.pixels).all() for scan in scans)


def test_the_limit_of_voxels_is_that_of_the_docstring():
    assert nifti.MOST_VOXELS == 2**29 and "2**29" in read_nifti.__doc__


def test_values_beyond_float32_are_its_largest_in_silence(recwarn):
    voxels = np.zeros((4, 4, 3))
    voxels[0], voxels[1], voxels[2, 0, 0] = 1e300, -1e300, np.nan
    largest = np.finfo(np.float32).max
    for scan in read(made(voxels)):
        assert scan.pixels.dtype == np.float32 and np.isfinite(scan.pixels).all()
        assert (scan.pixels.max(), scan.pixels.min()) == (largest, -largest)
    assert not recwarn.list


@pytest.mark.parametrize("over", [1.9e-7, 5e-7, 5e-6, 0.3])
def test_a_quaternion_that_is_a_little_too_long_is_half_a_turn(over):
    """As FSL and ITK read it: with w = 0, (0, 0, 1) turns x and y round."""
    codes = {"sform_code": 0, "qform_code": 1, "quatern_b": 0, "quatern_c": 0}
    exact = read(made(MARKED, **codes, quatern_d=1.0))
    rounded = read(made(MARKED, **codes, quatern_d=1.0 + over))
    assert [scan.pixels.tolist() for scan in exact] == [scan.pixels.tolist() for scan in rounded]
    turned = MARKED[::-1, ::-1]  # both axes run the other way
    plain = read(made(np.ascontiguousarray(turned)))
    assert [scan.pixels.tolist() for scan in exact] == [scan.pixels.tolist() for scan in plain]
    assert bool(rounded[0].notes) == (over > 1e-3)


def test_an_sform_without_extent_gives_way_to_the_qform():
    rows = {f"srow_{axis}": [0.0] * 4 for axis in "xyz"}
    codes = {"sform_code": 1, "qform_code": 1, "quatern_b": 0, "quatern_c": 0, "quatern_d": 0}
    (first, *_) = read(made(MARKED, **rows, **codes))
    assert "qform" in first.notes[0]
    (plain, *_) = read(made(MARKED))
    np.testing.assert_array_equal(first.pixels, plain.pixels)


@pytest.mark.parametrize("zoom", [1e38, 1e-38])
def test_a_spacing_at_the_ends_of_its_type_is_unknown(zoom):
    for scan in read(made(MARKED, pixdim=[1, zoom, zoom, zoom, 1, 1, 1, 1], xyzt_units=1)):
        assert scan.spacing is None and scan.aspect == 1
