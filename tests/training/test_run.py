"""Runs: killed, stopped, resumed, refused."""

import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from types import SimpleNamespace

import cv2
import few_scores
import numpy as np
import pytest
import torch
from conftest import BRAIN, copy_scans, seed_of_kills
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from ticks import tick

from scangan.artifacts.dataset import load_dataset
from scangan.export.exporter import export_run
from scangan.preprocessing import PrepOptions, PreprocessingError, prepare
from scangan.runtime import ScanganError
from scangan.training import Run, TrainingError, TrainOptions, measure_tick, train
from scangan.training.checkpoints import load_best, load_checkpoint, load_generator
from scangan.training.data import TrainingScans, hold_back
from scangan.training.early_stopping import EarlyStopping
from scangan.training.loop import Session, Stopped
from scangan.training.measure_tick import Measurer
from scangan.training.memory_use import peak_memory
from scangan.training.networks import make_generator
from scangan.training.per_class import joined_lines
from scangan.training.recipe import recipe_names
from scangan.training.report_figure import WIDTH
from scangan.training.scoring import score_generator
from scangan.training.step import TrainingStep, make_step

TINY = {"size": 32, "width": 4, "batch": 16, "kimg": 1.28, "tick": 0.16}  # 80 steps, 8 ticks


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Fewer scans than the fixture of this name for all tests: here each run measures them again."""
    source = copy_scans(tmp_path_factory.mktemp("scans") / "brain", 60)
    return prepare(source, source.with_name("prepared"), PrepOptions(size=32))


def _argv(source, out, **options):
    given = [f"--{k}={v}" for k, v in (TINY | options).items()]
    return ["train-gan", str(source), "--out", str(out), *given]


def _tensors(run):
    return load_file(run / "best.safetensors")


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def whole(prepared, warm, tmp_path_factory):
    """Train once without being disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    done = warm.run(folder, _argv(prepared.path, folder / "whole"))
    assert done.code == 0, done.stderr
    return folder / "whole", done.stdout


def test_a_run_holds_all_that_it_should(whole):
    out, printed = whole
    names = {p.name for p in out.iterdir()}
    assert {
        "config.json", "metrics.jsonl", "samples", "last.pt", "best.safetensors", "items.jsonl",
        "report.png",
    } <= names  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == list(range(10, 81, 10))
    samples = list((out / "samples").iterdir())
    assert len(samples) == 8
    for file in samples:
        with Image.open(file) as image:
            assert "Synthetic" in image.text["Comment"]
    for line in lines:
        assert line["raw"]["n"] == line["ema"]["n"] == 2 * few_scores.FEW["PER_TICK"]
        assert set(line["ema"]["agreement"]) == set(Run(out).classes)
        for told in ("auc_training", "auc_synthetic"):
            assert line[told] and set(line[told]) <= set(Run(out).classes)
            assert all(0 <= auc <= 1 for auc in line[told].values())
    assert "102 scans to train on, 18 held back" in printed
    assert "best.safetensors" in printed and "class agreement" in printed and "\\n" not in printed
    assert len((out / "items.jsonl").read_text().splitlines()) == 120


def test_a_tick_scores_a_hundred_scans_of_a_class_or_400_of_a_model_without(every_score):
    counted = SimpleNamespace(score=lambda images, labels: np.unique(labels, return_counts=True))
    for classes, counts in ((4, [100] * 4), (0, [400])):
        generator = make_generator(TrainOptions(**TINY), classes).eval()
        scored = score_generator(generator, counted, 100, 0, torch.device("cpu"))
        assert scored[1].tolist() == counts


def test_the_kept_generator_is_the_best_measured_not_the_last(whole):
    out, _ = whole
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    best = load_best(Run(out))
    measured = {
        (k, line["kimg"]): line[k]["mean_class_kid"] for line in lines for k in ("raw", "ema")
    }
    assert best.scores.mean_class_kid == min(measured.values())
    assert measured[best.kind, best.kimg] == min(measured.values())


