"""`prep-scans`, its table and its last line, and `gen-scans --balance` count the same scans."""

import json
import os
import re

import cv2
import numpy as np
import pytest
from dicoms import dicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

CLASSES = {"cat": 3, "dog": 5, "2": 4}  # those of the tiny model


def scan(seed):
    """A small picture as PNG; no two are alike."""
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


# A copy of a scan, or what is none, under a name that a program left: relative to a class folder.
COPIES = {
    "synology": "@eaDir/0.png/SYNOPHOTO_THUMB_M.png",
    "synology trash": "#recycle/0.png",
    "synology snapshot": "#snapshot/GMT-01/0.png",
    "qnap": ".@__thumb/default0.png",
    "qnap trash": "@Recycle/0.png",
    "macos zip": "__MACOSX/0.png",
    "macos trash": ".Trashes/501/0.png",
    "windows trash": "$RECYCLE.BIN/S-1-5/$R0.png",
    "windows check": "FOUND.000/0.png",
    "linux trash": ".Trash-1000/files/0.png",
    "linux check": "lost+found/0.png",
    "netapp": "~snapshot/hourly.0/0.png",
    "notebooks": ".ipynb_checkpoints/0-checkpoint.png",
    "git": ".git/objects/0.png",
    "syncthing": ".stversions/0~20230101.png",
    "syncthing now": "~syncthing~0.png.tmp",
    "nfs": ".nfs000000000123",
    "python": "__pycache__/0.png",
    "chrome": "7.png.crdownload",
    "firefox": "7.png.part",
    "safari": "7.png.download",
    "temporary": "7.png.tmp",
    "emacs, gedit": "0.png~",
    "vim": ".0.png.swp",
    "backup": "0.png.bak",
}
NO_SCANS = {
    "macos fork": ("._0.png", b"\0\5\x16\7"),
    "macos finder": (".DS_Store", b"\0\0\0\1Bud1"),
    "macos icon": ("Icon\r", b""),
    "windows thumbs": ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
    "windows desktop": ("desktop.ini", b"[.ShellClassInfo]"),
    "picasa": ("Picasa.ini", b"[0.png]"),
    "office lock": ("~$notes.xlsx", b"\5user"),
    "empty": ("empty.png", b""),
    "zeros": ("zeros.png", bytes(500)),
    "readme": ("README.md", b"# scans"),
    "readme without ending": ("README", b"scans"),
    "license": ("LICENSE", b"CC BY 4.0"),
    "table": ("labels.csv", b"file,class\n"),
    "annotations": ("0.xml", b"<?xml version='1.0'?><annotation/>"),
    "json": ("0.json", b"{}"),
    "pdf": ("paper.pdf", b"%PDF-1.4"),
    "archive": ("scans.zip", b"PK\x03\x04...."),
    "web page": ("index.html", b"<!doctype html><html></html>"),
    "lfs": ("9.png", b"version https://git-lfs.github.com/spec/v1\n"),
    "dicomdir": (
        "DICOMDIR",
        bytes(128) + b"DICM\x02\0\0\0UL\4\0\x40\0\0\0\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10",
    ),
}  # fmt: skip


UID = "1.2.840.10008.5.1.4.1.1."
# All with pixels.
OBJECTS = {
    "segmentation by class": {"SOPClassUID": UID + "66.4"},
    "segmentation by modality": {"Modality": "SEG"},
    "dose": {"SOPClassUID": UID + "481.2", "Modality": "RTDOSE"},
    "presentation state": {"SOPClassUID": UID + "11.1", "Modality": "PR"},
    "encapsulated pdf": {"SOPClassUID": UID + "104.1", "Modality": "DOC"},
    "registration": {"Modality": "REG"},
    "rt image": {"SOPClassUID": UID + "481.1", "Modality": "RTIMAGE"},
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "mosaic": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]},
    "screenshot": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    "slide label": {"SOPClassUID": UID + "77.1.6", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL"]},
}
PICTURES = {
    "ct": {
        "SOPClassUID": UID + "2",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    },
    "mr": {"SOPClassUID": UID + "4", "Modality": "MR"},
    "secondary capture": {"SOPClassUID": UID + "7", "Modality": "CR"},
    "label of another class": {
        "SOPClassUID": UID + "2",
        "ImageType": ["DERIVED", "PRIMARY", "LABEL"],
    },
    "unsaid": {},
}


def circle():
    y, x = np.mgrid[:24, :24]
    return cv2.imencode(".png", 255 * ((y - 12) ** 2 + (x - 12) ** 2 < 60).astype(np.uint8))[1]


# Only their pixels tell: these count for ``--balance``, as its help says.
REFUSED_BY_PIXELS = {
    "mask": ("7.png", lambda: circle().tobytes(), 0),
    "mask by name": ("7_mask.png", lambda: circle().tobytes(), 1),
    "truncated": ("7.png", lambda: scan(9)[:200], 0),
    "blank": ("7.png", lambda: cv2.imencode(".png", np.zeros((24, 24), np.uint8))[1].tobytes(), 0),
}


