"""Several processes train as one does: forks, told what torchrun tells, and a run by torchrun itself."""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from faults.shim import Ended
from safetensors.torch import load_file
from torch import nn

from scangan.preprocessing import PrepOptions, prepare
from scangan.training.checkpoints import load_checkpoint, load_generator
from scangan.training.discriminator import make_discriminator
from scangan.training.networks import make_generator
from scangan.training.parallel import ALONE, BatchNorm, join_processes
from scangan.training.recipe import options_from
from scangan.training.sampling import Sampler
from scangan.training.step import TrainingStep

CPU = torch.device("cpu")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = {"size": 32, "width": 8, "batch": 16, "kimg": 1.0}
# A first step of Adam turns rounding into whole steps: the weights must stay for G's gradients.
STILL = {"lr_g": 1e-9, "lr_d": 1e-9}
PENALTIES = {"loss": "relativistic", "spectral_norm": False, "r1": 1.0, "r2": 1.0}
RECIPES = {
    "stable": ("stable", {}),
    "dcgan": ("stable", {"arch": "dcgan", "g_steps": 2}),
    "ramped and adaptive": ("stable", {"augment_target": 0.6, "augment_p": 0.8, "ramp_end": 0.1}),
    "classic": ("classic-acgan", {"dropout": 0.0, "label_flip": 0.2, "instance_noise": 0.1}),
    "classic dcgan": ("classic-dcgan", {}),
    "relativistic with penalties": ("stable", PENALTIES | {"pool": "flatten"}),
    "penalties through BatchNorm": ("classic-acgan", {"dropout": 0.0, "r1": 1.0, "r2": 1.0}),
}


def _networks(name, rank, **changes):
    recipe, values = RECIPES[name]
    options = options_from(recipe, SMALL | values | changes)
    classes = 4 if options.arch == "acgan" else 0
    torch.manual_seed(0)
    generator, discriminator = (
        make_generator(options, classes),
        make_discriminator(options, classes),
    )
    labels = torch.arange(40) % 4
    images = (torch.rand(40, 32, 32) * 255 / (labels[:, None, None] + 1)).to(torch.uint8)
    sampler = Sampler(images, labels, classes if options.balanced else 0)
    networks = TrainingStep(generator, discriminator, sampler, options, CPU, rank)
    networks._precision = None  # bfloat16 has too few digits to compare
    return networks


@functools.cache
def _gradients(name, rank):
    """The losses of a first step, and the gradients that it left."""
    networks = _networks(name, rank, **STILL)
    found = {"losses": networks(0), "augment_p": networks.augment_p}
    for kind in ("generator", "discriminator"):
        parts = getattr(networks, kind).named_parameters()
        found[kind] = {name: part.grad.clone() for name, part in parts}
    return found


def _after_steps(name, rank, **changes):
    networks = _networks(name, rank, **changes)
    for step in range(4):
        networks(step)
    return {
        f"{kind}.{key}": value
        for kind in ("generator", "discriminator", "ema")
        for key, value in getattr(networks, kind).state_dict().items()
    } | {"augment_p": networks.augment_p}


def _normalised(norm, x, rank):
    """What a BatchNorm makes of x, its gradients, and a penalty on them."""
    x = rank.own(x).clone().requires_grad_()
    out = norm(x)
    (slope,) = torch.autograd.grad(out.pow(3).sum(), x, create_graph=True)
    (out.pow(3).mean() + slope.square().sum((1, 2, 3)).mean()).backward()
    rank.average_gradients(norm.parameters())
    found = {"out": out.detach(), "slope": slope.detach(), "weight": norm.weight.grad}
    return found | {"running": torch.stack([norm.running_mean, norm.running_var])}