def test_the_tensors_kept_are_those_that_scored_best(prepared, tmp_path, monkeypatch):
    kids = iter([0.9, 0.8, 0.5, 0.4, 0.7, 0.6, 0.7, 0.6])  # raw and average, in four ticks
    keep, seen = Measurer._keep_best, []

    def keep_best(measurer, candidates, scores, kimg):
        for kind, model in candidates.items():
            seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            scores[kind] = replace(scores[kind], mean_class_kid=next(kids))
        return keep(measurer, candidates, scores, kimg)

    monkeypatch.setattr(Measurer, "_keep_best", keep_best)
    run = train(prepared.path, tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.64}))
    assert [tick.best for tick in run.read_metrics()] == ["ema", "ema", None, None]
    assert _same(_tensors(run.path), seen[3]) and not _same(seen[2], seen[3])
    assert load_best(run).kimg == 0.32 and load_best(run).kind == "ema"


def test_tensorboard_has_each_tick_once_though_a_kill_made_one_twice(
    prepared, tmp_path, monkeypatch
):
    out, options, measure = tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.64}), Measurer.tick

    def killed(measurer, trained, step, *rest):
        measure(measurer, trained, step, *rest)
        if step == 20:  # before the checkpoint is written
            raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(Measurer, "tick", killed)
        train(prepared.path, out, options)
    train(prepared.path, out, options)
    board = EventAccumulator(str(out))
    board.Reload()
    told = board.Scalars("ema/mean_class_kid")
    assert [each.step for each in told] == [10, 20, 30, 40]
    scores = [tick.ema.mean_class_kid for tick in Run(out).read_metrics()]
    assert [each.value for each in told] == pytest.approx(scores)


def _start_to_first_tick(warm, folder, argv, out):
    """Start a command, and wait until it has drawn samples once more."""
    before = len(list(out.glob("samples/*.png")))
    started = warm.start(folder, argv)
    give_up = time.monotonic() + 120
    while len(list(out.glob("samples/*.png"))) == before:
        assert time.monotonic() < give_up
        time.sleep(0.005)
    return started


@pytest.mark.slow
def test_killed_at_random_and_typed_again_ends_with_the_same_tensors(
    whole, prepared, warm, tmp_path
):
    out = tmp_path / "killed"
    argv, rng = _argv(prepared.path, out), random.Random(seed_of_kills())
    kills = 0
    for _ in range(3):
        started = _start_to_first_tick(warm, tmp_path, argv, out)
        time.sleep(rng.uniform(0, 0.05))  # within a tick or two of eight, so that some are left
        os.kill(started.process, signal.SIGKILL)
        kills += warm.wait(started).code == -signal.SIGKILL
    assert kills >= 2
    done = warm.run(tmp_path, argv)
    assert done.code == 0, done.stderr
    assert "resuming at" in done.stdout
    assert _same(_tensors(out), _tensors(whole[0]))
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]
    assert steps == list(range(10, 81, 10))  # nothing twice, nothing missing


def test_asked_to_stop_at_the_end_of_a_class_it_does_not_start_the_next(
    prepared, tmp_path, monkeypatch
):
    options, said = TrainOptions(**TINY | {"kimg": 0.064, "arch": "dcgan", "per_class": True}), []
    draw = Session._draw_report

    def stopped_meanwhile(self):
        monkeypatch.setattr(Session, "_draw_report", draw)
        os.kill(os.getpid(), signal.SIGTERM)
        draw(self)

    monkeypatch.setattr(Session, "_draw_report", stopped_meanwhile)
    with pytest.raises(Stopped, match="is done; run the same command again to continue"):
        train(prepared.path, tmp_path / "run", options, say=said.append)
    assert [line for line in said if line.startswith("class ")] == ["class 1 of 2: glioma_tumor"]
    run = train(prepared.path, tmp_path / "run", options)
    assert len(load_best(run).scores.class_kid) == 2


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_goes_on(whole, prepared, warm, tmp_path):
    out = tmp_path / "stopped"
    argv = _argv(prepared.path, out)
    started = _start_to_first_tick(warm, tmp_path, argv, out)
    os.kill(started.process, signal.SIGTERM)
    stopped = warm.wait(started)
    assert stopped.code == 130
    assert "stopped at" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    done = warm.run(tmp_path, argv)
    assert done.code == 0, done.stderr
    assert _same(_tensors(out), _tensors(whole[0]))


def test_a_finished_run_typed_again_is_left_alone_and_may_be_made_longer(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "again")
    before = _tensors(out)
    run = train(prepared.path, out, TrainOptions(**TINY))
    assert _same(_tensors(out), before)
    train(prepared.path, out, TrainOptions(**TINY | {"kimg": 1.44}))
    assert load_checkpoint(run, torch.device("cpu")).step == 90