def links(folder):
    """What lies in a class folder and leads nowhere, or back."""
    (folder / "lost.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "here").symlink_to(folder)
    (folder / "up").symlink_to(folder.parent)
    (folder / "pipe.png").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe.png")


@pytest.fixture
def clean(tmp_path):
    for k, (name, count) in enumerate(CLASSES.items()):
        for i in range(count):
            write(tmp_path / "scans" / name / f"{i}.png", scan([k, i]))
    return tmp_path / "scans"


def counts_of(source, command, model):
    """The scans of each class: by the table and the dataset, and what ``--balance`` makes to 20."""
    out = source.with_name("prepared")
    done = command("prepare", source, out, "--size", 16)
    assert done.returncode == 0, done.stderr
    table = {}
    for line in done.stdout.splitlines():
        if row := re.fullmatch(r"  (\S+) +(\d+) +(\d+) +(\d+)", line):
            table[row[1]] = int(row[3])
    last = int(re.match(r"(\d+) scans prepared", done.stdout.splitlines()[-1])[1])
    assert last == sum(table.values())
    balanced = []
    for given in (source, out):
        done = command("generate", "--model", model, "--balance", given, "--target", 20, "--json",
                       "--out", source.with_name(f"more-{given.name}"))  # fmt: skip
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)["classes"]
        balanced.append({name: 20 - count for name, count in made.items()})
    assert balanced[0] == balanced[1]
    assert {name: table.get(name, 0) for name in balanced[0]} == balanced[0]
    return balanced[0]


def test_all_litter_at_once(clean, command, tiny_acgan):
    """In a class folder, deeper, and beside the class folders."""
    for folder in (clean / "dog", clean / "2/deep", clean):
        for n, name in enumerate(COPIES.values()):
            # Not a real copy, which would be told by its bytes: it would count, were it read.
            write(folder / name, scan([9, n, len(folder.parts)]))
        for name, data in NO_SCANS.values():
            write(folder / name, data)
    links(clean / "dog")
    assert counts_of(clean, command, tiny_acgan) == CLASSES


@pytest.mark.parametrize("kind", COPIES)
def test_each_kind_of_litter(clean, kind):
    from scangan.core.class_folders import count_scans
    from scangan.preprocessing import PrepOptions, prepare

    write(clean / "dog" / COPIES[kind], scan(9))
    assert count_scans(clean).scans == CLASSES
    assert prepare(clean, clean.with_name("p"), PrepOptions(size=16)).counts == CLASSES


@pytest.mark.parametrize("kind", NO_SCANS)
def test_each_kind_of_file_that_is_no_scan(clean, kind):
    from scangan.core.class_folders import count_scans
    from scangan.preprocessing import PrepOptions, prepare

    name, data = NO_SCANS[kind]
    write(clean / "dog" / name, data)
    write(clean / name, data)
    assert count_scans(clean).scans == CLASSES
    assert prepare(clean, clean.with_name("p"), PrepOptions(size=16)).counts == CLASSES


def agreed(clean):
    """What both counts say, of all classes."""
    from scangan.core.class_folders import count_scans
    from scangan.preprocessing import PrepOptions, prepare

    counts = count_scans(clean).scans
    assert prepare(clean, clean.with_name("p"), PrepOptions(size=16)).counts == counts
    return counts


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("kind", OBJECTS)
def test_each_dicom_object_that_is_no_scan(clean, kind, syntax):
    pixels = np.random.default_rng(9).integers(0, 4000, (24, 24), np.uint16)
    write(clean / "dog/7.dcm", dicom(pixels, syntax, **OBJECTS[kind]))
    assert agreed(clean) == CLASSES


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("kind", PICTURES)
def test_each_dicom_object_that_is_a_scan(clean, kind, syntax):
    pixels = np.random.default_rng(9).integers(0, 4000, (24, 24), np.uint16)
    write(clean / "dog/7.dcm", dicom(pixels, syntax, **PICTURES[kind]))
    assert agreed(clean) == CLASSES | {"dog": CLASSES["dog"] + 1}


@pytest.mark.parametrize("kind", REFUSED_BY_PIXELS)
def test_what_only_pixels_tell_counts_in_a_folder_and_not_in_a_prepared_dataset(clean, kind):
    from scangan.preprocessing import PrepOptions, prepare
    from scangan.runtime.balance import class_counts

    name, data, noted = REFUSED_BY_PIXELS[kind]
    write(clean / "dog" / name, data())
    notes = []
    assert class_counts(clean, notes.append) == CLASSES | {"dog": CLASSES["dog"] + 1}
    assert len(notes) == noted and all("1 file is named like masks" in note for note in notes)
    prepared = prepare(clean, clean.with_name("p"), PrepOptions(size=16))
    assert class_counts(prepared.path) == CLASSES == prepared.counts


def test_a_class_without_a_scan_is_filled_up(clean, command, tiny_acgan):
    for file in (clean / "2").iterdir():
        file.unlink()
    write(clean / "2/notes.txt", b"none yet")
    assert counts_of(clean, command, tiny_acgan) == CLASSES | {"2": 0}


def test_counting_imports_nothing_heavy(clean):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from scangan.core.class_folders import count_scans; "
        f"count_scans(Path({str(clean)!r})); "
        "print([m for m in ('numpy', 'cv2', 'scangan.preprocessing') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
