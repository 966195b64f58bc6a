"""Files that change, vanish or cannot be read while they are prepared: nothing wrong stays unsaid."""

import errno
import io
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import folder_bytes

from scangan.core import formats
from scangan.core.errors import PreprocessingError, Unreadable
from scangan.core.reading import read_file
from scangan.core.terminal import explain
from scangan.preprocessing import PrepOptions, load_dataset, one_file, prepare
from scangan.preprocessing import preview as preview_module


@pytest.fixture
def deep_scans(some_scans):
    """Add scans of 16 bits: these share a window that is measured over all of them."""
    for number, high in enumerate((9000, 30000, 60000)):
        picture = np.linspace(0, high, 1600).reshape(40, 40).astype(np.uint16)
        cv2.imwrite(str(some_scans / f"meningioma_tumor/z{number}.png"), picture)
    return some_scans


def _unreadable(*names, times=10**9):
    """`read_file`, but for files of some names, which fail so many times."""
    left = dict.fromkeys(names, times)

    def read(path, *args):
        name = Path(path).name
        if left.get(name, 0) > 0:
            left[name] -= 1
            raise Unreadable("cannot be read: input/output error")
        return read_file(path, *args)

    return read


@pytest.mark.parametrize("harm", ["changes", "vanishes", "fails"])
def test_a_scan_that_changes_before_the_preview_ends_it(some_scans, tmp_path, monkeypatch, harm):
    prepare(some_scans, tmp_path / "whole")
    shutil.copytree(some_scans, tmp_path / "kept")
    first = min((some_scans / "glioma_tumor").iterdir())
    real = preview_module.write_preview

    def late(*args):
        if harm == "changes":
            first.write_bytes(max((some_scans / "glioma_tumor").iterdir()).read_bytes())
        elif harm == "vanishes":
            first.unlink()
        else:
            monkeypatch.setattr(preview_module, "read_file", _unreadable(first.name, times=1))
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr("scangan.preprocessing.pipeline.write_preview", late)
        with pytest.raises(PreprocessingError, match=r"run the same command again") as error:
            prepare(some_scans, tmp_path / "out")
    assert str(first) in str(error.value)
    shutil.copytree(tmp_path / "kept", some_scans, dirs_exist_ok=True)
    prepare(some_scans, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_scans_that_could_not_be_read_then_are_not_called_other_scans(
    some_scans, tmp_path, monkeypatch
):
    name = min((some_scans / "glioma_tumor").iterdir()).name
    with monkeypatch.context() as patch:
        patch.setattr(one_file, "read_file", _unreadable(name))
        dataset = prepare(some_scans, tmp_path / "out")
    assert len(dataset.images) == 19 and dataset.info.rejected == 1
    with pytest.raises(PreprocessingError, match=f"could not be read then.*{name}.*delete it"):
        prepare(some_scans, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")  # as it says
    assert len(prepare(some_scans, tmp_path / "out").images) == 20


@pytest.mark.parametrize("times", [1, 2])
def test_a_scan_that_the_window_knows_nothing_of_is_refused_by_name(
    deep_scans, tmp_path, monkeypatch, times
):
    """It fails while all are measured, and could be read afterwards."""
    name = "z2.png"
    patched = _unreadable(name, times=times)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "read_file", patched)
        prepare(deep_scans, tmp_path / "out", PrepOptions(window="dataset"))
    lines = (tmp_path / "out/rejects.jsonl").read_text().splitlines()
    assert len(lines) == 1 and name in lines[0] and "input/output error" in lines[0]
    (deep_scans / "meningioma_tumor" / name).unlink()
    without = prepare(deep_scans, tmp_path / "without", PrepOptions(window="dataset"))
    assert load_dataset(tmp_path / "out").fingerprint == without.fingerprint


@pytest.mark.parametrize("harm", ["cut short", "a bit flipped", "emptied"])
def test_images_that_are_not_those_prepared_are_refused(some_scans, tmp_path, harm):
    dataset = prepare(some_scans, tmp_path / "out")
    assert np.array_equal(dataset.in_memory().images, dataset.images)
    file = tmp_path / "out/images.npy"
    if harm == "a bit flipped":
        with file.open("r+b") as opened:
            opened.seek(-5, 2)
            byte = opened.read(1)
            opened.seek(-5, 2)
            opened.write(bytes([byte[0] ^ 1]))
    else:  # under the memory map: to look at it would end the process
        size = file.stat().st_size // 2 if harm == "cut short" else 200
        with file.open("r+b") as opened:
            opened.truncate(size)
    with pytest.raises(PreprocessingError, match="not those that were prepared"):
        dataset.in_memory()


@pytest.mark.parametrize("field", ["file", "sha256", "subject", "perceptual_hash"])
def test_items_that_are_not_as_they_were_written_are_refused(some_scans, tmp_path, field):
    prepare(some_scans, tmp_path / "out")
    file = tmp_path / "out/items.jsonl"
    items = [json.loads(line) for line in file.read_text().splitlines()]
    items[3][field] = "x"
    file.write_text("".join(f"{json.dumps(item)}\n" for item in items))
    with pytest.raises(PreprocessingError, match=r"items\.jsonl was changed"):
        load_dataset(tmp_path / "out")


def test_a_dataset_that_changes_after_it_was_opened_is_read_as_it_was(some_scans, tmp_path):
    dataset = prepare(some_scans, tmp_path / "out")
    (tmp_path / "out/dataset.json").write_text("{")
    assert np.array_equal(dataset.in_memory().images, dataset.images)


class BadSector(io.FileIO):
    """A file that can be opened, but not read."""

    def __next__(self):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("name", ["dataset.json", "items.jsonl", "images.npy"])
def test_a_disk_that_fails_is_named_and_not_called_a_damaged_dataset(
    some_scans, tmp_path, monkeypatch, name
):
    prepare(some_scans, tmp_path / "out")

    def failing(read):
        def fails(path, *args, **kwargs):
            if Path(path).name == name:
                raise OSError(errno.EIO, "Input/output error")
            return read(path, *args, **kwargs)

        return fails

    whole = Path.open

    def opened(path, *args, **kwargs):
        bad = path.name == name == "items.jsonl"  # which is not read at once
        return BadSector(path) if bad else whole(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", failing(Path.read_text))
        patch.setattr(Path, "open", opened)
        patch.setattr(np.lib.format, "open_memmap", failing(np.lib.format.open_memmap))
        with pytest.raises(OSError) as error:
            load_dataset(tmp_path / "out")
    assert error.value.filename == str(tmp_path / "out" / name)


def test_the_lock_of_a_run_that_was_killed_at_its_end_goes(some_scans, tmp_path):
    prepare(some_scans, tmp_path / "out")
    before = folder_bytes(tmp_path / "out")
    (tmp_path / "out/.lock").write_text("process 1 on vm")
    prepare(some_scans, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == before


@pytest.mark.parametrize("trouble", ["no folder", "full"])
def test_trouble_with_temporary_files_is_not_put_on_the_output(
    some_scans, tmp_path, monkeypatch, trouble
):
    """The slices of a volume wait in one, if they are many."""
    monkeypatch.setattr(one_file, "IN_MEMORY", 100)
    number = errno.ENOENT if trouble == "no folder" else errno.ENOSPC

    def fails(*args, **kwargs):
        raise OSError(number, "No usable temporary directory found, or no space left")

    monkeypatch.setattr(tempfile, "TemporaryFile", fails)
    if trouble == "no folder":
        monkeypatch.setattr(one_file, "gettempdir", fails)
    with pytest.raises(OSError) as error:
        prepare(some_scans, tmp_path / "out")
    said = explain(error.value)
    assert str(tmp_path / "out") not in said
    assert ("TMPDIR" if trouble == "no folder" else tempfile.gettempdir()) in said


def test_a_file_that_can_no_longer_be_read_is_named(some_scans, tmp_path, monkeypatch):
    """The dataset is not to be deleted for that."""
    prepare(some_scans, tmp_path / "out")
    name = min((some_scans / "glioma_tumor").iterdir()).name
    monkeypatch.setattr("scangan.preprocessing.all_files.read_file", _unreadable(name))
    with pytest.raises(
        PreprocessingError, match=rf"{name} cannot be read, so nothing tells .* make"
    ):
        prepare(some_scans, tmp_path / "out")