@pytest.mark.slow
def test_a_run_whose_rates_decay_is_not_made_longer(prepared, tmp_path):
    """They would jump up again; what the error advises works."""
    out, short = tmp_path / "run", TINY | {"kimg": 0.016, "lr_schedule": "linear"}
    run = train(prepared.path, out, TrainOptions(**short))
    before = _tensors(out), (out / "config.json").read_text()
    longer = TrainOptions(**short | {"kimg": 0.032})
    says = r"kimg 0\.016 -> 0\.032, .*linear learning rates.*\); choose another"
    with pytest.raises(TrainingError, match=says):
        train(prepared.path, out, longer)
    assert _same(_tensors(out), before[0]) and (out / "config.json").read_text() == before[1]
    assert load_best(train(prepared.path, tmp_path / "another", longer))
    train(prepared.path, out, longer, force=True)
    assert load_checkpoint(run, torch.device("cpu")).step == 2


def test_another_configuration_is_refused_with_the_difference(whole, prepared):
    with pytest.raises(TrainingError, match="width 4 -> 8"):
        train(prepared.path, whole[0], TrainOptions(**TINY | {"width": 8}))


def test_a_shorter_run_is_refused_and_changes_nothing(whole, prepared):
    before = (whole[0] / "config.json").read_text()
    with pytest.raises(TrainingError, match=r"kimg 1\.28 -> 0\.5"):
        train(prepared.path, whole[0], TrainOptions(**TINY | {"kimg": 0.5}))
    assert (whole[0] / "config.json").read_text() == before


def _limited(warm, folder, limit, argv):
    """Run a command in a process that sets a limit for itself before it begins."""
    code = f"import few_scores, signal, resource; few_scores.score_few(); {limit}"
    code += "; from scangan.cli.programs import train_gan; train_gan()"
    return warm.run(folder, ["-c", code, *argv[1:]])


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(prepared, tmp_path, warm):
    """A limit on the size of files fails a write half-way, like a full disk."""
    argv = _argv(prepared.path, tmp_path / "run", kimg=0.32)
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    done = _limited(warm, tmp_path, limit, argv)
    assert done.code == 1
    assert done.stderr.count("\n") == 1 and "last.pt" in done.stderr
    assert "report" not in done.stderr
    assert not (tmp_path / "run/last.pt").exists()
    assert _tensors(tmp_path / "run")  # whole


def test_a_folder_of_something_else_is_refused(prepared, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(TrainingError, match=r"not a run \(it has thesis.tex\)"):
        train(prepared.path, tmp_path, TrainOptions(**TINY))


def test_other_scans_are_refused(whole, some_scans):
    other = prepare(some_scans, some_scans.parent / "other", PrepOptions(size=32))
    for source in (other.path, some_scans):  # a dataset, and scans that are prepared first
        with pytest.raises(TrainingError, match="the scans"):
            train(source, whole[0], TrainOptions(**TINY))
    assert not (whole[0] / "dataset").exists()


def test_a_checkpoint_that_carries_code_is_not_run(whole, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "evil")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"step": Evil()}, out / "last.pt")
    with pytest.raises(TrainingError, match=r"cannot be read .*; you can still export the run; to"):
        load_checkpoint(Run(out), torch.device("cpu"))
    assert not (tmp_path / "pwned").exists()


def test_a_folder_of_scans_is_prepared_into_the_run(some_scans, tmp_path):
    run = train(
        some_scans, tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.064, "arch": "dcgan"})
    )
    assert (tmp_path / "run/dataset/images.npy").exists()
    assert run.classes == ()
    assert load_best(run).scores.agreement == {}


def test_the_classifier_really_learns_the_classes(tmp_path):
    brain = prepare(BRAIN, tmp_path / "brain", PrepOptions(size=32))
    held_back = np.zeros(len(brain.labels), bool)
    scans = TrainingScans(np.array(brain.images), brain.labels, brain.classes, held_back)
    options = TrainOptions(**TINY | {"width": 16, "batch": 32, "augment": ()})
    step = make_step(options, scans, torch.device("cpu"))
    for i in range(150):
        step(i)
    scans = step.sampler.images[:, None].float() / 127.5 - 1
    labels = step.sampler.labels
    with torch.no_grad():
        logits = step.discriminator.eval()(scans, labels)[1]
    assert (logits.argmax(1) == labels).float().mean() > 0.6  # chance is 0.25


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 48}, "--size 48 is not supported; it takes 16, 32, 64, 128, 256, 512"),
        ({"arch": "vae"}, "--arch vae is not supported; it takes dcgan, acgan"),
        ({"batch": 30}, "not a multiple of 4; try 32"),
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
    shutil.rmtree(some_scans / "meningioma_tumor")
    with pytest.raises(TrainingError, match=r"only one class .*use --arch dcgan"):
        train(some_scans, tmp_path / "run", TrainOptions(**TINY))
    # More scans, the same command
    shutil.copytree(BRAIN / "no_tumor", some_scans / "no_tumor")
    train(some_scans, tmp_path / "run", TrainOptions(**TINY | {"kimg": 0.032}))


