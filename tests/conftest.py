"""Real scans and a tiny model for all tests; no training, no network, no GPU."""

import functools
import gc
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import pytest
from exports import FOLDER, exports_once
from faults.shim import Zygote
from faults.zygote import HEAVY, LIGHT

DATA = Path(__file__).parent / "data"
CHEST = Path(__file__).parent / "data" / "chest_xray"
BRAIN = DATA / "brain_mri"
CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")

# A shell's background job ignores Ctrl-C, and so would every command that the tests start from it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# One thread for each of several processes: their threads would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# New examples on each run, also where hypothesis sees that it is in CI and would repeat its own.
hypothesis.settings.register_profile("scangan", derandomize=False, deadline=None, print_blob=True)
hypothesis.settings.load_profile("scangan")


# Files that take many seconds of a core, most of them by training, exporting or starting processes,
# the longest first: so xdist begins them, and its workers end together. `make test-fast` leaves them out.
SLOW = (
    "test_tour.py", "test_results.py", "runtime/test_ray_engine.py", "test_guides.py", "test_quiet.py",
    "runtime/test_demo.py", "evaluation/test_reader_study.py", "runtime/test_demo_in_firefox.py",
    "preprocessing/test_ray_prep.py", "evaluation/test_quality.py", "training/test_run.py",
    "faults/test_faults.py", "evaluation/test_privacy_evaluation.py", "training/test_parallel.py",
    "evaluation/test_intervals.py", "evaluation/test_report.py", "training/test_report_figure.py",
    "runtime/test_in_a_store.py", "export/test_graph.py", "evaluation/test_utility.py",
    "export/test_export.py", "preprocessing/test_resume.py", "runtime/test_parts.py",
    "cli/test_evaluate_report.py", "test_advice.py", "runtime/test_recipes_page.py",
    "export/test_precision.py", "core/test_store.py", "preprocessing/test_cli.py",
    "test_advice_limits.py", "core/test_devices.py", "runtime/test_gen_scans.py",
    "preprocessing/test_fuzz.py", "preprocessing/test_duplicates.py", "training/test_recipes.py",
    "test_privacy.py", "preprocessing/test_phantom.py", "preprocessing/test_from_a_store.py",
    "preprocessing/test_dicom.py", "training/test_starting_weights.py", "preprocessing/test_kernels.py",
    "evaluation/test_metrics.py", "cli/test_exclude.py", "training/test_step.py", "export/test_labels.py",
    "runtime/test_scale_page.py", "cli/test_evaluate_privacy.py", "evaluation/test_alignment.py",
    "test_litter.py", "preprocessing/test_transforms.py", "runtime/test_formats.py",
    "runtime/test_loaders.py", "test_names.py", "preprocessing/test_synthetic.py", "runtime/test_about.py",
    "export/test_channel_ranges.py", "cli/test_evaluate_utility.py", "evaluation/test_features.py",
    "training/test_ablation.py", "training/test_discriminator_scores.py", "evaluation/test_membership.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    files = {item: item.nodeid.split("::")[0].removeprefix("tests/") for item in items}
    for item, file in files.items():
        if file in SLOW:
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {file: number for number, file in enumerate(SLOW)}
        items.sort(key=lambda item: place.get(files[item], len(SLOW)))


def pytest_collection_finish():
    """Let the collector of garbage pass over what was imported and collected, which stays anyway."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Draw the seed of the examples here, so that it is known before anything can fail or hang."""
    if config.getoption("--hypothesis-seed", None) is None:
        config.option.hypothesis_seed = secrets.randbelow(1 << 32)


def pytest_report_header(config):
    return f"hypothesis draws new examples; to repeat these: {_same_examples(config)}"


def pytest_terminal_summary(terminalreporter, config):
    if terminalreporter.stats.get("failed"):
        terminalreporter.line(f"to repeat the examples of hypothesis: {_same_examples(config)}")


def _same_examples(config):
    return f"pytest --hypothesis-seed={config.getoption('--hypothesis-seed')}"


@pytest.fixture(scope="module")
def quick_commands(tmp_path_factory):
    """Score few scans, and export each generator and see each scan once: most of what very short runs do."""
    from scans_once import scans_once

    from scangan.evaluation.judge_privacy import PrivacyOptions

    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch, exports_once(), scans_once():
        # Not that of the user, which would hand out results of an earlier test run.
        patch.setattr("platformdirs.user_cache_path", lambda _: cache)
        patch.setattr("scangan.training.scoring.PER_TICK", 8)
        patch.setattr("scangan.artifacts.train_options.FEWEST_TICKS", 1)
        patch.setattr("scangan.export.fidelity.COUNT", 16)
        patch.setattr("scangan.evaluation.privacy_sets.FEWEST", 8)
        few = functools.partial(PrivacyOptions, planted=10, resamples=100)
        patch.setattr("scangan.evaluation.judge_privacy.PrivacyOptions", few)
        patch.setattr("scangan.runtime.benchmark.SECONDS", 0.02)
        yield


@pytest.fixture
def some_scans(tmp_path):
    """Copy ten real scans of each of two classes into a fresh ``CLASS/file`` folder."""
    return copy_scans(tmp_path / "scans", 10)


def copy_scans(folder, count, classes=CLASSES[:2], start=0):
    """Copy `count` real scans of each of two classes, or of those given, into ``folder/CLASS/file``."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for file in sorted((BRAIN / name).iterdir())[start : start + count]:
            shutil.copy(file, folder / name)
    return folder


def seed_of_kills():
    """What random kills are drawn by; a failed test shows how to draw the same again."""
    seed = os.environ.get("SCANGAN_FAULT_SEED", str(time.time_ns()))
    print(f"to draw the same moments again: SCANGAN_FAULT_SEED={seed}")
    return seed


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Prepare all sample scans at 32 pixels, once."""
    from scangan.preprocessing import PrepOptions, prepare

    return prepare(BRAIN, tmp_path_factory.mktemp("prepared") / "brain", PrepOptions(size=32))


@pytest.fixture(scope="module")
def bucket():
    """Start an S3 server; give the address of an empty bucket."""
    from stores import bucket_of_server

    with bucket_of_server() as address:
        yield address


@pytest.fixture(scope="module")
def cluster(bucket, tmp_path_factory):
    """Start a Ray cluster of two processors that may use the bucket; give its address."""
    from clusters import cluster_of_two

    with cluster_of_two(tmp_path_factory.mktemp("home")) as address:
        yield address


def folder_bytes(folder):
    """sha256 of every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="session", autouse=True)
def _exports(tmp_path_factory):
    """Keep what torch exports in one folder for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    os.environ[FOLDER] = str(folder)
    yield
    del os.environ[FOLDER]


def export_random(path, classes, size=32, seed=0):
    """Export a generator with random weights, whose scans differ as those of a trained one do."""
    import torch

    from scangan.export.exporter import graph_sha256, to_onnx, write_model
    from scangan.runtime import ModelCard
    from scangan.training.networks import Generator

    torch.manual_seed(seed)
    generator = Generator(size=size, width=4, latent=10, classes=len(classes))
    # Running statistics and weights as far from their initial values as training takes them.
    for name, tensor in generator.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_(1.0 if "scale" in name else 0.0, 0.3)
    with exports_once():
        model = to_onnx(generator.eval(), 10)
    card = ModelCard(
        architecture="acgan" if classes else "dcgan",
        latent=10,
        classes=classes,
        size=size,
        graph_sha256=graph_sha256(model.SerializeToString()),
    )
    write_model(model, card, path)
    return path


@pytest.fixture(scope="session")
def tiny_acgan(tmp_path_factory):
    """Export a conditional generator with random weights: 3 classes, 32 pixels."""
    return export_random(tmp_path_factory.mktemp("models") / "tiny.onnx", ("cat", "dog", "2"))


@pytest.fixture(scope="session")
def tiny_dcgan(tmp_path_factory):
    """Export an unconditional generator with random weights, 32 pixels."""
    return export_random(tmp_path_factory.mktemp("models") / "plain.onnx", ())


@pytest.fixture(scope="session")
def warm():
    """A process that has imported what all commands need, torch too, and forks them: see `Zygote`."""
    zygote = Zygote(modules=LIGHT + HEAVY)
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def light():
    """One that has imported what commands without torch need."""
    zygote = Zygote(modules=LIGHT)
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def command(tmp_path_factory, light, warm):
    """Run a command in a process of its own: a fork, which need not import numpy and the rest anew.

    Where an argument of `subprocess.run` is given, or nothing can be forked, the process is started
    afresh, as for a user.
    """
    folder = tmp_path_factory.mktemp("commands")

    def run(verb, *args, cwd=None, **kwargs):
        argv = list(map(str, [verb, *args]))
        if kwargs or sys.platform != "linux":
            argv = [sys.executable, "-m", "scangan.cli", *argv]
            kwargs |= {"capture_output": True, "text": True, "timeout": 300}
            return subprocess.run(argv, cwd=cwd, **kwargs)
        zygote = warm if verb in ("train", "export") else light
        argv = ["scangan", *argv]
        done = zygote.run(folder, argv, cwd=cwd or Path.cwd(), env=os.environ)
        assert done.code is not None, f"it hangs: {argv}"
        return subprocess.CompletedProcess(argv, done.code, done.stdout, done.stderr)

    return run
