"""What holds pixels and is no scan: refused by name, unless it is asked for."""

import io
import json
import re
import unicodedata

import cv2
import nibabel
import numpy as np
import pytest
from conftest import BRAIN
from dicoms import dicom
from PIL import Image

from scangan.core.dicom_objects import told_instead
from scangan.core.errors import Rejected
from scangan.preprocessing import PreprocessingError, SourceOptions, prepare
from scangan.preprocessing.reading.masks import why_mask
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.wanted import Wanted

RNG = np.random.default_rng(0)
Y, X = np.mgrid[0:48, 0:48]
REGION = ((Y - 20) ** 2 + (X - 25) ** 2 < 100).astype(np.uint8)
HEAD = np.where((Y - 24) ** 2 + (X - 24) ** 2 < 400, RNG.integers(60, 250, Y.shape), 0)
TISSUE = np.where(HEAD > 0, HEAD * 12, 0).astype(np.uint16)
CLASS = "1.2.840.10008.5.1.4.1.1."


def refusal(data, name="", **options):
    try:
        found = list(read_scans(data, Wanted(**options), name))
    except Rejected as reason:
        return str(reason)
    return next((str(scan) for _, scan in found if isinstance(scan, Rejected)), "")


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def nifti(volume):
    return nibabel.Nifti1Image(volume, np.diag([-1, -1, 1, 1.0])).to_bytes()