def test_too_small_a_class_is_named_before_anything_is_trained(some_scans, tmp_path):
    for file in sorted((some_scans / "glioma_tumor").iterdir())[3:]:
        file.unlink()
    with pytest.raises(
        ScanganError, match=r"too few scans of 'glioma_tumor' \(3\): .*--arch dcgan"
    ):
        train(some_scans, tmp_path / "run", TrainOptions(**TINY))


def test_a_dataset_of_another_size_is_refused(prepared, tmp_path):
    with pytest.raises(TrainingError, match="prepared at 32 pixels, not 64; use --size 32"):
        train(prepared.path, tmp_path / "run", TrainOptions())


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda p: None, "does not exist"), (lambda p: p.mkdir(), "no class folders")],
)
def test_no_source(tmp_path, make, says, warm):
    make(tmp_path / "source")
    done = warm.run(tmp_path, _argv(tmp_path / "source", tmp_path / "run"))
    assert done.code == 1 and says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_cuda_without_a_gpu_says_so(tmp_path, warm):
    done = warm.run(tmp_path, _argv(BRAIN, tmp_path / "run", device="cuda"))
    assert done.code == 2 and "no GPU; use --device cpu" in done.stderr


def test_force_starts_anew_and_deletes_only_what_a_run_writes(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "again")
    (out / "notes.txt").write_text("mine")
    run = train(prepared.path, out, TrainOptions(**TINY | {"width": 8, "kimg": 0.032}), force=True)
    assert run.options.width == 8
    assert [line.step for line in run.read_metrics()] == [1, 2]
    assert (out / "notes.txt").read_text() == "mine"


def test_somebody_elses_files_are_never_deleted(some_scans, prepared, tmp_path):
    options, nowhere = TrainOptions(**TINY), tmp_path / "nowhere"
    for name in ("samples/mine.dcm", "dataset/mine.dcm", "items.jsonl", "config.json"):
        project = tmp_path / name.replace("/", "-").replace(".", "-")
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text('{"name": "mine"}')
        for force in (False, True):
            with pytest.raises(TrainingError, match=r"not (a|from a) run.*choose another --out"):
                train(prepared.path, project, options, force=force)
            with pytest.raises(TrainingError, match="nowhere does not exist"):
                train(nowhere, project, options, force=force)
        assert (project / name).read_text() == '{"name": "mine"}'
    for out in (some_scans, some_scans / "glioma_tumor/run", some_scans.parent):
        for force in (False, True):
            with pytest.raises(TrainingError, match="inside"):
                train(some_scans, out, options, force=force)
    assert len(list(some_scans.rglob("*.jpg"))) == 20


def test_force_deletes_nothing_for_a_source_that_cannot_be_trained_on(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "kept")
    before = (out / "last.pt").read_bytes()
    (tmp_path / "empty").mkdir()
    for source, size in [(tmp_path / "typo", 32), (prepared.path, 64), (tmp_path / "empty", 32)]:
        with pytest.raises(ScanganError):
            train(source, out, TrainOptions(**TINY | {"size": size}), force=True)
    few = tmp_path / "few"  # which only preparing tells
    for name, count in (("a", 10), ("b", 3)):
        (few / name).mkdir(parents=True)
        for path in sorted((BRAIN / "glioma_tumor").iterdir())[:count]:
            shutil.copy(path, few / name)
    with pytest.raises(TrainingError, match="too few scans of 'b'"):
        train(few, out, TrainOptions(**TINY), force=True)
    assert (out / "last.pt").read_bytes() == before and (out / "config.json").exists()
    assert _names(out) == _names(whole[0])