def _norm(kind):
    norm = kind(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    return norm


def _scattered():
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return 0.1 * x + torch.tensor([0.0, 1.0, 30.0])[:, None, None]


def _in_every_process(out):
    """Run by torchrun: all that the tests compare, in one start."""
    rank = join_processes()
    norm = _norm(BatchNorm)
    norm.shared = True
    adaptive = _networks("ramped and adaptive", rank)
    adaptive.augment_p.fill_(0.5)
    adaptive._adapt(torch.full((8,), 1.0 - 2.0 * rank.number))  # D is sure in the first one only
    dropping = _networks("classic", rank, dropout=0.5)
    found = {
        "gradients": {name: _gradients(name, rank) for name in RECIPES},
        "after steps": {name: _after_steps(name, rank) for name in RECIPES},
        "with dropout": _after_steps("classic", rank, dropout=0.5),
        "normalised": _normalised(norm, _scattered(), rank),
        "adapted": adaptive.augment_p,
        "dropped": torch.rand(20, generator=dropping._moment(0).dropout),
        "agreed": torch.tensor(rank.agree(rank.number + 7)),
        "anyone": torch.tensor([rank.anyone(rank.number == 1), rank.anyone(False)]),
    }
    torch.save(found, out / f"{rank.number}.pt")
    print("once")


@pytest.fixture(scope="module")
def both(tmp_path_factory, warm):
    """What each of two processes found, and what they printed."""
    out = tmp_path_factory.mktemp("both")
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    done = _in_two(warm, out, ["-c", code, out])
    assert done.code == 0, done.stderr
    return [torch.load(out / f"{rank}.pt") for rank in range(2)], done.stdout


def _in_two(warm, folder, argv):
    """Run a command in two forks, told what torchrun tells: each start of that takes ten seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        told = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": "2",
        }
    started = [
        warm.start(
            folder,
            argv,
            name=f"rank{rank}",
            env=os.environ | told | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]
    done = [warm.wait(each) for each in started]
    code = next((each.code for each in done if each.code != 0), 0)
    return Ended(
        code, *("".join(getattr(each, name) for each in done) for name in ("stdout", "stderr")), []
    )


def _start(argv):
    return subprocess.Popen(
        list(map(str, argv)),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _close(got, want, scale=None):
    scale = want.abs().max() if scale is None else scale
    return bool((got - want).abs().max() <= 1e-5 * scale)


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_gradients_are_those_of_the_whole_batch(name, kind, both):
    want = _gradients(name, ALONE)[kind]
    scale = max(gradient.abs().max() for gradient in want.values())
    for process in both[0]:
        got = process["gradients"][name][kind]
        assert got.keys() == want.keys()
        assert [key for key in want if not _close(got[key], want[key], scale)] == []


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_those_of_the_whole_batch(name, both):
    want = _gradients(name, ALONE)
    for process in both[0]:
        assert _close(process["gradients"][name]["losses"], want["losses"])
        assert torch.equal(process["gradients"][name]["augment_p"], want["augment_p"])


@pytest.mark.parametrize("name", RECIPES)
def test_weights_and_buffers_stay_the_same_to_the_bit_in_all_processes(name, both):
    one, two = (process["after steps"][name] for process in both[0])
    assert _same(one, two)
    assert one.keys() == _after_steps(name, ALONE).keys()


def test_dropout_drops_other_places_in_every_process_and_weights_stay_the_same(both):
    one, two = both[0]
    assert not torch.equal(one["dropped"], two["dropped"])
    assert _same(one["with dropout"], two["with dropout"])


def test_batch_norm_is_that_of_the_whole_batch(both):
    want = _normalised(_norm(nn.BatchNorm2d), _scattered(), ALONE)
    got = {key: [process["normalised"][key] for process in both[0]] for key in want}
    for key in ("out", "slope"):  # rounding is that of means as large as 30
        assert torch.allclose(torch.cat(got[key]), want[key], rtol=1e-3, atol=1e-3)
    for key in ("weight", "running"):
        for of_process in got[key]:
            assert torch.allclose(of_process, want[key], rtol=1e-3)


def test_augmentation_adapts_to_what_d_says_in_all_processes(both):
    assert all(process["adapted"] < 0.5 for process in both[0])


def test_processes_agree(both):
    for process in both[0]:
        assert process["agreed"] == 7
        assert process["anyone"].tolist() == [True, False]


def test_only_the_first_process_prints(both):
    assert both[1].count("once") == 1


TRAIN_GAN = Path(__file__).parents[1] / "few_scores.py"
TINY = {"size": 32, "width": 4, "batch": 16, "kimg": 0.64, "tick": 0.16}  # 40 steps, 4 ticks


def _argv(source, out, *flags, **options):
    given = [f"--{key}={value}" for key, value in (TINY | options).items()]
    return [source, "--out", out, "--device=cpu", *given, *flags]


def _by_torchrun(*what, **options):
    return [*TORCHRUN, TRAIN_GAN, *_argv(*what, **options)]


def _by_forks(warm, folder, *what, **options):
    return _in_two(warm, folder, ["train-gan", *_argv(*what, **options)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Fewer scans than the fixture of this name for all tests: here each run measures them again."""
    from conftest import copy_scans

    source = copy_scans(tmp_path_factory.mktemp("scans") / "brain", 60)
    return prepare(source, source.with_name("prepared"), PrepOptions(size=32))


@pytest.fixture(scope="module")
def run_of_two(prepared, tmp_path_factory, warm):
    """Train with two processes, undisturbed: the run, and what was printed."""
    folder = tmp_path_factory.mktemp("runs")
    done = _by_forks(warm, folder, prepared.path, folder / "two")
    assert done.code == 0, done.stderr
    return folder / "two", done.stdout


@pytest.fixture(scope="module")
def run_of_one(prepared, tmp_path_factory):
    """Train the same with one process."""
    from scangan.training import TrainOptions, train

    out = tmp_path_factory.mktemp("runs") / "one"
    train(prepared.path, out, TrainOptions(**TINY), device="cpu")
    return out


def _metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").open()]


def _written(run):
    return sorted(p.name for p in run.iterdir() if "tfevents" not in p.name)


@pytest.mark.slow
def test_the_run_is_like_that_of_one_process(run_of_two, run_of_one):
    two, one = _metrics(run_of_two[0]), _metrics(run_of_one)
    assert [line["step"] for line in two] == [line["step"] for line in one]
    assert two[0].keys() == one[0].keys()
    for loss in ("loss_d", "loss_g", "loss_class"):
        assert two[0][loss] == pytest.approx(one[0][loss], rel=0.05)
    assert _written(run_of_two[0]) == _written(run_of_one)
    assert len(list(run_of_two[0].glob("events.out.tfevents*"))) == 1


@pytest.mark.slow
def test_everything_is_said_once(run_of_two):
    lines = run_of_two[1].splitlines()
    # The legend, what is scored against what, the ticks; the best, the memory and what next.
    assert len(lines) == 2 + 4 + 3
    assert len(set(lines)) == len(lines)


@pytest.mark.slow
def test_one_process_goes_on_where_two_were(prepared, run_of_two, tmp_path):
    from scangan.training import TrainOptions, train

    out, said = shutil.copytree(run_of_two[0], tmp_path / "run"), []
    longer = TrainOptions(**TINY | {"kimg": 0.8})
    run = train(prepared.path, out, longer, device="cpu", say=said.append)
    assert "resuming at 0.6 of 0.8 kimg" in said
    assert load_checkpoint(run, CPU).step == 50


@pytest.mark.slow
def test_two_processes_go_on_where_one_was(prepared, run_of_one, tmp_path, warm):
    out = shutil.copytree(run_of_one, tmp_path / "run")
    done = _by_forks(warm, tmp_path, prepared.path, out, kimg=0.8)
    assert done.code == 0, done.stderr
    assert done.stdout.count("resuming at 0.6 of 0.8 kimg") == 1
    assert [line["step"] for line in _metrics(out)] == [10, 20, 30, 40, 50]


@pytest.mark.slow
def test_two_processes_start_from_the_same_networks(prepared, run_of_one, tmp_path, warm):
    short = {"kimg": 0.16, "start-from": run_of_one}
    done = _by_forks(warm, tmp_path, prepared.path, tmp_path / "two", **short)
    assert done.code == 0, done.stderr
    assert done.stdout.count("starting from one: 100% of") == 1

    from scangan.training import TrainOptions, train

    options = TrainOptions(**TINY | {"kimg": 0.16})
    train(prepared.path, tmp_path / "one", options, device="cpu", start=str(run_of_one))
    two, one = (_metrics(tmp_path / name)[0] for name in ("two", "one"))
    for loss in ("loss_d", "loss_g", "loss_class"):
        assert two[loss] == pytest.approx(one[loss], rel=0.05)


@pytest.mark.slow
def test_asked_to_stop_they_save_once_and_go_on(prepared, run_of_two, tmp_path, warm):
    out = tmp_path / "run"
    # torchrun itself is forked, too; it starts its processes afresh.
    code = "from torch.distributed.run import main; main()"
    child = warm.start(tmp_path, ["-c", code, *_by_torchrun(prepared.path, out)[3:]])
    torchrun, give_up = psutil.Process(child.process), time.monotonic() + 120
    while not list(out.glob("samples/*.png")):
        assert torchrun.status() != psutil.STATUS_ZOMBIE and time.monotonic() < give_up
        time.sleep(0.01)
    torchrun.terminate()
    asked = time.monotonic()
    stopped = warm.wait(child)
    assert time.monotonic() - asked < 25  # torchrun kills what has not ended after 30 s
    assert stopped.code != 0
    assert stopped.stderr.count("and saved; run the same command again") == 1
    done = _by_forks(warm, tmp_path, prepared.path, out)
    assert done.code == 0, done.stderr
    assert done.stdout.count("resuming at") == 1
    one, two = (load_file(run / "best.safetensors") for run in (out, run_of_two[0]))
    assert _same(one, two)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "--arch dcgan"),
        ({"batch": 12}, "--batch 12 must be a multiple of 8 for 2 processes; try 16"),
    ],
)
def test_what_is_wrong_is_said_once_and_ends_all(options, says, some_scans, tmp_path, warm):
    """Each by itself: nothing here ends the others, as torchrun does."""
    shutil.rmtree(some_scans / "glioma_tumor")
    done = _by_forks(warm, tmp_path, some_scans, tmp_path / "run", **options)
    assert done.code in (1, 2)
    (line,) = re.findall("^train-gan: .*$", done.stderr, re.MULTILINE)
    assert says in line
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.slow
def test_scans_are_prepared_once_and_every_class_trained_until_patience_ends(
    some_scans, tmp_path, warm
):
    from scangan.training import Run

    out = tmp_path / "run"
    flags = ("--per-class", "--patience=0.16", "--set", "lr_g=1e-9", "--set", "lr_d=1e-9")
    done = _by_forks(warm, tmp_path, some_scans, out, *flags, arch="dcgan")
    assert done.code == 0, done.stderr
    assert done.stdout.count("20 scans") == 1
    assert done.stdout.count("stopped early: nothing improved") == 2
    assert load_generator(Run(out))[0].classes == 2
    assert all(_metrics(out / "classes" / k)[-1]["step"] < 40 for k in "01")


