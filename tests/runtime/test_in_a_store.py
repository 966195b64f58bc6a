"""Scans that are written into an object store are those of a folder on disk, whatever happens."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from programs import main_of
from stores import bytes_of, content_of, copy_to, point_to

from scangan.artifacts.request import Part, Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.core import store
from scangan.core.errors import GenerationError, StoreError
from scangan.runtime import ScanGenerator
from scangan.runtime.merge import merge
from scangan.runtime.output import write_scans
from scangan.runtime.writing import write_positions

TESTS = str(Path(__file__).parents[1])
FORMATS = ("png", "tar", "npz", "dicom")


@pytest.fixture(scope="module")
def generator(tiny_acgan):
    with ScanGenerator(tiny_acgan, batch=4, threads=2) as made:
        yield made


@pytest.fixture
def folder(bucket, tmp_path):
    return bucket / tmp_path.name


@pytest.fixture
def puts(monkeypatch):
    """Count the objects that are put, by name."""
    counted, put = Counter(), store.put

    def counting(address, content, **how):
        put(address, content, **how)
        name = str(address.relative_to(address.parents[-2]))
        counted[name] += 1
        shared = name in ("README.md", "sheet.html", "manifest.jsonl")
        assert how.get("once", False) is not shared, name

    monkeypatch.setattr(store, "put", counting)
    return counted


def request(count=5, kind="png", shard_size=4):
    return Request(spans=(Span(0, 0, count), Span(2, 3, 2)), format=kind, shard_size=shard_size)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_objects_are_the_files(kind, generator, folder, tmp_path, puts):
    assert write_scans(generator, request(kind=kind), tmp_path / "out") == 7
    assert write_scans(generator, request(kind=kind), folder) == 7
    assert content_of(folder) == bytes_of(tmp_path / "out")
    assert set(puts.values()) == {1}
    puts.clear()
    assert write_scans(generator, request(kind=kind), folder) == 0
    assert set(puts) == {"manifest.jsonl"}  # it marks the scans as complete
    assert content_of(folder) == bytes_of(tmp_path / "out")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_missing_is_made_again(kind, generator, folder, puts):
    write_scans(generator, request(kind=kind), folder)
    whole = content_of(folder)
    scans = [name for name in whole if name.endswith((".png", ".tar", ".npz", ".dcm"))]
    store.remove([folder / scans[0], folder / "manifest.jsonl"])
    puts.clear()
    made = write_scans(generator, request(kind=kind), folder)
    assert 0 < made < 7 and content_of(folder) == whole
    assert set(puts) == {scans[0], "manifest.jsonl"}


@pytest.mark.parametrize("kind", FORMATS)
def test_without_looking_all_is_written_again(kind, generator, folder, tmp_path, monkeypatch):
    for out in (folder, tmp_path / "out"):
        write_scans(generator, request(kind=kind), out)
    before, plan = content_of(folder), Plan.read(folder)
    monkeypatch.setattr(store, "below", None)  # it must not be listed
    for out in (folder, tmp_path / "out"):
        assert write_positions(generator, plan, out, range(7), look=False) == 7
    monkeypatch.undo()
    assert content_of(folder) == before == bytes_of(tmp_path / "out")


def test_an_empty_object_is_told(generator, folder):
    write_scans(generator, request(), folder)
    store.put(folder / "cat/000000001.png", b"")
    with pytest.raises(StoreError, match=r"cat/000000001.png holds something else"):
        write_scans(generator, request(), folder)
    assert write_scans(generator, request(), folder, force=True) == 7


def test_another_request_is_refused_or_replaces_by_force(generator, folder, tmp_path):
    write_scans(generator, request(), folder)
    before = content_of(folder)
    with pytest.raises(GenerationError, match=r"another request.*5 of cat.*6 of cat.*or --force"):
        write_scans(generator, request(6), folder)
    assert content_of(folder) == before
    write_scans(generator, request(3), folder, force=True)
    write_scans(generator, request(3), tmp_path / "out")
    assert content_of(folder) == bytes_of(tmp_path / "out")


def test_access_to_the_output_alone_is_enough(generator, folder, monkeypatch):
    read = Plan.read.__func__

    def refusing(cls, place):
        if place in folder.parents:
            raise StoreError(f"{place}/request.json: access is denied; check the credentials")
        return read(cls, place)

    monkeypatch.setattr(Plan, "read", classmethod(refusing))
    assert write_scans(generator, request(), folder / "mine" / "out") == request().total


def test_what_is_incomplete_is_said_once(generator, folder, monkeypatch):
    """In a store, it takes a request before any scan is put."""
    removed = []
    monkeypatch.setattr("scangan.runtime.output._not_whole", lambda *_: removed.append(1))
    write_scans(ScanGenerator(generator.file.path, batch=2), request(9), folder)
    assert len(removed) == 1


def test_what_others_wrote_stays(generator, folder):
    store.put(folder / "notes.txt", b"mine")
    with pytest.raises(GenerationError, match="has files that gen-scans did not write"):
        write_scans(generator, request(), folder)
    assert content_of(folder) == {"notes.txt": b"mine"}
    write_scans(generator, request(), folder / "scans")
    with pytest.raises(GenerationError, match=r"scans/more is inside s3://\S+/scans, a folder"):
        write_scans(generator, request(), folder / "scans" / "more")
    store.put(folder / "scans/notes.txt", b"mine")
    write_scans(generator, request(4), folder / "scans", force=True)
    assert store.read(folder / "scans/notes.txt") == b"mine"


def test_a_request_that_came_between_is_not_mixed(generator, folder, monkeypatch):
    """Two commands see an empty folder; the second to claim it is refused."""
    from scangan.runtime import output

    claim = output.claim_new

    def late(out, plan):
        monkeypatch.setattr(output, "claim_new", claim)
        write_scans(generator, request(6), out)
        with monkeypatch.context() as patch:  # it has looked already
            patch.setattr(output, "_refuse_foreign", lambda out: None)
            claim(out, plan)

    monkeypatch.setattr(output, "claim_new", late)
    with pytest.raises(StoreError, match=r"request.json holds something else.*another command"):
        write_scans(generator, request(5), folder)
    whole = content_of(folder)
    assert write_scans(generator, request(6), folder) == 0 and content_of(folder) == whole


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("where", ["one folder", "a folder each", "to disk", "from disk"])
def test_parts_are_joined(kind, where, generator, folder, tmp_path):
    whole = request(9, kind=kind, shard_size=2)
    write_scans(generator, whole, tmp_path / "whole")
    base = tmp_path / "parts" if where == "from disk" else folder
    folders = [base / ("all" if where == "one folder" else str(i)) for i in range(3)]
    for i, each in enumerate(folders):
        write_scans(generator, whole, each, part=Part(i, 3))
    joined = folders[0] if where == "one folder" else base / "joined"
    if where == "to disk":
        joined = tmp_path / "joined"
    if where == "from disk":
        joined = folder / "joined"
    counted = []
    merge(folders, joined, counted.append)
    found = bytes_of(joined) if where == "to disk" else content_of(joined)
    assert found == bytes_of(tmp_path / "whole") and sum(counted) == 11
    merge([joined], joined)


def test_a_part_that_lacks_a_scan_is_not_joined(generator, folder):
    for i in range(2):
        write_scans(generator, request(), folder, part=Part(i, 2))
    store.remove([folder / "cat/000000002.png"])
    with pytest.raises(GenerationError, match=r"cat/000000002.png is missing; generate part 0/2"):
        merge([folder], folder)
    assert "manifest.jsonl" not in content_of(folder)


def typed(*words):
    """Run gen-scans in this process."""
    return CliRunner().invoke(main_of("gen-scans"), [str(word) for word in words])


def _started(model, out, *more):
    code = "import sys; from scangan.cli.programs import gen_scans; sys.exit(gen_scans())"
    words = ["--model", str(model), "--count", "100", "--out", str(out), "--batch", "4", *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_killed_and_begun_again_it_ends_with_the_same_bytes(tiny_acgan, folder, tmp_path):
    with _started(tiny_acgan, folder) as first:
        until = time.monotonic() + 60
        while sum(1 for _ in store.below(folder)) < 40 and time.monotonic() < until:
            time.sleep(0.02)
        first.kill()
    assert 40 <= sum(1 for _ in store.below(folder)) < 300
    both = [_started(tiny_acgan, folder) for _ in range(2)]  # at once
    for each in both:
        with each:
            assert b"300 synthetic scans" in each.stdout.read()
    typed("--model", tiny_acgan, "--count", "100", "--out", tmp_path / "out", "--batch", "4")
    assert content_of(folder) == bytes_of(tmp_path / "out")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows cannot stop a process")
def test_a_store_that_stops_for_a_while_is_waited_for(tiny_acgan, tmp_path):
    code = (
        f"import sys, time; sys.path.insert(0, {TESTS!r}); from stores import bucket_of_moto\n"
        "with bucket_of_moto():\n"
        "    import os; print(os.environ['AWS_ENDPOINT_URL'], flush=True); time.sleep(600)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server,
        contextlib.ExitStack() as ending,
        pytest.MonkeyPatch.context() as patch,
    ):
        ending.callback(server.kill)
        point_to(patch, server.stdout.readline().strip().rpartition(":")[2])
        with _started(tiny_acgan, "s3://scans/a", "--format", "npz", "--shard-size", "50") as gen:
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(20 if "SCANGAN_SCALE" in os.environ else 3)
            assert gen.poll() is None
            os.kill(server.pid, signal.SIGCONT)
            said = gen.stdout.read().decode()
    assert gen.returncode == 0, said
    assert "300 synthetic scans of cat, dog, 2: s3://scans/a (look at" in said


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("s3://nowhere/x", "s3://nowhere/x: this bucket does not exist; create it"),
        ("s5://scans/x", "s5:// is not known; an address of a store starts with s3://, gs://, az://"),
        ("s3://k:v@scans/x", "credentials come from the environment"),
    ],
)  # fmt: skip
def test_bad_addresses_are_one_line(out, said, tiny_acgan, bucket):
    told = typed("--model", tiny_acgan, "--count", "2", "--out", out)
    *_, last = told.output.strip().splitlines()
    assert told.exit_code and said in last and "k:v" not in told.output


def test_without_the_package_it_says_what_to_install(tiny_acgan, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "scangan.core.store", raising=False)
    monkeypatch.delattr("scangan.core.store")
    told = typed("--model", tiny_acgan, "--out", "s3://scans/x")
    assert told.exit_code == 1 and "obstore is not installed; type: pip install" in told.output
    assert "scangan[cloud]" in told.output


def test_classes_of_a_store_are_topped_up(tiny_acgan, bucket, some_scans, tmp_path):
    for old, new in (("glioma_tumor", "cat"), ("meningioma_tumor", "dog")):
        (some_scans / old).rename(some_scans / new)
    for path in sorted((some_scans / "dog").iterdir())[:4]:
        path.unlink()
    (some_scans / "2").mkdir()
    (some_scans / "2" / "a.png").write_bytes(next((some_scans / "cat").iterdir()).read_bytes())
    copy_to(some_scans, bucket / "topped")
    words = ["--model", tiny_acgan, "--out", tmp_path / "more", "--balance"]
    told = typed(*words, bucket / "topped")
    assert "13 synthetic scans (4 dog, 9 2): " in told.output