def _names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_that_replaces_another_leaves_nothing_of_it(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "old")
    (out / "classes").mkdir()
    run = train(prepared.path, out, TrainOptions(**TINY | {"kimg": 0.016}), force=True)
    assert len(run.read_metrics()) == 1 and not list(out.glob(".before*"))
    assert not (out / "classes").exists()


def test_a_stop_before_the_new_run_is_set_up_leaves_the_old_one(
    whole, prepared, some_scans, tmp_path, monkeypatch
):
    def stopped(*_):
        raise KeyboardInterrupt

    out = shutil.copytree(whole[0], tmp_path / "old")
    with monkeypatch.context() as patch:
        patch.setattr(Run, "start", stopped)
        with pytest.raises(KeyboardInterrupt, match="the run that was there is as it was"):
            train(some_scans, out, TrainOptions(**TINY | {"size": 64}), force=True)
    assert _names(out) == _names(whole[0])


@pytest.mark.parametrize("moved", ["config.json", "all", "all, and some are back"])
def test_a_kill_before_the_new_run_is_set_up_leaves_the_old_one(whole, prepared, tmp_path, moved):
    out = shutil.copytree(whole[0], tmp_path / "old")
    aside = out / (".before" if moved == "all" else ".before.part")
    aside.mkdir()
    names = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    for name in names if moved != "config.json" else [moved]:
        (out / name).rename(aside / name)
    if "back" in moved:
        (aside / "last.pt").rename(out / "last.pt")
    if moved == "all":
        (out / "best.safetensors").write_bytes(b"of the new one")
    (out / ".unstarted").touch()
    with pytest.raises(TrainingError, match=r"about to be replaced .* without to keep it"):
        _ = Run(out).config
    train(prepared.path, out, TrainOptions(**TINY))
    assert _names(out) == _names(whole[0])
    for name in "last.pt", "best.safetensors", "metrics.jsonl":
        assert (out / name).read_bytes() == (whole[0] / name).read_bytes()


def test_scans_that_were_prepared_before_it_was_stopped_are_not_prepared_again(
    some_scans, tmp_path, monkeypatch
):
    def stopped(*_):
        raise KeyboardInterrupt

    options, out = TrainOptions(**TINY | {"kimg": 0.016}), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "start", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(some_scans, out, options)
    made = (out / "dataset/images.npy").stat().st_mtime_ns
    run = train(some_scans, out, options)
    assert (out / "dataset/images.npy").stat().st_mtime_ns == made
    assert len(run.read_metrics()) == 1 and not (out / ".unstarted").exists()
    # Those of other scans are of no use.
    shutil.copytree(out / "dataset", tmp_path / "other/dataset")
    (tmp_path / "other/.unstarted").touch()
    next((some_scans / "glioma_tumor").iterdir()).unlink()
    train(some_scans, tmp_path / "other", options)


def test_a_start_that_was_killed_is_begun_again(whole, some_scans, prepared, tmp_path, warm):
    out = tmp_path / "run"
    script = "import os, sys\nfrom scangan.training import Run, TrainOptions, train_gan\n"
    script += "Run.start = lambda *_: os._exit(9)\n"
    script += "train_gan.train(sys.argv[1], sys.argv[2], TrainOptions(size=32))"
    done = warm.run(tmp_path, ["-c", script, some_scans, out])
    assert done.code == 9 and (out / "dataset/images.npy").exists()
    run = train(prepared.path, out, TrainOptions(**TINY | {"kimg": 0.032}))  # other scans
    assert load_best(run).kimg and not (out / "dataset").exists()
    # --force, killed half-way
    (out / ".unstarted").touch()
    (out / "config.json").unlink()
    train(prepared.path, out, TrainOptions(**TINY | {"kimg": 0.016}))
    assert not (out / ".unstarted").exists() and len(run.read_metrics()) == 1


def test_a_start_that_failed_leaves_nothing(some_scans, tmp_path):
    for file in sorted((some_scans / "glioma_tumor").iterdir())[3:]:
        file.unlink()
    with pytest.raises(TrainingError, match="too few"):
        train(some_scans, tmp_path / "run", TrainOptions(**TINY))
    assert not (tmp_path / "run").exists()


