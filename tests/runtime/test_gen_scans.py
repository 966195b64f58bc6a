"""The command, as a user types it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import export_random, folder_bytes
from PIL import Image

from scangan.cli.front_door import VERBS

FULL = Path("/dev/full")
TAR = ("--format", "tar", "--shard-size")


def test_writes_scans_a_manifest_and_a_sheet(command, tiny_acgan, tmp_path):
    out = tmp_path / "out"
    done = command("generate", "--model", tiny_acgan, "--class", "2", "--count", 8, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"{out} (look at {out / 'sheet.html'})")
    files = sorted(p.name for p in (out / "2").iterdir())
    assert files == [f"{i:09d}.png" for i in range(8)]
    lines = [json.loads(line) for line in (out / "manifest.jsonl").open()]
    assert [line["file"] for line in lines] == [f"2/{name}" for name in files]
    assert all(line["synthetic"] is True and line["class"] == "2" for line in lines)
    assert {p.name for p in out.iterdir()} == {
        "2", "manifest.jsonl", "request.json", "sheet.html", "README.md",
    }  # fmt: skip


def test_every_scan_says_that_it_is_synthetic(command, tiny_acgan, tmp_path):
    command("generate", "--model", tiny_acgan, "--class", "dog", "--count", 3, "--seed", 5,
            "--out", tmp_path / "out")  # fmt: skip
    with Image.open(tmp_path / "out/dog/000000002.png") as image:
        note, comment = json.loads(image.text["scangan"]), image.text["Comment"]
    assert "Synthetic" in comment
    sha256 = hashlib.sha256(tiny_acgan.read_bytes()).hexdigest()
    assert note == {"synthetic": True, "model": sha256, "seed": 5, "index": 2, "class": "dog"}


def test_same_bytes_whatever_the_batch_threads_and_count(command, tiny_acgan, tmp_path):
    def make(name, count, *more):
        out = tmp_path / name
        done = command("generate", "--model", tiny_acgan, "--class", 1, "--count", count,
                       "--seed", 7, "--out", out, *more)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return folder_bytes(out)

    runs = [
        make(f"{batch}-{threads}", 40, "--batch", batch, "--threads", threads)
        for batch in (1, 7, 40)
        for threads in (1, 2)
    ]
    assert all(run == runs[0] for run in runs)
    longer = make("longer", 100)
    scans = {name for name in runs[0] if name.startswith("dog/")}
    assert len(scans) == 40
    assert {name: longer[name] for name in scans} == {name: runs[0][name] for name in scans}


@pytest.mark.parametrize("kind", ["png", "tar", "npz", "dicom"])
@pytest.mark.parametrize("state", ["finished", "not finished"])
def test_what_a_killed_command_was_writing_is_removed(command, tiny_acgan, tmp_path, kind, state):
    out, ending = tmp_path / "out", {"dicom": "dcm"}.get(kind, kind)
    argv = ["generate", "--model", tiny_acgan, "--count", 3, "--format", kind, "--out", out]
    assert command(*argv).returncode == 0
    before = folder_bytes(out)
    sharded = kind in ("tar", "npz")
    left = [f".scans-000000.{ending}.part"] if sharded else [
        f"cat/.000000001.{ending}.part", f"2/.000000000.{ending}.part"]  # fmt: skip
    # Of no scan of this request: they are somebody else's.
    others = ["cat/.notes.part", f"cat/.000000007.{ending}.part", f".scans-000001.{ending}.part"]
    (out / "cat").mkdir(exist_ok=True)
    for name in left + others:
        (out / name).write_bytes(b"half")
    if state == "not finished":
        (out / "manifest.jsonl").unlink()
        Path(out, left[0].replace(".part", "").replace("/.", "/").lstrip(".")).unlink()
    assert command(*argv).returncode == 0
    assert not [name for name in left if (out / name).exists()]
    for name in others:
        (out / name).unlink()
    if sharded:
        (out / "cat").rmdir()
    assert folder_bytes(out) == before


def test_a_part_leaves_what_another_is_writing(command, tiny_acgan, tmp_path):
    argv = ["generate", "--model", tiny_acgan, "--class", "cat", "--count", 4, "--out", tmp_path]
    being_written = tmp_path / "cat/.000000003.png.part"
    assert command(*argv, "--shard", "0/2").returncode == 0
    being_written.write_bytes(b"half")
    assert command(*argv, "--shard", "0/2").returncode == 0 and being_written.exists()
    assert command(*argv, "--shard", "1/2").returncode == 0 and not being_written.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--count", 1], "png files"), (["--count", 3, *TAR, 3], "tar files of 3 scans")],
)
def test_a_part_without_scans_says_why(command, tiny_acgan, tmp_path, options, told):
    argv = ["--model", tiny_acgan, "--class", "cat", "--shard", "0/2", "--out", tmp_path / "out"]
    done = command("generate", *argv, *options)
    assert done.returncode == 0
    assert f"part 0/2 has no scans: there are fewer {told} than parts\n" in done.stdout


def test_a_finished_output_is_left_alone_and_another_request_is_refused(
    command, tiny_acgan, tmp_path
):
    out = tmp_path / "out"
    base = ["generate", "--model", tiny_acgan, "--class", "cat", "--out", out]
    command(*base, "--count", 4)
    scan = out / "cat/000000001.png"
    before = scan.stat().st_mtime_ns
    assert command(*base, "--count", 4).returncode == 0
    assert scan.stat().st_mtime_ns == before
    other = command(*base, "--count", 5, "--seed", 1)
    assert other.returncode == 1
    assert (
        "classes 4 of cat -> 5 of cat; seed 0 -> 1" in other.stderr
        and other.stderr.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("base", "changed", "differs"),
    [
        ((), ("--truncation", 0.5), "truncation 1.0 -> 0.5"),
        ((), ("--paired",), "paired False -> True"),
        ((*TAR, 2), (*TAR, 3), "shard_size 2 -> 3"),
        ((), None, r"model \w{12} -> \w{12}"),
    ],
)
def test_scans_of_two_requests_never_mix(command, tiny_acgan, tmp_path, base, changed, differs):
    out, model = tmp_path / "out", shutil.copy(tiny_acgan, tmp_path / "m.onnx")
    argv = ["generate", "--model", model, "--count", 4, "--out", out]
    assert command(*argv, *base).returncode == 0
    before = folder_bytes(out)
    if changed is None:  # a better model under the same name
        export_random(model, ("cat", "dog", "2"), seed=1)
    again = command(*argv, *(base if changed is None else changed))
    assert again.returncode == 1 and again.stderr.count("\n") == 1
    assert re.search(differs, again.stderr)
    assert folder_bytes(out) == before


def test_a_default_folder_is_named_after_the_request(command, tiny_acgan, tmp_path):
    done = command("generate", "--model", tiny_acgan, "--class", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = [p for p in tmp_path.iterdir() if p.is_dir()]
    assert folder.name == "tiny-2-seed0-n16" and folder.name in done.stdout.splitlines()[-1]
    assert len(list((folder / "2").iterdir())) == 16
    for argv in ([], ["--shard-size", 2], ["--shard-size", 3]):
        done = command("generate", "--model", tiny_acgan, "--format", "npz", *argv, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny-seed0-n16-npz-by3").is_dir()


def test_all_classes_without_being_asked(command, tiny_acgan, tmp_path):
    done = command("generate", "--model", tiny_acgan, "--count", 2, "--out", tmp_path / "out")
    assert "6 synthetic scans of cat, dog, 2" in done.stdout


def _stopped_at_work(model, out, count, number):
    """Start a long command, send it a signal after its first scan, and give what it said.

    A process of its own from its start, not a fork: what a signal does is decided there.
    """
    argv = ["--model", str(model), "--class", "cat", "--count", str(count), "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "scangan.cli", "generate", *argv], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("cat/*.png")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    return child.returncode, stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_huge_count_starts_at_once_and_stops_in_one_line(tiny_acgan, tmp_path, number):
    code, stderr = _stopped_at_work(tiny_acgan, tmp_path / "out", 10**15, number)
    assert code == 130
    assert re.fullmatch(r"scangan generate: stopped; .*same command again.*\n", stderr)
    assert (tmp_path / "out/cat/000000000.png").stat().st_size


def test_two_at_once_into_one_folder_are_refused(command, tiny_acgan, tmp_path):
    from scangan.artifacts.request import Part
    from scangan.runtime.output import only_writers

    with only_writers(tmp_path / "out", Part()):
        done = command("generate", "--model", tiny_acgan, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert f"another command (process {os.getpid()} on " in done.stderr
    assert command("generate", "--model", tiny_acgan, "--out", tmp_path / "out").returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_info_is_a_table_and_makes_nothing(command, tiny_acgan, tmp_path):
    done = command("info", tiny_acgan, cwd=tmp_path)
    assert "acgan, latent 10" in done.stdout and "dog" in done.stdout
    card = command("info", tiny_acgan, "--json", cwd=tmp_path).stdout
    assert json.loads(card)["latent"] == 10 and card.isascii()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["--class", "mouse"], 2, "no class 'mouse'; it has: 0 cat, 1 dog, 2 2"),
        (["--count", "0"], 2, "--count 0"),
        (["--count", str(2**63)], 2, "--count 9223372036854775808"),
        (["--count", "many"], 2, "not a valid integer"),
        (["--seed", "-3"], 2, "--seed -3"),
        (["--model", "nowhere.onnx"], 1, "no such model file"),
        (["--colour", "red"], 2, "No such option"),
        (["--out", "/proc/nowhere/x"], 1, "/proc/nowhere"),
    ],
)
def test_mistakes_are_one_line(command, tiny_acgan, tmp_path, argv, code, says):
    done = command("generate", "--model", tiny_acgan, *argv, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("scangan generate: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--shard-size", 5], "--shard-size needs --format tar or npz"),
        (["--target", 5], "--target needs --balance"),
        (["--balance", "scans", "--count", 5], "leave out --count"),
    ],
)
def test_an_option_without_effect_is_a_mistake(command, tmp_path, argv, says):
    done = command("generate", *argv, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(command):
    assert "Traceback" in command("generate", "--model", "nowhere.onnx", "--debug").stderr


def test_a_full_disk_is_one_line_and_leaves_no_half_scan(command, tiny_acgan, tmp_path):
    # A limit on file size fails the write like a full disk does, half-way through a file.
    import resource

    words = "generate", "--model", tiny_acgan, "--class", "cat", "--no-sheet", "--out"
    command(*words, tmp_path / "whole")
    whole = sorted((tmp_path / "whole/cat").iterdir())
    sizes = [path.stat().st_size for path in whole]
    first = sizes.index(max(sizes))  # the scan that does not fit
    assert first > 0

    def little_space():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1,) * 2)

    out = tmp_path / "out"
    done = command(*words, out, preexec_fn=little_space)
    assert done.returncode == 1 and f"{whole[first].name}: " in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    left = [path for path in out.rglob("*") if path.is_file() and path.name != whole[first].name]
    scans = [path for path in left if path.parent.name == "cat"]
    assert scans and {path.name for path in scans} < {path.name for path in whole}
    assert all(path.read_bytes() == whole[0].with_name(path.name).read_bytes() for path in scans)
    assert not (out / "cat" / whole[first].name).exists() and not list(out.rglob("*.part"))


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "argv",
    [["generate", "--help"], ["--help"], ["info"], ["generate", "--count", "1", "--out", "scans"]],
)
def test_output_to_a_full_disk_is_one_line(tmp_path, argv):
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "scangan.cli", *argv], stdout=full,
                              stderr=subprocess.PIPE, text=True, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_torch_onnx_numba_and_opencv_stay_out(tiny_acgan, tmp_path):
    code = (
        "import sys\n"
        "from scangan.cli.generate import main\n"
        f"assert not main(['--model', {str(tiny_acgan)!r}, '--count', '2', '--out', {str(tmp_path / 'o')!r}],"
        " standalone_mode=False)\n"
        "heavy = {'torch', 'onnx', 'numba', 'cv2', 'sklearn', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_leaves_nothing_elsewhere_and_calls_nobody(command, tiny_acgan, tmp_path):
    # onnxruntime would write a device's id and send telemetry, if it were let.
    home = tmp_path / "home"
    home.mkdir()
    env = {
        k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "CI")
    }
    done = command("generate", "--model", tiny_acgan, "--count", 1, "--out", tmp_path / "out",
                   env=env | {"HOME": str(home)})  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    "verb", ["front_door", *(verb for verbs in VERBS.values() for verb in verbs)]
)
def test_help_imports_nothing_heavy(verb):
    code = (
        f"import sys\nfrom scangan.cli.{verb} import main\n"
        "assert not main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'onnx', 'numba', 'cv2', 'sklearn', 'onnxruntime', 'numpy', 'msgspec'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_not_root_cannot_write(command, tiny_acgan, tmp_path):
    if os.geteuid() == 0:
        # Root may write anywhere but into what is no folder at all.
        (tmp_path / "file").write_text("x")
        done = command("generate", "--model", tiny_acgan, "--out", tmp_path / "file/out")
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        done = command("generate", "--model", tiny_acgan, "--out", tmp_path / "locked/out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