OBJECTS = [
    ({"SOPClassUID": CLASS + "66.4", "Modality": "SEG"}, "a segmentation"),
    ({"Modality": "SEG"}, "a segmentation"),
    ({"SOPClassUID": CLASS + "66.7"}, "a label map segmentation"),
    ({"SOPClassUID": CLASS + "481.2", "Modality": "RTDOSE"}, "an RT dose grid"),
    ({"Modality": "RTDOSE"}, "an RT dose grid"),
    ({"SOPClassUID": CLASS + "11.1", "Modality": "PR"}, "a presentation state"),
    ({"SOPClassUID": CLASS + "104.1", "Modality": "DOC"}, "an encapsulated document"),
    ({"Modality": "REG"}, "a registration"),
    ({"SOPClassUID": CLASS + "66.1"}, "a registration"),
    ({"SOPClassUID": CLASS + "66", "Modality": "MR"}, "raw data"),
    ({"SOPClassUID": CLASS + "4.2", "Modality": "MR"}, "MR spectroscopy"),
    ({"SOPClassUID": CLASS + "9.1.1", "Modality": "ECG"}, "a waveform"),
    ({"SOPClassUID": CLASS + "481.3"}, "an RT structure set"),
    ({"SOPClassUID": CLASS + "481.5"}, "an RT plan"),
    ({"Modality": "HC"}, "a printout"),
]
PICTURES = [
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "a mosaic"),
    ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screenshot"),
    ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN_SAVE"]}, "a screenshot"),
    ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "a dose report"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "CT_SOM5 PROT"]}, "a protocol"),
    ({"SOPClassUID": CLASS + "30", "Modality": "MR"}, "a parametric map"),
    ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"]}, "a report"),
    ({"SOPClassUID": CLASS + "481.1", "Modality": "RTIMAGE"}, "an RT image"),
    (
        {"SOPClassUID": CLASS + "77.1.6", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]},
        "the label of a slide",
    ),
]
SCANS = [
    {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
    {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
    {"SOPClassUID": CLASS + "7", "Modality": "CR"},  # as RSNA hands radiographs out
    {"SOPClassUID": CLASS + "2.1", "Modality": "CT", "ImageType": ["DERIVED", "PRIMARY", "LABEL"]},
]


@pytest.mark.parametrize(("elements", "what"), OBJECTS)
def test_objects_that_show_no_patient_are_never_scans(elements, what):
    for included in (False, True):
        assert refusal(dicom(TISSUE, **elements), included=included) == f"{what}, not a scan"
    assert told_instead(dicom(TISSUE, **elements)) is not None  # as it is counted


@pytest.mark.parametrize(("elements", "what"), PICTURES)
def test_pictures_that_are_no_scans_are_refused_unless_they_are_asked_for(elements, what):
    told = refusal(dicom(TISSUE, **elements))
    assert told.startswith(what) and "--include" in told
    assert not refusal(dicom(TISSUE, **elements), included=True)


@pytest.mark.parametrize("elements", SCANS)
def test_scans_of_any_origin_are_taken(elements):
    assert not refusal(dicom(TISSUE, **elements))


def jpeg(image):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG")
    return out.getvalue()


VOLUME = np.repeat(REGION[:, :, None], 5, 2)
MASKS = [
    (png(REGION * 255), "a.png"),
    (png(REGION), "a.png"),
    (png(REGION.astype(np.uint16) * 65535), "a.png"),
    (png(REGION * 255), "benign (1)_mask.png"),
    (png(REGION * 120), "lesion_mask.png"),
    (jpeg(REGION * 255), "masks/a.jpg"),
    (png(REGION + 2 * (X > 40).astype(np.uint8)), "a.png"),
    (nifti(VOLUME), "001.nii"),
    (nifti((VOLUME * 4).astype(np.int16)), "BraTS_001_seg.nii"),
    (nifti(VOLUME.astype(np.float32)), "labels.nii"),
    (nifti(VOLUME.astype(np.int16) * 1035), "sub-01_aseg.nii"),
    (dicom(REGION), "a.dcm"),
    (png(REGION * 63 + (X > 40).astype(np.uint8) * 126), "liver.png"),  # as CHAOS has them
    (png(REGION * 128 + (X > 40).astype(np.uint8) * 127), "a.png"),
    (nifti(VOLUME.astype(np.int16) * 1000), "a.nii"),
    (nifti((VOLUME + 1).astype(np.int16)), "a.nii"),
    (nifti(-VOLUME.astype(np.int16)), "a.nii"),
    (nifti(VOLUME.astype(np.float32) / 2), "a.nii"),
    (nifti(VOLUME.astype(np.int16) * 500), "sub-01_probseg.nii"),
]
NO_MASKS = [
    (png(HEAD.astype(np.uint8)), "a_mask.png"),
    (png(TISSUE), "segmentation/a.png"),
    (jpeg(HEAD.astype(np.uint8)), "mask.jpg"),
    (png(RNG.poisson(0.7, (48, 48)).astype(np.uint8)), "few_counts.png"),
    (png(RNG.poisson(3.0, (48, 48)).astype(np.uint16)), "spect.png"),
    (png(np.where(REGION, 220, 20).astype(np.uint8)), "phantom.png"),
    (nifti(np.repeat(TISSUE[:, :, None], 5, 2).astype(np.int16)), "t1_mask.nii"),
    (nifti(np.where(VOLUME, 220, 20).astype(np.int16)), "phantom.nii"),
    ((sorted(BRAIN.rglob("*.jpg"))[3]).read_bytes(), "mask/label/seg.jpg"),
]


@pytest.mark.parametrize(("data", "name"), MASKS, ids=range(len(MASKS)))
def test_masks_are_known_by_their_values_and_names(data, name):
    told = refusal(data, name)
    assert told.startswith("a mask: ") and told.endswith("add --include '*'")
    assert not refusal(data, name, included=True)


@pytest.mark.parametrize(("data", "name"), NO_MASKS, ids=range(len(NO_MASKS)))
def test_scans_are_no_masks_whatever_they_are_called(data, name):
    assert not refusal(data, name)


def test_no_sample_scan_is_taken_for_a_mask():
    for file in sorted(BRAIN.rglob("*.jpg")):
        assert not why_mask(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), "mask.png")


@pytest.fixture
def study(tmp_path):
    """Cases as BraTS hands them out: two sequences and a mask each."""
    for number in range(3):
        volume = np.repeat(TISSUE[:, :, None], 4, 2).astype(np.int16) + number
        folder = tmp_path / f"in/HGG/case{number}"
        folder.mkdir(parents=True)
        for kind, data in (("t1", volume), ("flair", volume * 2), ("seg", VOLUME[..., :4])):
            (folder / f"case{number}_{kind}.nii").write_bytes(nifti(data))
    return tmp_path / "in"


def lines(out, name="items"):
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def test_masks_beside_scans_are_refused_and_the_advice_takes_them(study, tmp_path):
    prepare(study, tmp_path / "out")
    refused = lines(tmp_path / "out", "rejects")
    assert [each["file"][-8:] for each in refused] == ["_seg.nii"] * 3
    assert refused[0]["reason"].endswith("--include '*'")
    taken = prepare(study, tmp_path / "all", sources=SourceOptions(include=("*",)))
    assert len(taken.images) == 3 * 3 * 4 and not lines(tmp_path / "all", "rejects")


@pytest.mark.parametrize(
    ("include", "exclude", "kinds", "left_out"),
    [
        (("*_t1.nii",), (), {"t1"}, 6),
        ((), ("*_flair.nii",), {"t1"}, 3),
        (("*_t1.nii", "HGG/*/*_seg*"), (), {"t1", "seg"}, 3),
        (("HGG/case[01]/*",), ("*_seg.nii",), {"t1", "flair"}, 5),
    ],
)
def test_patterns_choose_files(study, tmp_path, include, exclude, kinds, left_out):
    sources = SourceOptions(include=include, exclude=exclude)
    done = prepare(study, tmp_path / "out", sources=sources)
    assert {item.file.rpartition("_")[2][:-4] for item in done.items} == kinds
    assert done.info.left_out == left_out
    prepare(study, tmp_path / "out", sources=sources)  # seen to be done
    with pytest.raises(PreprocessingError, match=r"include|exclude"):
        prepare(study, tmp_path / "out")


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({"exclude": ("*_sge.nii",)}, "--exclude '*_sge.nii' matches none of 9 files"),
        ({"include": ("*.dcm",)}, "--include '*.dcm' matches none"),
        ({"exclude": ("*.nii",)}, "leave none of 9 files"),
    ],
)
def test_a_pattern_that_leaves_nothing_or_does_nothing_is_refused(study, tmp_path, patterns, says):
    with pytest.raises(PreprocessingError, match=re.escape(says)):
        prepare(study, tmp_path / "out", sources=SourceOptions(**patterns))
    assert not (tmp_path / "out").exists()


def test_a_pattern_matches_a_name_in_either_encoding(tmp_path):
    for form in ("NFC", "NFD"):
        folder = tmp_path / form / unicodedata.normalize(form, "Läsion")
        folder.mkdir(parents=True)
        for number in range(3):
            name = unicodedata.normalize(form, f"büste{number}.png")
            (folder / name).write_bytes(png(HEAD.astype(np.uint8) + np.uint8(number)))
        for typed in ("NFC", "NFD"):
            pattern = unicodedata.normalize(typed, "büste[12]*")
            done = prepare(
                tmp_path / form,
                tmp_path / form / f"../out{form}{typed}",
                sources=SourceOptions(exclude=(pattern,)),
            )
            assert len(done.images) == 1 and done.info.left_out == 2