def _regrouped(source, into, change):
    """A copy of a dataset, of the same scans, whose items were changed as its maker would."""
    source = shutil.copytree(source, into)
    items = [json.loads(line) for line in (source / "items.jsonl").open()]
    text = "".join(json.dumps(change(n, item)) + "\n" for n, item in enumerate(items))
    (source / "items.jsonl").write_text(text)
    info = json.loads((source / "dataset.json").read_text())
    info["items_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (source / "dataset.json").write_text(json.dumps(info))
    return source


def test_a_run_goes_on_with_what_it_held_back(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "run")
    items = (out / "items.jsonl").read_bytes()
    held = np.array([json.loads(line)["held_back"] for line in items.splitlines()])
    assert held.sum() == 18
    # Others belong together now, so a new run would hold back others.
    source = _regrouped(prepared.path, tmp_path / "p", lambda n, i: i | {"group": n % 40})
    anew = hold_back(load_dataset(source), 0.15)
    assert (anew != held).any()
    run = train(source, out, TrainOptions(**TINY | {"kimg": 1.44}))
    assert (out / "items.jsonl").read_bytes() == items
    assert len(run.read_metrics()) == 9
    with pytest.raises(TrainingError, match=r"\(held_back 0.15 -> 0.3\)"):
        train(source, out, TrainOptions(**TINY | {"kimg": 1.44, "held_back": 0.3}))


@pytest.mark.parametrize(
    "damage", [None, "", "{}\n", '{"held_back": 1}\n' * 120, '{"held_back": true}\n' * 3, "["]
)
def test_a_run_whose_list_of_scans_is_lost_does_not_go_on(whole, prepared, tmp_path, damage):
    out = shutil.copytree(whole[0], tmp_path / "run")
    (out / "items.jsonl").unlink()
    if damage is not None:
        (out / "items.jsonl").write_text(damage)
    with pytest.raises(
        TrainingError, match=r"items.jsonl is (missing|damaged \(.+\)); restore it; .* export"
    ):
        train(prepared.path, out, TrainOptions(**TINY))
    export_run(out, tmp_path / "m.onnx")  # as the advice says


def test_a_dataset_without_groups_is_to_be_prepared_again(prepared, tmp_path):
    def older(n, item):
        return {key: value for key, value in item.items() if key != "group"}

    source = _regrouped(prepared.path, tmp_path / "p", older)
    info = json.loads((source / "dataset.json").read_text())
    (source / "dataset.json").write_text(json.dumps(info | {"format_version": 2}))
    assert load_dataset(source).counts == prepared.counts
    with pytest.raises(PreprocessingError, match=r"older scangan.*delete it and prepare it again"):
        train(source, tmp_path / "run", TrainOptions(**TINY))
    assert not (tmp_path / "run").exists()


def test_a_longer_run_has_no_report_of_the_shorter_one(some_scans, tmp_path, monkeypatch):
    options = TrainOptions(**TINY | {"kimg": 0.064, "arch": "dcgan", "per_class": True})
    run = train(some_scans, tmp_path / "run", options)
    longer = dataclasses.replace(options, kimg=0.096)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scangan.training.per_class._join", killed)
        with pytest.raises(KeyboardInterrupt):
            train(some_scans, run.path, longer)
    train(some_scans, run.path, longer)
    for number in range(2):
        part, _ = load_generator(Run(run.path / f"classes/{number}"))
        z = torch.randn(2, 100)
        assert torch.equal(load_generator(run)[0](z, torch.full((2,), number)), part(z))


def test_a_first_line_of_metrics_that_was_cut_off_is_dropped(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "ki')
    run.cut_metrics(0)
    run.append_metrics(tick({"step": 1}))
    assert run.read_metrics() == [tick({"step": 1})]


def test_a_run_of_an_older_format_says_so(whole, prepared, tmp_path):
    out = shutil.copytree(whole[0], tmp_path / "old")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"format_version": 1}))
    with pytest.raises(TrainingError, match=r"older scangan .* over with --force"):
        train(prepared.path, out, TrainOptions(**TINY))
    assert load_generator(Run(out))[0].size == 32  # it can be exported


def test_patience_ends_a_run_which_then_is_left_alone(prepared, tmp_path):
    said = []
    options = TrainOptions(**TINY | {"kimg": 64.0, "tick": 0.032, "patience": 0.01, "lr_g": 1e-9})
    run = train(prepared.path, tmp_path / "run", options, say=said.append)
    assert any("stopped early: nothing improved for" in line for line in said)
    lines, before = run.read_metrics(), (run.path / "last.pt").read_bytes()
    assert lines[-1].kimg < 1
    train(prepared.path, run.path, options, say=said.append)
    assert said[-1].startswith("stopped early")
    assert (run.path / "last.pt").read_bytes() == before
    # With more patience the same run goes on.
    patient = dataclasses.replace(options, patience=0.2)
    train(prepared.path, run.path, patient)
    assert run.read_metrics()[-1].kimg > lines[-1].kimg


