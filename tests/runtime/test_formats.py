"""The same scans in every format, read as others read them."""

import io
import json
import os
import shutil
import subprocess
import tarfile

import numpy as np
import pydicom
import pytest
from conftest import folder_bytes
from PIL import Image

from scangan.artifacts.request import Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.runtime import ScanGenerator
from scangan.runtime.dicom import made_up_uid
from scangan.runtime.shards import npz_shard, tar_member

COUNT = 11
SHARDS = dict.fromkeys(("tar", "npz"), ("--shard-size", 4))


@pytest.fixture(scope="module")
def outputs(tiny_acgan, tmp_path_factory, command):
    """The same request in every format."""
    made = {}
    for kind in ("png", "tar", "npz", "dicom"):
        made[kind] = tmp_path_factory.mktemp(kind) / "out"
        done = command("generate", "--model", tiny_acgan, "--class", "dog", "--class", 2, "--count",
                       COUNT, "--seed", 3, "--format", kind, *SHARDS.get(kind, ()),
                       "--out", made[kind])  # fmt: skip
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def want(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    return {name: generator.sample(COUNT, name, seed=3) for name in ("dog", "2")}


def _manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").open()]


def _png(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image), json.loads(image.text["scangan"])


def test_a_png_a_scan(outputs, want):
    for line in _manifest(outputs["png"]):
        image, note = _png((outputs["png"] / line["file"]).read_bytes())
        assert np.array_equal(image, want[line["class"]][line["index"]])
        assert {"file": line["file"], **note} == line


def test_tar_shards_as_webdataset_reads_them(outputs, want):
    lines = _manifest(outputs["tar"])
    assert len(lines) == 2 * COUNT
    shards = sorted(outputs["tar"].glob("*.tar"))
    assert [p.name for p in shards] == [f"scans-{k:06d}.tar" for k in range(6)]
    members = []
    for path in shards:
        with tarfile.open(path) as shard:
            members += [(path.name, member) for member in shard]
    for line, (file, png), (_, label) in zip(lines, members[::2], members[1::2], strict=True):
        assert (line["file"], line["member"]) == (file, png.name)
        with tarfile.open(outputs["tar"] / file) as shard:
            image, note = _png(shard.extractfile(png.name).read())
            assert int(shard.extractfile(label.name).read()) == {"dog": 1, "2": 2}[line["class"]]
        assert label.name == png.name.replace(".png", ".cls")
        assert note.items() <= line.items()
        assert np.array_equal(image, want[line["class"]][line["index"]])


@pytest.mark.skipif(not shutil.which("tar"), reason="no tar")
def test_tar_itself_is_content(outputs):
    listed = subprocess.run(
        ["tar", "--list", "--file", outputs["tar"] / "scans-000005.tar"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert listed.stdout.split() == ["2/000000009.png", "2/000000009.cls", "2/000000010.png",
                                     "2/000000010.cls"]  # fmt: skip
    assert not listed.stderr


@pytest.mark.parametrize("name", ["a/1.png", "ä/1.png", "x" * 99, "x" * 100, "x" * 101])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_a_tar_member_is_what_tarfile_makes_of_it(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    want = info.tobuf(tarfile.PAX_FORMAT) + b"x" * size + bytes(-size % 512)
    assert tar_member(name, b"x" * size) == want


def test_npz_shards(outputs, want):
    for line in _manifest(outputs["npz"]):
        with np.load(outputs["npz"] / line["file"], allow_pickle=False) as shard:
            row = line["row"]
            assert shard["indices"][row] == line["index"]
            assert shard["labels"][row] == {"dog": 1, "2": 2}[line["class"]]
            assert np.array_equal(shard["images"][row], want[line["class"]][line["index"]])
            about = json.loads(str(shard["about"]))
    assert "Synthetic" in about["notice"] and about["seed"] == 3


def test_dicom_says_that_it_is_synthetic(outputs, want):
    uids, series = set(), {}
    for line in _manifest(outputs["dicom"]):
        scan = pydicom.dcmread(outputs["dicom"] / line["file"])
        assert scan.SyntheticData == "YES" and scan.ConversionType == "SYN"
        assert scan.SOPClassUID.name == "Secondary Capture Image Storage"
        assert np.array_equal(scan.pixel_array, want[line["class"]][line["index"]])
        assert json.loads(scan.ImageComments).items() <= line.items()
        assert "Synthetic" in str(scan.PatientName)
        for uid in (scan.SOPInstanceUID, scan.StudyInstanceUID, scan.SeriesInstanceUID):
            assert uid.is_valid
        uids.add(scan.SOPInstanceUID)
        series.setdefault(line["class"], set()).add(scan.SeriesInstanceUID)
    assert len(uids) == 2 * COUNT
    assert len(series["dog"] | series["2"]) == 2


def test_made_up_uids_depend_on_all_their_parts():
    parts = [("a", 1, 2), ("a", 12), ("a", "1", 2), ("a", 1, 3), ("a1", 2)]
    assert len({made_up_uid(*p) for p in parts}) == len(parts)
    assert made_up_uid("a", 1, 2) == made_up_uid("a", 1, 2)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools is not installed")
def test_dicom3tools_accept_it(outputs):
    done = subprocess.run(
        ["dciodvfy", outputs["dicom"] / "dog/000000001.dcm"], capture_output=True, text=True
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    # Versions of before 2023 do not know the attribute Synthetic Data.
    assert [e for e in errors if "(0x0008,0x001c)" not in e] == []


@pytest.mark.parametrize("kind", ["png", "tar", "npz", "dicom"])
@pytest.mark.parametrize("options", [("--batch", 1), ("--batch", 3, "--threads", 1)])
def test_batch_and_threads_change_no_byte(outputs, tiny_acgan, command, tmp_path, kind, options):
    command("generate", "--model", tiny_acgan, "--class", "dog", "--class", 2, "--count", COUNT,
            "--seed", 3, "--format", kind, *SHARDS.get(kind, ()), "--out", tmp_path / "out",
            *options)  # fmt: skip
    assert folder_bytes(tmp_path / "out") == folder_bytes(outputs[kind])


@pytest.mark.parametrize("kind", ["tar", "npz"])
def test_a_missing_or_empty_shard_is_made_again(outputs, tiny_acgan, command, tmp_path, kind):
    out = shutil.copytree(outputs[kind], tmp_path / "out")
    (out / f"scans-000001.{kind}").unlink()
    (out / f"scans-000003.{kind}").write_bytes(b"")
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("scans-*")}
    done = command("generate", "--model", tiny_acgan, "--class", "dog", "--class", 2, "--count",
                   COUNT, "--seed", 3, "--format", kind, *SHARDS[kind], "--out", out,
                   "--json")  # fmt: skip
    assert json.loads(done.stdout)["made"] == 8
    assert folder_bytes(out) == folder_bytes(outputs[kind])
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("scans-*")}
    assert [n for n in sorted(after) if after[n] != before.get(n)] == [
        f"scans-000001.{kind}", f"scans-000003.{kind}",
    ]  # fmt: skip


def test_without_pydicom_it_says_what_to_install(tiny_acgan, command, tmp_path):
    (tmp_path / "pydicom.py").write_text("raise ModuleNotFoundError(name='pydicom')")
    done = command("generate", "--model", tiny_acgan, "--format", "dicom", "--count", 1,
                   "--out", tmp_path / "out", env=os.environ | {"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert done.returncode == 1 and '"scangan[dicom]"' in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_npz_shard_is_written_as_its_scans_come(tmp_path):
    plan = Plan.of("0" * 64, ("cat",), Request(spans=(Span(0, 0, 5),), format="npz", shard_size=5))
    path, scans = tmp_path / "scans-000000.npz", np.arange(5 * 600 * 600).reshape(5, 600, 600)
    with npz_shard(path, plan, 5) as add:
        for i, scan in enumerate(scans.astype(np.uint8)):
            add(Span(0, i, 1), scan[None])
            (beside,) = tmp_path.iterdir()
            assert beside.stat().st_size >= i * scan.size and beside != path
    with np.load(path) as shard:
        assert np.array_equal(shard["images"], scans.astype(np.uint8))
        assert shard["indices"].tolist() == [0, 1, 2, 3, 4] and shard["labels"].tolist() == [0] * 5


def test_an_unconditional_model(tiny_dcgan, command, tmp_path):
    for kind in ("png", "tar", "npz", "dicom"):
        done = command("generate", "--model", tiny_dcgan, "--count", 3, "--format", kind,
                       "--out", tmp_path / kind)  # fmt: skip
        assert done.returncode == 0, done.stderr
        (first, *_) = _manifest(tmp_path / kind)
        assert first["class"] is None and first["index"] == 0
    assert (tmp_path / "png/scan/000000002.png").exists()
    with np.load(tmp_path / "npz/scans-000000.npz") as shard:
        assert shard["labels"].tolist() == [-1, -1, -1]
