"""Names and gaps on disk."""

from types import SimpleNamespace

import pytest

from scangan.runtime.output import _gaps, file_name, folder_name


def _folders(*classes):
    generator = SimpleNamespace(classes=classes)
    return [folder_name(generator, i) for i in range(len(classes))]


def test_folders_are_the_classes_names():
    assert _folders("glioma", "no tumour (ä)") == ["glioma", "no tumour (ä)"]


def test_no_class_can_leave_the_folder_or_meet_another():
    folders = _folders("../up", "a/b", "a_b", "Dog", "dog", "..", "")
    assert len({f.lower() for f in folders}) == 7
    assert all("/" not in f and f.strip(".") for f in folders)


@pytest.mark.parametrize(
    ("present", "gaps"),
    [
        ([], [range(0, 5)]),
        ([0, 1, 2, 3, 4], []),
        ([0, 3], [range(1, 3), range(4, 5)]),
        ([4], [range(0, 4)]),
        ([0, 9], [range(1, 5)]),
    ],
)
def test_gaps_are_what_is_missing(present, gaps):
    names = {file_name(i) for i in present} | {"sheet.png", "7.png", ".000000002.png.1.part"}
    assert _gaps(5, names) == gaps