def test_patience_is_counted_in_ticks_whenever_a_run_was_stopped(prepared, tmp_path, monkeypatch):
    """It is spent between two ticks: a run that is stopped there goes on to the next one."""
    options = TrainOptions(**TINY | {"kimg": 0.128, "tick": 0.032, "patience": 0.048})  # 8 steps
    scores, note = {32: 0.5, 64: 0.9, 96: 0.4, 128: 0.9}, EarlyStopping.note
    monkeypatch.setattr(
        EarlyStopping, "note", lambda self, _, kimg: note(self, scores[round(kimg * 1000)], kimg)
    )
    take, said = TrainingStep.__call__, []

    def asked_to_stop(self, number):
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, number)

    monkeypatch.setattr(TrainingStep, "__call__", asked_to_stop)
    with pytest.raises(Stopped, match=r"stopped at 0\.1 of"):
        train(prepared.path, tmp_path / "run", options)
    monkeypatch.setattr(TrainingStep, "__call__", take)
    run = train(prepared.path, tmp_path / "run", options, say=said.append)
    assert [round(line.kimg * 1000) for line in run.read_metrics()] == [32, 64, 96, 128]
    # Again, with less patience than the last ticks took: all of it is there, so it was not stopped.
    train(prepared.path, run.path, dataclasses.replace(options, patience=0.01), say=said.append)
    assert not any("stopped early" in line for line in said)


def test_far_worse_scores_one_after_the_other_end_a_run():
    progress = EarlyStopping()
    assert progress.note(0.3, 20.0) and progress.why_stop(20.0, 0) is None
    for kimg in (40.0, 60.0):
        assert not progress.note(2.0, kimg) and progress.why_stop(kimg, 0) is None
    assert not progress.note(0.5, 80.0)  # a good one between
    for kimg in (100.0, 120.0):
        progress.note(float("nan"), kimg)
    assert progress.why_stop(120.0, 0) is None
    progress.note(2.0, 140.0)
    assert "it diverged" in progress.why_stop(140.0, 0)


def test_losses_that_are_no_numbers_stop_the_run_and_say_what_to_lower(
    prepared, tmp_path, monkeypatch
):
    take = TrainingStep.__call__

    def explode_later(self, step):
        losses = take(self, step)
        return losses * float("nan") if step >= 25 else losses

    monkeypatch.setattr(TrainingStep, "__call__", explode_later)
    with pytest.raises(TrainingError, match=r"became NaN .* lower .*lr_g=0\.0002 .*--force"):
        train(prepared.path, tmp_path / "run", TrainOptions(**TINY))
    run = Run(tmp_path / "run")
    assert [line.step for line in run.read_metrics()] == [10, 20]
    assert load_best(run).kimg <= 0.32  # kept
    assert load_checkpoint(run, torch.device("cpu")).step == 20


@pytest.mark.slow
def test_more_memory_than_there_is_says_which_batch_would_fit(prepared, tmp_path, warm):
    argv = _argv(prepared.path, tmp_path / "run", batch=4096, width=32, kimg=4, tick=4)
    done = _limited(warm, tmp_path, "few_scores.limit_memory(1 << 30)", argv)
    assert done.code == 1
    found = re.search(r"--batch 4096 does not fit in memory: --batch (\d+) fits", done.stderr)
    assert found and 4 <= int(found[1]) <= 2048 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("start over with --force\n")


