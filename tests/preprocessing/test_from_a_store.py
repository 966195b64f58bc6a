"""Scans in an object store are prepared as they would be on disk."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import BRAIN
from dicoms import dicom
from programs import main_of
from stores import bytes_of, copy_to, wrong_server

from scangan.core import store
from scangan.core.errors import OtherDataset, PreprocessingError, StoreError
from scangan.preprocessing import PrepOptions, SourceOptions, prepare, prepare_split

SMALL = PrepOptions(size=32)


@pytest.fixture
def both(some_scans, bucket, tmp_path):
    """A folder with litter, masks, documents and a damaged file, on disk and in a store."""
    for name in ("Thumbs.db", "glioma_tumor/.DS_Store", "glioma_tumor/@eaDir/x.png", "README.md",
                 "glioma_tumor/deep/er/no scan.txt", "loose.png", "meningioma_tumor/cut.png",
                 "meningioma_tumor/list.part", "__MACOSX/glioma_tumor/._1.jpg"):  # fmt: skip
        (some_scans / name).parent.mkdir(parents=True, exist_ok=True)
        (some_scans / name).write_bytes(b"\x89PNG\r\n\x1a\n" if name.endswith("cut.png") else b"x")
    for file in list((some_scans / "glioma_tumor").glob("*.jpg"))[:3]:
        file.rename(some_scans / "glioma_tumor" / "deep" / file.name)
    copy_to(some_scans, bucket / tmp_path.name)
    return some_scans, bucket / tmp_path.name


def test_a_folder_of_classes(both, tmp_path):
    disk, address = both
    for source, out in (
        (disk, tmp_path / "a"),
        (address, tmp_path / "b"),
        (str(address), tmp_path / "c"),
    ):
        prepare(source, out, SMALL)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b") == bytes_of(tmp_path / "c")
    prepare(disk, tmp_path / "b", SMALL)  # the fingerprint is the same
    store.put(address / "glioma_tumor/more.jpg", next((BRAIN / "no_tumor").iterdir()).read_bytes())
    with pytest.raises(OtherDataset, match="from other scans"):
        prepare(address, tmp_path / "b", SMALL)


def test_split_by_subject_with_patterns(both, tmp_path):
    disk, address = both
    sources = SourceOptions(subjects=r"(\d+)\.jpg", exclude=("cut*", "*.txt"), include=("*.jpg",))
    for source, out in ((disk, tmp_path / "a"), (address, tmp_path / "b")):
        prepare_split(source, out, (0.7, 0.3), SMALL, sources=sources)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_a_table_gives_the_classes(both, tmp_path):
    disk, address = both
    files = sorted(path.relative_to(disk).as_posix() for path in disk.rglob("*.jpg"))[:8]
    rows = (f"{file},{'even' if k % 2 else 'odd'}\n" for k, file in enumerate(files))
    (tmp_path / "table.csv").write_text("file,class\n" + "".join(rows))
    sources = SourceOptions(labels=tmp_path / "table.csv")
    for source, out in ((disk, tmp_path / "a"), (address, tmp_path / "b")):
        prepare(source, out, SMALL, sources=sources)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_deep_scans_share_a_window_and_an_interrupted_run_goes_on(bucket, tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    for k in range(20):
        path = tmp_path / "scans" / ("a" if k % 2 else "b") / f"{k}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(draw.integers(0, 4000, (40, 40)).astype(np.uint16)))
    copy_to(tmp_path / "scans", bucket / "deep")
    prepare(tmp_path / "scans", tmp_path / "a", PrepOptions(size=32, window="dataset"))
    read, asked = store.read, []

    def breaks_off(address, *args, **named):
        asked.append(address.name)
        if len(asked) == 50:
            raise StoreError("the store does not answer")
        return read(address, *args, **named)

    monkeypatch.setattr(store, "read", breaks_off)
    with pytest.raises(StoreError, match="does not answer"):
        prepare(bucket / "deep", tmp_path / "b", PrepOptions(size=32, window="dataset"), workers=1)
    assert (tmp_path / "b/.part/journal.jsonl").stat().st_size > 0
    prepare(bucket / "deep", tmp_path / "b", PrepOptions(size=32, window="dataset"), workers=1)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_subsets_of_a_split_are_refused_with_an_address_that_works(bucket, some_scans, tmp_path):
    for part in ("train", "test"):
        copy_to(some_scans, bucket / "split" / part)
    with pytest.raises(
        PreprocessingError, match=r"subsets of a split.*give one of them: s3://scans/split/train;"
    ):
        prepare(bucket / "split", tmp_path / "a", SMALL)
    prepare(bucket / "split/train", tmp_path / "a", SMALL)


def test_an_object_that_vanishes_is_refused_by_name(bucket, some_scans, tmp_path, monkeypatch):
    copy_to(some_scans, bucket / "vanishing")
    read, first = store.read, []

    def vanishes(address, *args, **named):
        if not first and str(address).endswith(".jpg"):
            first.append(address)
        if [address] == first:
            raise FileNotFoundError(2, "", str(address))
        return read(address, *args, **named)

    monkeypatch.setattr(store, "read", vanishes)
    made = prepare(bucket / "vanishing", tmp_path / "a", SMALL)
    assert len(made.images) == 19
    reject = json.loads((tmp_path / "a/rejects.jsonl").read_text())
    assert reject["reason"] == "cannot be read: it is no longer there"


def test_what_holds_no_scans_is_told(bucket, prepared, tmp_path):
    with pytest.raises(
        PreprocessingError, match=r"s3://scans/none holds nothing; check the address"
    ):
        prepare(bucket / "none", tmp_path / "a", SMALL)
    copy_to(prepared.path, bucket / "ready")
    with pytest.raises(PreprocessingError, match="already prepared; copy it to a disk"):
        prepare(bucket / "ready", tmp_path / "a", SMALL)
    denies = wrong_server(lambda request: request.refuse(403, "AccessDenied"))
    with denies as denied, pytest.raises(StoreError, match="access is denied"):
        prepare(denied / "x", tmp_path / "a", SMALL)
    assert not (tmp_path / "a").exists()


def test_commands_take_addresses(bucket, some_scans, tmp_path, quick_commands):
    copy_to(some_scans, bucket / "typed")
    typed = {
        "prep-scans": [bucket / "typed", tmp_path / "prepared", "--size", "32"],
        "train-gan": [bucket / "typed", "--out", tmp_path / "run", "--size", "32", "--kimg", "0.1",
                      "--width", "4"],
        "eval-scans": ["quality", bucket / "typed", bucket / "typed", "--out", tmp_path / "judged",
                       "--extractor", "efficientnet-lite0"],
    }  # fmt: skip
    for program, words in typed.items():
        done = CliRunner().invoke(main_of(program), [str(word) for word in words])
        assert done.exit_code == 0, done.output
    same = [json.loads(f.read_text())["source_sha256"] for f in tmp_path.rglob("dataset.json")]
    assert len(same) == 2 and len(set(same)) == 1
