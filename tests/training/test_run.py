"""Runs: killed, stopped, resumed, refused."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import BRAIN
from safetensors.torch import load_file

from scangan.training import Run, TrainingError, TrainOptions, train

TINY = {"size": 32, "width": 4, "batch": 16, "kimg": 1.28, "tick": 0.16}  # 80 steps, 8 ticks


def _argv(source, out, **options):
    given = [f"--{k}={v}" for k, v in (TINY | options).items()]
    return [sys.executable, "-m", "scangan.training", str(source), "--out", str(out), *given]


def _tensors(run):
    return load_file(run / "best.safetensors")


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """Train once without being disturbed, on one thread."""
    import os

    out = tmp_path_factory.mktemp("runs") / "whole"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        _argv(prepared.path, out), env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_a_run_holds_all_that_it_should(whole):
    out, printed = whole
    names = {p.name for p in out.iterdir()}
    assert {
        "config.json", "metrics.jsonl", "samples", "last.pt", "best.safetensors", "items.jsonl",
    } <= names  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == list(range(10, 81, 10))
    assert len(list((out / "samples").iterdir())) == 8
    for line in lines:
        assert line["raw"]["n"] == line["ema"]["n"] == 400
        assert set(line["ema"]["agreement"]) == set(Run(out).classes)
    assert "best.safetensors" in printed and "class agreement" in printed
    assert len((out / "items.jsonl").read_text().splitlines()) == 240


def test_the_kept_generator_is_the_best_measured_not_the_last(whole):
    out, _ = whole
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    best = Run(out).load_best()
    measured = {
        (k, line["kimg"]): line[k]["mean_class_kid"] for line in lines for k in ("raw", "ema")
    }
    assert best.scores["mean_class_kid"] == min(measured.values())
    assert measured[best.kind, best.kimg] == min(measured.values())


@pytest.mark.slow
def test_killed_at_random_and_typed_again_ends_with_the_same_tensors(
    whole, prepared, tmp_path, one_thread
):
    out = tmp_path / "killed"
    rng = random.Random(time.time_ns())
    kills = 0
    for _ in range(3):
        child = subprocess.Popen(
            _argv(prepared.path, out),
            env=one_thread,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = len(list(out.glob("samples/*"))) if out.exists() else 0
        while child.poll() is None and len(list(out.glob("samples/*"))) < before + 1:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        child.kill()
        kills += child.wait() == -signal.SIGKILL
    assert kills >= 2
    done = subprocess.run(_argv(prepared.path, out), env=one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resuming at" in done.stdout
    assert _same(_tensors(out), _tensors(whole[0]))
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]
    assert steps == list(range(10, 81, 10))  # nothing twice, nothing missing


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_goes_on(whole, prepared, tmp_path, one_thread):
    out = tmp_path / "stopped"
    child = subprocess.Popen(
        _argv(prepared.path, out),
        env=one_thread,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(out.glob("samples/*.png")):
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "stopped at" in stderr and "the same command again goes on" in stderr
    done = subprocess.run(_argv(prepared.path, out), env=one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert _same(_tensors(out), _tensors(whole[0]))


def test_a_finished_run_typed_again_is_left_alone_and_may_be_made_longer(whole, prepared, tmp_path):
    import shutil

    out = shutil.copytree(whole[0], tmp_path / "again")
    before = _tensors(out)
    run = train(prepared.path, out, TrainOptions(**TINY))
    assert _same(_tensors(out), before)
    train(prepared.path, out, TrainOptions(**TINY | {"kimg": 1.44}))
    assert run.load_state(torch.device("cpu"))["step"] == 90


def test_another_configuration_is_refused_with_the_difference(whole, prepared):
    with pytest.raises(TrainingError, match="width 4 -> 8"):
        train(prepared.path, whole[0], TrainOptions(**TINY | {"width": 8}))


def test_a_shorter_run_is_refused_and_changes_nothing(whole, prepared):
    before = (whole[0] / "config.json").read_text()
    with pytest.raises(TrainingError, match=r"kimg 1\.28 -> 0\.5"):
        train(prepared.path, whole[0], TrainOptions(**TINY | {"kimg": 0.5}))
    assert (whole[0] / "config.json").read_text() == before


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(prepared, tmp_path, one_thread):
    import resource

    def little_space():  # fails a write half-way, like a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        _argv(prepared.path, tmp_path / "run"),
        env=one_thread,
        capture_output=True,
        text=True,
        preexec_fn=little_space,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "last.pt" in done.stderr
    assert "report" not in done.stderr
    assert not (tmp_path / "run/last.pt").exists()
    assert _tensors(tmp_path / "run")  # whole


def test_a_folder_of_something_else_is_refused(prepared, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(TrainingError, match=r"no run \(it has thesis.tex\)"):
        train(prepared.path, tmp_path, TrainOptions(**TINY))


def test_other_scans_are_refused(whole, some_scans):
    from scangan.preprocessing import PrepOptions, prepare

    other = prepare(some_scans, some_scans.parent / "other", PrepOptions(size=32))
    with pytest.raises(TrainingError, match="the scans"):
        train(other.path, whole[0], TrainOptions(**TINY))


def test_a_checkpoint_that_carries_code_is_not_run(whole, tmp_path):
    import shutil

    out = shutil.copytree(whole[0], tmp_path / "evil")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"step": Evil()}, out / "last.pt")
    with pytest.raises(TrainingError, match="cannot be read"):
        Run(out).load_state(torch.device("cpu"))
    assert not (tmp_path / "pwned").exists()


def test_a_folder_of_scans_is_prepared_into_the_run(some_scans, tmp_path):
    run = train(
        some_scans, tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.064, "arch": "dcgan"})
    )
    assert (tmp_path / "run/dataset/images.npy").exists()
    assert run.classes == ()
    assert run.load_best().scores["agreement"] == {}


def test_the_classifier_really_learns_the_classes(prepared):
    from scangan.training.networks import Discriminator
    from scangan.training.run import make_generator
    from scangan.training.sampling import Sampler
    from scangan.training.step import TrainingStep

    torch.manual_seed(0)
    options = TrainOptions(**TINY | {"width": 16, "batch": 64, "augment": False})
    images, labels = torch.from_numpy(np.array(prepared.images)), torch.from_numpy(prepared.labels)
    step = TrainingStep(
        make_generator(options, 4),
        Discriminator(size=32, width=16, classes=4),
        Sampler(images, labels, 4),
        options,
        torch.device("cpu"),
    )
    for i in range(300):
        step(i)
    scans = images[:, None].float() / 127.5 - 1
    with torch.no_grad():
        logits = step.discriminator.eval()(scans, labels)[1]
    assert (logits.argmax(1) == labels).float().mean() > 0.6  # chance is 0.25


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 48}, "--size 48 is not supported; it takes 32, 64, 128"),
        ({"arch": "vae"}, "dcgan or acgan"),
        ({"batch": 30}, "no multiple of 4; try 32"),
        ({"kimg": 0}, "--kimg 0"),
        ({"seed": -1}, "--seed -1"),
        ({"tick": 0.0}, "--tick 0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, says):
    with pytest.raises(TrainingError, match=says):
        TrainOptions(**options)


@pytest.mark.parametrize("kimg", [0.064, 1, 7, 50, 1000])
@pytest.mark.parametrize("tick", [None, 0.5, 10, 1e6])
def test_a_run_has_at_least_four_ticks(kimg, tick):
    options = TrainOptions(kimg=kimg, tick=tick, batch=16)
    ticks = [step for step in range(1, options.steps + 1) if options.is_tick(step)]
    assert len(ticks) >= min(4, options.steps)
    assert ticks[-1] == options.steps
    gaps = np.diff([0, *ticks])
    assert gaps.max() - gaps.min() <= 1


def test_one_class_is_enough_for_a_dcgan_and_too_few_for_an_acgan(some_scans, tmp_path):
    import shutil

    shutil.rmtree(some_scans / "meningioma_tumor")
    with pytest.raises(TrainingError, match=r"one class only .*use --arch dcgan"):
        train(some_scans, tmp_path / "run", TrainOptions(**TINY))
    # More scans, the same command: what was prepared before is not in the way.
    shutil.copytree(BRAIN / "no_tumor", some_scans / "no_tumor")
    train(some_scans, tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.032}))


def test_too_small_a_class_is_named_before_anything_is_trained(some_scans, tmp_path):
    from scangan.runtime import ScanganError

    for file in sorted((some_scans / "glioma_tumor").iterdir())[3:]:
        file.unlink()
    with pytest.raises(ScanganError, match="'glioma_tumor' has 3 scans"):
        train(some_scans, tmp_path / "run", TrainOptions(**TINY))


def test_a_dataset_of_another_size_is_refused(prepared, tmp_path):
    with pytest.raises(TrainingError, match="prepared at 32 pixels, not 64; use --size 32"):
        train(prepared.path, tmp_path / "run", TrainOptions())


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda p: None, "does not exist"), (lambda p: p.mkdir(), "no class folders")],
)
def test_no_source(tmp_path, make, says, command):
    make(tmp_path / "source")
    done = command("training", tmp_path / "source", "--out", tmp_path / "run")
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_cuda_without_a_gpu_says_so(tmp_path, command):
    done = command("training", BRAIN, "--out", tmp_path / "run", "--device", "cuda")
    assert done.returncode == 1 and "no GPU; use --device cpu" in done.stderr