def test_one_gan_for_each_class_is_one_run(some_scans, tmp_path, drawn, monkeypatch):
    said = []
    options = TrainOptions(**TINY | {"kimg": 0.064, "arch": "dcgan", "per_class": True})
    run = train(some_scans, tmp_path / "run", options, say=said.append)
    assert "class 2 of 2: meningioma_tumor" in said
    assert run.classes == ("glioma_tumor", "meningioma_tumor")
    model, best = load_generator(run)
    for number in range(2):
        part, _ = load_generator(Run(run.path / f"classes/{number}"))
        z = torch.randn(3, 100)
        want = part(z)
        assert torch.equal(model(z, torch.full((3,), number)), want)
    assert set(best.scores.agreement) == set(run.classes)
    assert cv2.imread(str(run.report)).shape[1] == WIDTH
    monkeypatch.setattr(measure_tick, "draw_report", few_scores.describe_report)  # from here on
    titles, draw = [], measure_tick.Measurer.draw_report
    monkeypatch.setattr(
        measure_tick.Measurer,
        "draw_report",
        lambda self, title: (titles.append(title), draw(self, title)),
    )
    before = (run.path / "best.safetensors").read_bytes()
    train(some_scans, run.path, options)
    assert (run.path / "best.safetensors").read_bytes() == before
    reports = [run.report, Run(run.path / "classes/1").report]
    for report in reports:
        report.unlink()  # as if it had been killed while it drew that
    train(some_scans, run.path, options)
    assert all(report.exists() for report in reports)
    assert load_best(run).scores == best.scores
    of_class, of_all = titles
    assert of_class.startswith("run, meningioma_tumor: ") and of_all.startswith("run: ")


def test_ticks_of_several_generators_are_joined():
    def line(name, kimg, kid):
        scores = {"class_kid": {name: kid}, "variety": {name: kid / 2}, "agreement": {}}
        scores |= {"precision": {name: 0.5}, "recall": {name: 0.25}, "mean_class_kid": kid}
        scores |= {"mean_precision": 0.5, "mean_recall": None}
        losses = {"loss_d": kid, "loss_g": 1.0, "loss_class": 0.0}
        aucs = {"auc_training": {name: 0.5}, "auc_synthetic": {name: kid / 10}}
        return tick({"kimg": kimg, **losses, **aucs, "raw": scores, "ema": scores})

    early = [line("a", 1, 4.0), line("a", 2, 2.0)]
    joined = joined_lines([early, [line("b", k, 6.0 - k) for k in (1, 2, 3)]])
    assert [each.kimg for each in joined] == [1, 2, 3]
    assert [each.ema.mean_class_kid for each in joined] == [4.5, 3.0, 2.5]
    last = joined[-1].raw
    assert last.class_kid == {"a": 2.0, "b": 3.0} and last.variety == {"a": 1.0, "b": 1.5}
    assert last.mean_precision == 0.5 and last.mean_recall is None
    assert joined[-1].loss_d == 2.5
    assert joined[-1].auc_training == {"a": 0.5, "b": 0.5} and joined[-1].mean_auc_training == 0.5
    assert joined[-1].auc_synthetic == {"a": 0.2, "b": 0.3} and joined[0].mean_auc_synthetic == 0.45


def test_scans_smaller_than_the_size_are_told_of_once(some_scans, tmp_path):
    for file in some_scans.rglob("*.jpg"):
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (24, 31)))
    said = []
    options = TrainOptions(**TINY | {"kimg": 0.004, "batch": 4, "arch": "dcgan"})
    train(some_scans, tmp_path / "run", options, say=said.append)
    train(some_scans, tmp_path / "run", options, say=said.append)
    assert sum("20 of 20 scans are smaller than 32 pixels" in line for line in said) == 1


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--recipe", "stabel"], "there is no recipe 'stabel' (did you mean stable?)"),
        (["--set", "lerning_rate=1"], "there is no option 'lerning_rate'"),
        (["--set", "withd=1"], "did you mean width?"),
        (["--set", "width"], "is not key=value"),
        (["--set", "width=wide"], "width 'wide' is not a whole number"),
        (["--set", "lr_g=nan"], "lr_g nan is out of range"),
        (["--per-class"], "--arch dcgan"),
    ],
)
def test_what_is_wrong_with_a_recipe_or_an_option(tmp_path, argv, says, warm):
    done = warm.run(tmp_path, ["train-gan", str(BRAIN), "--out", "run", *argv])
    assert done.code == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_defaults_in_the_help_are_those_of_the_options(command):
    text = " ".join(command("train", "--help").stdout.split())
    named = ("arch", "size", "kimg", "batch", "width", "latent", "seed", "patience")
    for name in named:
        found = re.search(rf"--{name} .*?\[default: ([\w.]+)", text)
        assert (
            float(found[1]) == getattr(TrainOptions(), name)
            if name != "arch"
            else found[1] == "acgan"
        )


def test_recipes_are_listed(command):
    done = command("train", "--list-recipes")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert all(len(line) < 130 for line in lines)


def test_the_peak_of_memory_is_that_of_this_process():
    held = peak_memory()
    assert held is not None and 0.1 < float(held.split(" GB")[0]) < 30
