"""Killed, stopped, run twice: the same dataset in the end."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import BRAIN

from scangan.preprocessing import (
    PrepOptions,
    PreprocessingError,
    SourceOptions,
    all_files,
    load_dataset,
    one_file,
    pipeline,
    prepare,
    prepare_split,
    write,
)


def contents(folder):
    """Every file of a dataset by name, as a hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def deep_scans(some_scans):
    """Add 16-bit scans, which need the window over all of them, behind the 8-bit ones."""
    for file in sorted(some_scans.rglob("*.jpg"))[12:]:
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 40
        cv2.imwrite(str(file.with_suffix(".png")), image)
        file.unlink()
    return some_scans


@pytest.fixture
def killed_by(light, tmp_path):
    """Run code in a process that is killed by it."""
    folder = tmp_path / "process"
    folder.mkdir()

    def run(code):
        done = light.run(folder, ["-c", code])
        assert done.code == -signal.SIGKILL, done.stderr

    return run


def _killed_after(killed_by, files, source, out, options):
    """Prepare in a process that is killed when so many files have been read."""
    code = f"""
import os, signal
from scangan.preprocessing import PrepOptions, all_files, prepare
from scangan.preprocessing import journal
journal.FLUSHED = 1
real, seen = all_files.prepare_file, []
def count(*args, **about):
    seen.append(1)
    if len(seen) > {files}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **about)
all_files.CHUNK, all_files.prepare_file = 1, count
prepare({str(source)!r}, {str(out)!r}, PrepOptions(**{options!r}), workers=1)
"""
    killed_by(code)


@pytest.mark.parametrize("files", [1, 9, 17, 21])
def test_killed_and_run_again_it_ends_with_the_same_bytes(killed_by, deep_scans, tmp_path, files):
    options = {"size": 32, "equalize": "global", "duplicates": "drop"}
    shutil.copy(sorted(deep_scans.rglob("*.jpg"))[0], deep_scans / "glioma_tumor/zz_copy.jpg")
    whole = prepare(deep_scans, tmp_path / "whole", PrepOptions(**options))
    _killed_after(killed_by, files, deep_scans, tmp_path / "out", options)
    assert not (tmp_path / "out/dataset.json").exists()
    again = prepare(deep_scans, tmp_path / "out", PrepOptions(**options), workers=2)
    assert again.fingerprint == whole.fingerprint
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["preview.png", "items.jsonl", "near_duplicates.jsonl"])
def test_killed_while_it_finishes_it_ends_with_the_same_bytes(
    killed_by, some_scans, tmp_path, name
):
    """At the moment when a file is written beside its place."""
    whole, out = prepare(some_scans, tmp_path / "whole"), tmp_path / "out"
    code = f"""
import os, signal
from scangan.preprocessing import prepare
real = os.fsync
def fsync(file):
    if os.readlink(f"/proc/self/fd/{{file}}").endswith(".{name}.part"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(file)
os.fsync = fsync
prepare({str(some_scans)!r}, {str(out)!r})
"""
    killed_by(code)
    assert (out / f".part/.{name}.part").exists()
    assert prepare(some_scans, out).fingerprint == whole.fingerprint
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("litter", ["lost+found", ".DS_Store", "Thumbs.db"])
def test_what_a_desktop_or_a_disk_leaves_in_out_is_in_nobodys_way(some_scans, tmp_path, litter):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / litter).mkdir()
    assert len(prepare(some_scans, tmp_path / "out").images) == 20


