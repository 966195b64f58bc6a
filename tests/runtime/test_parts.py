"""Parts made apart are the whole, byte for byte."""

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import folder_bytes, seed_of_kills

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import FORMATS, Part, Request, Span
from scangan.core.files import only_writer
from scangan.runtime import GenerationError, ScanganError, ScanGenerator, output
from scangan.runtime.merge import merge
from scangan.runtime.output import only_writers, write_scans

SPANS = Span(0, 5, 13), Span(2, 5, 8)


def _request(kind):
    return Request(spans=SPANS, draw=Draw(4), format=kind, shard_size=4)


@pytest.fixture(scope="module")
def generator(tiny_acgan):
    return ScanGenerator(tiny_acgan, batch=4)


@pytest.fixture(scope="module")
def whole(generator, tmp_path_factory):
    """The request in one piece, in every format."""
    made = {}
    for kind in FORMATS:
        made[kind] = tmp_path_factory.mktemp(kind) / "out"
        write_scans(generator, _request(kind), made[kind])
    return made


def _make(generator, kind, out, i, n):
    return write_scans(generator, _request(kind), out, part=Part(i, n))


@pytest.mark.parametrize("folders", [[], (), iter(())], ids=["list", "tuple", "iterator"])
def test_nothing_to_merge_is_said(folders, tmp_path):
    with pytest.raises(GenerationError, match="nothing to merge; give the folders"):
        merge(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n", [2, 3, 30])
@pytest.mark.parametrize("kind", FORMATS)
def test_in_one_folder(generator, whole, tmp_path, kind, n):
    made = [_make(generator, kind, tmp_path / "out", i, n) for i in reversed(range(n))]
    assert sum(made) == 21
    merge([tmp_path / "out"], tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(whole[kind])


@pytest.mark.parametrize("kind", FORMATS)
def test_in_folders_of_their_own(generator, whole, tmp_path, kind):
    folders = [tmp_path / str(i) for i in range(3)]
    for i, folder in enumerate(folders):
        _make(generator, kind, folder, i, 3)
    before = [folder_bytes(folder) for folder in folders]
    merge(folders, tmp_path / "all")
    assert folder_bytes(tmp_path / "all") == folder_bytes(whole[kind])
    assert [folder_bytes(folder) for folder in folders] == before


def test_what_merge_refuses(generator, whole, tmp_path):
    def made(name, i, n, kind="png"):
        _make(generator, kind, tmp_path / name, i, n)
        return tmp_path / name

    a, b, c = (made(name, i, 3) for i, name in enumerate("abc"))
    other = tmp_path / "other"
    write_scans(generator, Request(spans=SPANS[:1]), other, part=Part(1, 3))
    doubled, halves = made("doubled", 1, 3), made("halves", 0, 2)
    broken = shutil.copytree(c, tmp_path / "broken")
    (broken / "manifest-2-of-3.jsonl").write_text("{}\n")
    gone = shutil.copytree(c, tmp_path / "gone")
    next(gone.glob("2/*12.png")).unlink()
    for folders, says in [
        ([a, b], "not finished: part 2/3"),
        ([a], "not finished: parts 1/3, 2/3"),
        ([a, b, doubled, c], r"part 1/3 is both in .* and in"),
        ([a, other], "different request .*classes"),
        ([a, b, c, halves], "do not fit together"),
        ([a, b, broken], "does not list the scans it should"),
        ([a, b, gone], r"is missing; \w+ part 2/3 again"),
        ([whole["png"]], "is already complete"),
        ([tmp_path / "nowhere"], "no scans from gen-scans"),
    ]:
        with pytest.raises(GenerationError, match=says):
            merge(folders, tmp_path / "all")
        assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("halves", [1, 2])
def test_what_an_earlier_division_left_in_the_folder_is_no_obstacle(
    generator, whole, tmp_path, kind, halves
):
    out = tmp_path / "out"
    for i, n in (*((i, 2) for i in range(halves)), (0, 3), (1, 3)):
        _make(generator, kind, out, i, n)
    if halves == 1:
        with pytest.raises(GenerationError, match="not finished: part 2/3; generate"):
            merge([out], out)
    _make(generator, kind, out, 2, 3)
    merge([out], out)
    assert folder_bytes(out) == folder_bytes(whole[kind])


def test_what_is_merged_already_is_checked_again(generator, tmp_path):
    folders = [tmp_path / str(i) for i in range(2)]
    for i, folder in enumerate(folders):
        _make(generator, "png", folder, i, 2)
    _make(generator, "png", folders[0], 1, 3)  # of another division, not wanted any more
    (folders[0] / "manifest-1-of-3.jsonl").rename(tmp_path / "kept")
    merge(folders, folders[0])
    (tmp_path / "kept").rename(folders[0] / "manifest-1-of-3.jsonl")
    before = folder_bytes(folders[0])
    merge(folders, folders[0])  # as after an end just before the last step
    assert before.pop("manifest-1-of-3.jsonl") and folder_bytes(folders[0]) == before
    next(folders[0].glob("2/*12.png")).unlink()
    with pytest.raises(GenerationError, match=r"12\.png is missing; \w+ its scans again"):
        merge([folders[0]], folders[0])


def test_manifests_of_another_division_do_not_survive_a_merge(generator, whole, tmp_path):
    folders = [tmp_path / str(i) for i in range(2)]
    for i, folder in enumerate(folders):
        _make(generator, "png", folder, i, 2)
    _make(generator, "png", tmp_path / "all", 0, 3)
    merge(folders, tmp_path / "all")
    assert folder_bytes(tmp_path / "all") == folder_bytes(whole["png"])


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    import errno
    import fcntl

    def flock(file, operation):
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    script = "import sys, time; sys.path.insert(0, '.'); import pathlib, fcntl, errno\n"
    script += "def flock(f, o): raise OSError(errno.ENOSYS, 'no')\nfcntl.flock = flock\n"
    script += "from scangan.core.files import only_writer\n"
    script += "with only_writer(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    lock = tmp_path / "out/.lock"
    holder = subprocess.Popen([sys.executable, "-c", script, lock], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"in\n"
        # Longer than filelock waits before it takes a text that it does not know for a leftover
        with (
            pytest.raises(ScanganError, match=rf"\(process {holder.pid} on "),
            only_writer(lock, wait=3),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
    with only_writer(lock):  # what a kill left is in nobody's way
        assert lock.exists()
    assert not lock.parent.exists()


def test_a_part_is_made_again_alone(generator, whole, tmp_path):
    for i in range(2):
        _make(generator, "png", tmp_path / "out", i, 2)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    write_scans(generator, _request("png"), tmp_path / "out", part=Part(1, 2), force=True)
    changed = [p for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert len(changed) == 11
    merge([tmp_path / "out"], tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(whole["png"])


def test_the_command(tiny_acgan, command, tmp_path):
    base = ["generate", "--model", tiny_acgan, "--count", 7, "--seed", 1]
    for i in range(3):
        done = command(*base, "--shard", f"{i}/3", "--out", tmp_path / "out")
        name = ("cat", "dog", "2")[i]
        assert done.returncode == 0
        assert f"7 synthetic scans of {name} (part {i}/3)" in done.stdout
    told = json.loads(command(*base, "--shard", "1/2", "--out", tmp_path / "b", "--json").stdout)
    assert told["scans"] == 11 and told["classes"] == {"cat": 0, "dog": 4, "2": 7}
    done = command("merge", tmp_path / "out")
    assert done.stdout == f"21 synthetic scans, none missing or doubled: {tmp_path / 'out'}\n"
    assert command("merge", tmp_path / "out").stdout == done.stdout  # again
    command(*base, "--out", tmp_path / "whole")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")
    for argv, code, says in [
        (["generate", "--shard", "3/3"], 2, "0/3 to 2/3"),
        (["merge"], 2, "FOLDER"),
        (["merge", tmp_path / "a", tmp_path / "b"], 2, "--out"),
        (["generate", tmp_path / "out"], 2, "unexpected extra argument"),
    ]:
        done = command(*argv, cwd=tmp_path)
        assert done.returncode == code and says in done.stderr and done.stderr.count("\n") == 1


def _size(folder):
    """Bytes of all files, as they are while others come and go."""
    sizes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes


def _until(happened):
    """Wait until something happened that a command does."""
    give_up = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _generate(model, count, *more):
    return ["scangan", "generate", "--model", model, "--count", count, *more]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tiny_acgan, light, tmp_path, kind):
    """Five kills of each format: twenty in all."""

    count = 120 if kind == "dicom" else 1000
    shards = ["--shard-size", 200] if kind in ("tar", "npz") else []

    def argv(out):
        return _generate(tiny_acgan, count, "--format", kind, *shards, "--batch", 8, "--out", out)

    out = tmp_path / "out"
    assert light.run(tmp_path, argv(tmp_path / "whole")).code == 0
    whole, moments = _size(tmp_path / "whole"), random.Random(f"{seed_of_kills()} {kind}")
    ends = []
    # By what is written, not by the clock: the machine may be busier now than it was before.
    for share in sorted(moments.uniform(0.01, 0.8) for _ in range(5)):
        started = light.start(tmp_path, argv(out))
        _until(lambda share=share: _size(out) >= share * whole)
        os.kill(started.process, signal.SIGKILL)
        ends.append(light.wait(started).code)
        if _size(out) < 0.9 * whole:  # nothing says that all is there
            assert not (out / "manifest.jsonl").exists()
    assert -signal.SIGKILL in ends  # some kill met it at work
    assert light.run(tmp_path, argv(out)).code == 0
    assert folder_bytes(out) == folder_bytes(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.part"))


def test_parts_at_the_same_time_in_one_folder(tiny_acgan, light, tmp_path):
    argv, out = _generate(tiny_acgan, 40), tmp_path / "out"
    children = [
        light.start(tmp_path, [*argv, "--shard", f"{i}/4", "--out", out], name=f"part{i}")
        for i in range(4)
    ]
    assert [light.wait(child).code for child in children] == [0] * 4
    merge([out], out)
    assert light.run(tmp_path, [*argv, "--out", tmp_path / "whole"]).code == 0
    assert folder_bytes(out) == folder_bytes(tmp_path / "whole")


def test_a_part_may_claim_the_folder_while_another_looks_at_it(
    generator, whole, tmp_path, monkeypatch
):
    out, look = tmp_path / "out", output.refuse_inside_scans

    def claimed_meanwhile(path):
        monkeypatch.setattr(output, "refuse_inside_scans", look)
        _make(generator, "png", out, 1, 2)

    out.mkdir()
    monkeypatch.setattr(output, "refuse_inside_scans", claimed_meanwhile)
    _make(generator, "png", out, 0, 2)
    merge([out], out)
    assert folder_bytes(out) == folder_bytes(whole["png"])


def test_stopped_in_shards_it_goes_on(tiny_acgan, light, tmp_path):
    argv = _generate(tiny_acgan, 100000, "--format", "tar", "--out", tmp_path / "out")
    started = light.start(tmp_path, argv)
    _until(lambda: list(tmp_path.glob("out/*.tar")))
    os.kill(started.process, signal.SIGINT)
    done = light.wait(started)
    assert done.code == 130
    assert re.fullmatch(r"scangan generate: stopped; .*same command again.*\n", done.stderr)
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob(".lock*"))


def test_force_replaces_what_is_ours_and_nothing_else(generator, tmp_path):
    out = tmp_path / "out"
    write_scans(generator, _request("png"), out)
    (out / "cat/notes.txt").write_text("mine")
    (out / "cat/7.png").write_text("mine")
    with pytest.raises(GenerationError, match="--force to replace them"):
        write_scans(generator, _request("tar"), out)
    write_scans(generator, _request("tar"), out, force=True)
    left = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert left == ["README.md", "cat/7.png", "cat/notes.txt", "manifest.jsonl", "request.json",
                    *(f"scans-{k:06d}.tar" for k in range(6)), "sheet.html"]  # fmt: skip


def test_force_leaves_names_like_ours(generator, tmp_path):
    out = tmp_path / "out"
    write_scans(generator, _request("png"), out)
    mine = [out / "999999999.dcm", out / "cat/123456789.png"]
    for path in mine:
        path.write_text("mine")
    write_scans(generator, Request(spans=SPANS), out, force=True)
    assert all(path.read_text() == "mine" for path in mine)
    (tmp_path / "real").mkdir()
    (out / "2").rename(tmp_path / "moved")
    (out / "2").symlink_to(tmp_path / "real")
    with pytest.raises(GenerationError, match="is a link"):
        write_scans(generator, _request("png"), out, force=True)


def test_what_hides_in_a_foreign_folder_stays(generator, tmp_path):
    for name in (".lock", ".lock-holder", "code.py"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(GenerationError, match="gen-scans did not write"):
        write_scans(generator, _request("png"), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".lock-holder", "code.py"]


def test_who_may_write_at_the_same_time(tmp_path):
    def may(part):
        try:
            with only_writers(tmp_path, part):
                return True
        except ScanganError as error:
            assert f"process {os.getpid()}" in str(error)
            return False

    with only_writers(tmp_path, Part(0, 3)):
        assert [may(p) for p in (Part(1, 3), Part(0, 3), Part(0, 2), Part())] == [
            True, False, False, False,
        ]  # fmt: skip
    with only_writers(tmp_path, Part()):
        assert not may(Part(1, 3)) and not may(Part())
    assert may(Part()) and list(tmp_path.glob(".gen*")) == []


def test_what_is_made_again_is_not_whole_meanwhile(generator, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_scans(generator, _request("png"), out)
    (out / "cat/000000007.png").unlink()

    def killed(*_):
        raise KeyboardInterrupt

    for part, force in ((Part(), False), (Part(1, 2), True)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(generator, "make", killed)
            write_scans(generator, _request("png"), out, part=part, force=force)
        assert not (out / "manifest.jsonl").exists()
        write_scans(generator, _request("png"), out)
    assert not list(out.glob("manifest-*"))


def test_merging_into_a_folder_of_somebodys(generator, tmp_path):
    for i in range(2):
        _make(generator, "png", tmp_path / "parts", i, 2)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "manifest.jsonl").write_text("mine")
    with pytest.raises(GenerationError, match="gen-scans did not write"):
        merge([tmp_path / "parts"], mine)
    assert [p.read_text() for p in mine.iterdir()] == ["mine"]


def test_merging_says_first_whose_it_is(generator, whole, tmp_path, monkeypatch):
    for i in range(2):
        _make(generator, "png", tmp_path / "parts", i, 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def killed(*_):
            raise KeyboardInterrupt

        patch.setattr("scangan.runtime.merge._copy_part", killed)
        merge([tmp_path / "parts"], tmp_path / "all")
    assert (tmp_path / "all/request.json").exists()
    other = tmp_path / "other"
    for i in range(2):
        write_scans(generator, Request(spans=SPANS), other, part=Part(i, 2))
    with pytest.raises(GenerationError, match="another request"):
        merge([other], tmp_path / "all")
    merge([tmp_path / "parts"], tmp_path / "all")
    assert folder_bytes(tmp_path / "all") == folder_bytes(whole["png"])


def test_links_are_not_needed(generator, whole, tmp_path, monkeypatch):
    for i in range(2):
        _make(generator, "tar", tmp_path / "parts", i, 2)

    def no(*_):
        raise OSError(1, "no links here")

    monkeypatch.setattr("os.link", no)
    merge([tmp_path / "parts"], tmp_path / "all")
    assert folder_bytes(tmp_path / "all") == folder_bytes(whole["tar"])


def test_dicom_of_a_scan_is_the_same_whatever_else_was_asked_for(generator, tmp_path):
    for name, spans in (("all", [0, 1, 2]), ("one", [2])):
        request = Request(spans=tuple(Span(n, 0, 1) for n in spans), format="dicom")
        write_scans(generator, request, tmp_path / name)
    a, b = (tmp_path / name / "2/000000000.dcm" for name in ("all", "one"))
    assert a.read_bytes() == b.read_bytes()


def test_a_folder_that_vanishes_is_one_line(tiny_acgan, light, tmp_path):
    started = light.start(tmp_path, _generate(tiny_acgan, 1000000, "--out", tmp_path / "out"))
    _until(lambda: list(tmp_path.glob("out/cat/*5.png")))
    (tmp_path / "out").rename(tmp_path / "moved")
    done = light.wait(started)
    assert done.code == 1
    assert "no such file or directory" in done.stderr and done.stderr.count("\n") == 1


def test_lines_of_a_manifest_are_as_many_as_scans(whole):
    counts = [sum(1 for _ in (whole[kind] / "manifest.jsonl").open()) for kind in FORMATS]
    assert counts == [21] * 4
    first = [json.loads(next((whole[k] / "manifest.jsonl").open())) for k in FORMATS]
    for one, other in itertools.pairwise(first):
        assert (one["class"], one["index"]) == (other["class"], other["index"]) == ("cat", 5)