def _node(number, port, *what):
    """One of two machines, of which the first hosts the rendezvous."""
    words = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=run",
             f"--rdzv-endpoint=127.0.0.1:{port}", f"--rdzv-conf=is_host={1 - number}"]  # fmt: skip
    return _start([*TORCHRUN[:3], *words, TRAIN_GAN, *_argv(*what)])


@pytest.mark.skipif("SCANGAN_SCALE" not in os.environ, reason="make check-scale runs it")
def test_a_machine_that_is_lost_and_started_again_changes_nothing(
    prepared, run_of_two, tmp_path, monkeypatch
):
    # Else the machine that stays tells the new one nothing, and both wait (torch 2.13).
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stays, lost = (_node(number, port, prepared.path, out) for number in (0, 1))
    while not list(out.glob("samples/*.png")):
        assert stays.poll() is None and lost.poll() is None
        time.sleep(0.01)
    agent = psutil.Process(lost.pid)
    for process in (*agent.children(recursive=True), agent):
        process.kill()
    lost.communicate()
    time.sleep(20)  # until the rendezvous knows
    again = _node(1, port, prepared.path, out)
    said, wrong = stays.communicate(timeout=300)
    again.communicate(timeout=60)
    assert (stays.returncode, again.returncode) == (0, 0), wrong
    assert said.count("resuming at") == 1 and "another process of this run ended" in wrong
    one, two = (load_file(run / "best.safetensors") for run in (out, run_of_two[0]))
    assert _same(one, two)


if __name__ == "__main__":
    _in_every_process(Path(sys.argv[1]))