def test_a_full_disk_for_temporary_files_is_no_fault_of_a_scan(some_scans, tmp_path, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(one_file, "SpooledTemporaryFile", lambda size: Full())
        with pytest.raises(OSError, match="No space left"):
            prepare(some_scans, tmp_path / "out")
    assert len(prepare(some_scans, tmp_path / "out").images) == 20


def test_files_that_were_prepared_before_a_stop_are_not_prepared_again(
    some_scans, tmp_path, monkeypatch
):
    done, read = [], one_file.read_scans

    def stopped(*given):
        if len(done) == 12:
            raise KeyboardInterrupt
        done.append(1)
        return read(*given)

    with monkeypatch.context() as patch:
        patch.setattr(one_file, "read_scans", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(some_scans, tmp_path / "out", workers=1)
    kept = (tmp_path / "out/.part/journal.jsonl").read_bytes().count(b"\n") - 1
    assert kept >= 8  # FLUSHED is 16
    prepare(some_scans, tmp_path / "out")
    prepare(some_scans, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_too_many_open_files_are_no_fault_of_a_scan(some_scans, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("scangan.core.reading._open_at_once", _too_many)
        with pytest.raises(OSError, match="Too many open files"):
            prepare(some_scans, tmp_path / "out")
    assert len(prepare(some_scans, tmp_path / "out").images) == 20


def test_a_file_that_memory_does_not_suffice_for_is_named(some_scans, tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(one_file, "read_scans", full)
        with pytest.raises(PreprocessingError, match=r"jpg does not fit in memory"):
            prepare(some_scans, tmp_path / "out")
    assert len(prepare(some_scans, tmp_path / "out").images) == 20


def test_a_survey_that_could_not_read_everything_makes_no_window(deep_scans, tmp_path, monkeypatch):
    survey, calls = one_file.survey_file, []

    def full(path, *args, **about):
        calls.append(path)
        if len(calls) == 2:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("scangan.core.reading._open_at_once", _too_many)
                return survey(path, *args, **about)
        return survey(path, *args, **about)

    with monkeypatch.context() as patch:
        patch.setattr(all_files, "survey_file", full)
        patch.setattr(one_file, "may_be_deep", lambda path: True)
        with pytest.raises(OSError, match="Too many open files"):
            prepare(deep_scans, tmp_path / "out", workers=1)
    whole = prepare(deep_scans, tmp_path / "whole")
    assert prepare(deep_scans, tmp_path / "out").info.window == whole.info.window


def _too_many(path, flags):
    raise OSError(24, "Too many open files", path)


def test_it_goes_on_and_does_not_start_again(killed_by, some_scans, tmp_path, monkeypatch):
    _killed_after(killed_by, 15, some_scans, tmp_path / "out", {})
    seen = []

    def count(*args, **about):
        seen.append(args[0])
        return one_file.prepare_file(*args, **about)

    monkeypatch.setattr(all_files, "prepare_file", count)
    assert len(prepare(some_scans, tmp_path / "out").images) == 20
    assert 4 <= len(seen) <= 12


@pytest.mark.parametrize("change", ["a file's bytes", "a new file", "a file is gone", "nothing"])
def test_a_window_over_scans_that_are_others_now_is_measured_anew(killed_by, tmp_path, change):
    source = tmp_path / "source/a"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(20):
        image = rng.integers(0, 60_000 if n == 17 else 4000, (40, 40)).astype(np.uint16)
        cv2.imwrite(str(source / f"{n:02d}.png"), image)
    _killed_after(killed_by, 9, source.parent, tmp_path / "out", {})
    if change == "a file's bytes":
        shutil.copy(source / "03.png", source / "17.png")
    elif change == "a new file":
        hot = rng.integers(0, 65_000, (40, 40)).astype(np.uint16)
        cv2.imwrite(str(source / "99.png"), hot)
    elif change == "a file is gone":
        (source / "17.png").unlink()
    fresh = prepare(source.parent, tmp_path / "fresh")
    again = prepare(source.parent, tmp_path / "out")
    assert again.info.window == fresh.info.window
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("then", [(0.5, 0.3, 0.2), (0.6, 0.4), None])
@pytest.mark.parametrize("killed", ["write_record", "unlink"])
def test_killed_with_its_parts_written_leaves_none_of_another_split(
    some_scans, tmp_path, monkeypatch, then, killed
):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    if killed == "write_record":  # before split.json
        monkeypatch.setattr(write, "write_record", stop)
    else:  # before the images of all parts are removed
        monkeypatch.setattr(pipeline, "publish", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_split(some_scans, tmp_path / "out", (0.5, 0.3, 0.2))
    monkeypatch.undo()
    if killed == "unlink" and then != (0.5, 0.3, 0.2):
        with pytest.raises(PreprocessingError, match="split"):
            run_again(some_scans, tmp_path / "out", then)
        then = (0.5, 0.3, 0.2)  # it was whole
    run_again(some_scans, tmp_path / "out", then)
    run_again(some_scans, tmp_path / "fresh", then)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def run_again(source, out, fractions):
    if fractions is None:
        prepare(source, out)
    else:
        prepare_split(source, out, fractions)


@pytest.mark.parametrize("change", ["options", "a file's bytes", "a new file", "a file is gone"])
def test_only_what_is_still_true_is_taken_over(killed_by, some_scans, tmp_path, change):
    _killed_after(killed_by, 15, some_scans, tmp_path / "out", {"size": 32})
    options = PrepOptions(size=48 if change == "options" else 32)
    first = sorted(some_scans.rglob("*.jpg"))[3]
    if change == "a file's bytes":
        shutil.copy(sorted(some_scans.rglob("*.jpg"))[9], first)
    elif change == "a new file":
        shutil.copy(first, first.with_name("AAA.jpg"))
    elif change == "a file is gone":
        first.unlink()
    fresh = prepare(some_scans, tmp_path / "fresh", options)
    again = prepare(some_scans, tmp_path / "out", options)
    assert again.fingerprint == fresh.fingerprint
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_killed_while_it_renames_it_goes_on(some_scans, tmp_path):
    whole = prepare(some_scans, tmp_path / "whole")
    out = tmp_path / "out"
    (out / ".part").mkdir(parents=True)
    for n, path in enumerate(sorted((tmp_path / "whole").iterdir())):
        inside = n > 2 or path.name == "dataset.json"
        shutil.copy(path, out / ".part" / path.name if inside else out / path.name)
    again = prepare(some_scans, out)
    assert again.fingerprint == whole.fingerprint
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_same_bytes_whatever_the_number_of_workers(deep_scans, tmp_path, workers):
    prepare(deep_scans, tmp_path / "one", PrepOptions(equalize="clahe"), workers=3)
    prepare(deep_scans, tmp_path / "two", PrepOptions(equalize="clahe"), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_ctrl_c_ends_it_soon_and_the_same_command_goes_on(tmp_path):
    source = tmp_path / "source"
    for copy in range(8):
        shutil.copytree(BRAIN, source / str(copy))
    command = [sys.executable, "-m", "scangan.cli", "prepare", source, tmp_path / "out"]
    command += ["--class-level", "1"]  # eight folders of the same classes
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out/.part/journal.jsonl"
    give_up = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size > 2000):
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("\n") == 1 and "same command again" in said
    assert journal.exists()
    sources = SourceOptions(class_level=1)
    assert len(prepare(source, tmp_path / "out", sources=sources).images) == 8 * 240


def test_what_is_not_ours_is_neither_removed_nor_published(some_scans, tmp_path):
    theirs = tmp_path / "out/.part/photos"
    theirs.mkdir(parents=True)
    (theirs / "a.png").write_text("holiday")
    with pytest.raises(PreprocessingError, match="choose another OUT"):
        prepare(some_scans, tmp_path / "out")
    inside = shutil.copytree(some_scans, tmp_path / "home/.part")
    with pytest.raises(PreprocessingError, match="does not hold SOURCE"):
        prepare(inside, tmp_path / "home")
    assert (theirs / "a.png").read_text() == "holiday" and len(list(inside.rglob("*.jpg"))) == 20


def test_many_slices_wait_on_disk_and_not_in_memory(tmp_path):
    import nibabel
    import psutil

    source = tmp_path / "source/a"
    source.mkdir(parents=True)
    volume = np.random.default_rng(0).integers(0, 255, (16, 16, 75), dtype=np.uint8)
    for n in range(8):
        nibabel.save(nibabel.Nifti1Image(volume + np.uint8(n), np.eye(4)), source / f"{n}.nii")
    before, most = psutil.Process().memory_info().rss, []
    real = one_file.prepare_file

    def watch(*args, **about):
        most.append(psutil.Process().memory_info().rss)
        return real(*args, **about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_files, "prepare_file", watch)
        prepare(source.parent, tmp_path / "out", PrepOptions(size=512), workers=4)
    assert load_dataset(tmp_path / "out").images.nbytes > 150e6
    assert max(most) - before < 75e6


def test_two_at_once_do_not_mix(some_scans, tmp_path):
    from scangan.core.errors import ScanganError
    from scangan.core.files import only_writer

    with only_writer(tmp_path / "out/.lock"), pytest.raises(ScanganError, match="another command"):
        prepare(some_scans, tmp_path / "out")


def test_a_finished_dataset_is_seen_to_be_so_without_decoding(some_scans, tmp_path, monkeypatch):
    first = prepare(some_scans, tmp_path / "out")
    monkeypatch.setattr(all_files, "prepare_file", None)
    assert prepare(some_scans, tmp_path / "out").fingerprint == first.fingerprint


def test_another_class_of_a_file_makes_another_dataset(some_scans, tmp_path):
    prepare(some_scans, tmp_path / "out")
    (some_scans / "glioma_tumor").rename(some_scans / "other")
    with pytest.raises(PreprocessingError, match="other scans"):
        prepare(some_scans, tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(some_scans, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="closed"):
        prepare(some_scans, tmp_path / "closed/out")


def test_nothing_is_written_beside_out_which_may_be_a_mount_point(
    some_scans, tmp_path, monkeypatch
):
    out = tmp_path / "mount/out"
    out.mkdir(parents=True)
    beside = []

    def look(*args, **about):
        beside.append([path.name for path in (tmp_path / "mount").iterdir()])
        return one_file.prepare_file(*args, **about)

    monkeypatch.setattr(all_files, "prepare_file", look)
    prepare(some_scans, out)
    assert beside == [["out"]] * 20
    assert load_dataset(out).fingerprint
