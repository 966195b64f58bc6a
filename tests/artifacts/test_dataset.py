"""A prepared dataset says what is wrong with it in one line, and older ones are still read."""

import hashlib
import io
import json
import shutil

import numpy as np
import pytest

from scangan.artifacts.dataset import load_dataset, read_summary
from scangan.core.errors import PreprocessingError


@pytest.fixture
def changed(prepared, tmp_path):
    """A copy of a dataset whose items and ``dataset.json`` are changed as its maker would."""

    def change(of_item=lambda item: item, of_info=lambda info: info):
        path = shutil.copytree(prepared.path, tmp_path / "changed")
        items = [json.loads(line) for line in (path / "items.jsonl").open()]
        text = "".join(json.dumps(of_item(item)) + "\n" for item in items)
        (path / "items.jsonl").write_text(text)
        info = json.loads((path / "dataset.json").read_text())
        info["items_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (path / "dataset.json").write_text(json.dumps(of_info(info)))
        return path

    return change


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _without(*names):
    return lambda told: {name: value for name, value in told.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"of_item": _without("sha256")}, "line 1.*`sha256`"),
        ({"of_item": _without("class")}, "line 1.*`class`"),
        ({"of_item": lambda item: item | {"colour": 1}}, "line 1.*`colour`"),
        ({"of_item": lambda item: item | {"window": [1.0]}}, r"line 1.*\$\.window"),
        ({"of_info": _without("options")}, "`options`"),
        ({"of_info": _without("synthetic")}, "`synthetic`"),
        ({"of_info": lambda info: info | {"colour": 1}}, "`colour`"),
        ({"of_info": lambda info: info | {"size": "64"}}, r"\$\.size"),
    ],
)
def test_a_field_that_is_wrong_is_named_in_one_line(changed, change, named):
    path = changed(**change)
    with pytest.raises(
        PreprocessingError, match=rf"{named}.*delete .* and prepare it again"
    ) as error:
        load_dataset(path)
    assert "\n" not in str(error.value) and "changed" in str(error.value)


def test_what_a_preparation_says_of_itself_is_checked_too(changed):
    path = changed(of_info=_without("files"))
    with pytest.raises(PreprocessingError, match=r"`files`.*delete .* and prepare it again"):
        read_summary(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bytes(5000), "magic string"),
        (b"PK" + bytes(5000), "magic string"),
        (b"", "EOF"),
        (_npy(np.uint8(3)), "do not match"),
        (_npy(np.array([print], object)), "Python objects"),
        (_npy(np.zeros((2, 2), np.uint8)), "do not match"),
    ],
)
def test_pixels_that_are_no_array_of_scans_are_named_and_not_run(changed, content, says):
    path = changed()
    (path / "images.npy").write_bytes(content)
    with pytest.raises(PreprocessingError, match=rf"is damaged.*{says}.*prepare it again") as error:
        load_dataset(path)
    assert "pickle" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"), [("[" * 100_000, "nested too deeply"), (b"\xff{}", "not UTF-8")]
)
def test_a_description_that_is_no_text_or_too_deep_is_named(changed, text, says):
    path = changed()
    (path / "dataset.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (load_dataset, read_summary):
        with pytest.raises(PreprocessingError, match=rf"is damaged \(it is {says}\)"):
            read(path)


@pytest.mark.parametrize("new", [b"g", b"\xff"])
def test_items_that_change_after_they_were_checked_are_not_taken(changed, new):
    path = changed()
    dataset, file = load_dataset(path), path / "items.jsonl"
    text = file.read_bytes()
    file.write_bytes(new.join(text.rsplit(b"t", 1)))
    with pytest.raises(PreprocessingError, match=r"items.jsonl was changed meanwhile"):
        list(dataset.items)


OF_ITEM = {1: ("enlarged", "aspect", "blank", "synthetic", "notes", "group"), 2: ("group",)}
OF_INFO = {1: ("readers", "wrapper", "squared", "blank", "items_sha256"), 2: ()}


@pytest.mark.parametrize("version", [1, 2])
def test_a_dataset_of_an_older_version_is_read(prepared, changed, version):
    def older(info):
        window = {"window": [0, 1], "scans": 3, "left_out": []}  # as it was called then
        kept = _without(*OF_INFO[version])(info)
        return kept | {"format_version": version, "window": window, "gone": True}

    dataset = load_dataset(changed(_without(*OF_ITEM[version]), older))
    assert dataset.counts == prepared.counts
    assert np.array_equal(dataset.images, prepared.images)
    assert dataset.fingerprint == prepared.fingerprint
    assert [item.file for item in dataset.items] == [item.file for item in prepared.items]
    assert not dataset.synthetic.any() and dataset.items[0].aspect == 1.0
    assert read_summary(dataset.path).count == len(prepared.items)
    with pytest.raises(PreprocessingError, match=r"older scangan.*delete it and prepare it again"):
        _ = dataset.groups
