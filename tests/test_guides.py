"""What the pages of docs/ tell you to type, run as printed, on few small scans."""

import contextlib
import io
import json
import re
import shlex
import shutil
import tomllib
from importlib import import_module
from pathlib import Path

import click.testing
import cv2
import numpy as np
import pytest
from conftest import BRAIN, CLASSES, export_random
from dicoms import dicom
from programs import PROGRAMS, main_of

from scangan.artifacts.reader_study import read_key
from scangan.cli.evaluate import VERBS as QUESTIONS
from scangan.cli.front_door import VERBS
from scangan.preprocessing import PrepOptions, prepare
from scangan.runtime.catalog import bundled_models
from scangan.runtime.demo import SCRIPT

pytestmark = pytest.mark.usefixtures("quick_commands")

DOCS = Path(__file__).parents[1] / "docs"
INSTALLING = ("pip", "python3", ".venv/bin/pip", ".", "make")  # left to CI, which installs anew
QUICK = "--width 4 --latent 8 --device cpu"
OF_OTHERS = {
    "--help", "--find-links", "--index-url", "--no-index", "--logdir", "--tag", "--build-arg", "--rm",
    "--read-only", "--user", "--userns", "--network", "--volume",  # pip, tensorboard, podman
    "--parsable", "--dependency", "--wrap", "--array", "--cpus-per-task", "--time", "--signal", "--requeue",
    "--open-mode", "--head", "--standalone", "--nproc-per-node", "--nnodes", "--max-restarts", "--rdzv-id",
    "--rdzv-backend", "--rdzv-endpoint",  # SLURM, Ray, torchrun
}  # fmt: skip
FENCE = re.compile(r"^( *)```(sh|console|python)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# Lines of output that follow from the length of the run, or from the machine.
VARIES = re.compile(r"^ *[\d.]+ kimg |^best generator |\.onnx on cpu ")


def blocks(page):
    """What a page shows, in order: (``sh``, ``console`` or ``python``, text)."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [(kind, re.sub(rf"^{margin}", "", body, flags=re.M)) for margin, kind, body in
            FENCE.findall(text)]  # fmt: skip


def small(line):
    """The same command with small scans and a short run."""
    line = re.sub(r"--size \d+", "--size 16", line)
    line = re.sub(r"--kimg \d+", "", line)
    line = re.sub(r"--target \d+", "--target 24", line)
    line = re.sub(
        r"--count \d+", f"--count {16 if re.match('eval-scans|scangan demo', line) else 4}", line
    )
    if line.startswith("eval-scans") and "--extractor" not in line:
        line += " --extractor efficientnet-lite0"
    if line.startswith("train-gan") and "--list" not in line:
        # Shorter where the page has it run longer: a run goes on only to more.
        line += f" --size 16 --kimg 0.1 {QUICK}"
    return line.replace("--pixel-spacing 3", "--pixel-spacing 1")


def type_in(line):
    """Run a command line in this process, and give what it printed."""
    program, *argv = shlex.split(small(line))
    if program in INSTALLING:
        return ""
    main = main_of(program)
    done = click.testing.CliRunner().invoke(main, argv)
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.output


def shape(line):
    """A line of output without its numbers, which scans and machines decide."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d+(\.\d+)?", "#", line)).strip()


def follow(page):
    """Do all that a page says; give what its snippets print, and their names."""
    printed, names, said = io.StringIO(), {"__name__": "__main__"}, set()
    for kind, text in blocks(page):
        if kind == "python":
            text = text.replace("sample(100, name)", "sample(16, name)")
            with contextlib.redirect_stdout(printed):
                exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            if kind == "sh" or line.startswith("$ "):
                said = {shape(one) for one in type_in(line.removeprefix("$ ")).splitlines()}
            elif not VARIES.search(line):
                assert shape(line) in said, f"{page} shows what is not printed: {line}"
    return printed.getvalue(), names


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick_commands):
    """Follow the guide to training, from which the other guides go on."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        my_scans(24, 16, 14, 24)
        follow("guides/train.md")
    return folder


@pytest.fixture
def after_training(trained, tmp_path, monkeypatch):
    """A copy of what that guide leaves, to work in."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def my_scans(*counts):
    """Copy so many real scans of each class into ``my_scans``, a folder for each patient."""
    for name, count in zip(CLASSES, counts, strict=True):
        for i, file in enumerate(sorted((BRAIN / name).iterdir())[:count]):
            target = Path("my_scans", name, f"patient{i:03d}", file.name)
            target.parent.mkdir(parents=True)
            shutil.copy(file, target)


def study():
    """DICOM files of ten patients in two classes, a localizer, and a table of classes."""
    rows = ["file,class"]
    for i in range(10):
        kind = "benign" if i % 2 else "malignant"
        for k in range(2):
            pixels = np.random.default_rng([i, k]).integers(0, 4096, (8, 8)).astype(np.uint16)
            file = Path("study", kind, f"patient-{i}", "series-1", f"{k}.dcm")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(
                dicom(cv2.resize(pixels, (48, 48)), PatientID=f"p{i}", PixelSpacing=[1, 1],
                      RescaleSlope=1, RescaleIntercept=-1024)
            )  # fmt: skip
            rows.append(f"{file.relative_to('study').as_posix()},{kind}")
    file.with_name("scout.dcm").write_bytes(
        dicom(pixels, PatientID="p9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    )
    Path("labels.csv").write_text("\n".join(rows) + "\n")


def test_every_guide_is_followed_here():
    guides = {path.stem for path in (DOCS / "guides").glob("*.md")}
    assert guides == {"dicom", "train", "judge", "top-up", "edge", "show"}


def test_the_torch_to_install_first_is_the_one_that_is_pinned():
    pins = (DOCS.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = re.findall(r"pip install (torch==\S+)", (DOCS / "get-started.md").read_text())
    assert torch in pins


def test_get_started(here):
    for name, count in zip(CLASSES, (9, 9, None, 9), strict=True):  # two pairs are in the third
        target = Path("tests/data/brain_mri", name)
        target.mkdir(parents=True)
        for file in sorted((BRAIN / name).iterdir())[:count]:
            shutil.copy(file, target)
    _, names = follow("get-started.md")
    assert names["images"].shape == (16, 16, 16)
    assert Path("demo/sheet.html").exists()


def test_prepare_dicom(here):
    study()
    printed, names = follow("guides/dicom.md")
    assert "scout.dcm - " in printed and "localizer" in printed
    train = names["train"]
    assert {item.subject for item in train.items}.isdisjoint(
        item.subject for item in names["load_dataset"]("prepared/test").items
    )
    assert train.images.shape[1:] == (16, 16) and sum(train.counts.values()) == 12
    for name in ("prepared-by-table", "soft-tissue", "in-millimetres"):
        assert sum(names["load_dataset"](name).counts.values()) == 20


def test_train_on_your_own_scans(after_training):
    assert len(list(Path("synthetic").glob("*/*.png"))) == 16
    info = type_in("scangan info mine.onnx")
    assert "CC BY 4.0" in info and "My hospital, 2026" in info


def test_judge_what_was_made(after_training):
    # So few steps of training make flat images, which are not usable as scans in a folder.
    export_random(Path("mine.onnx"), CLASSES, size=16)
    printed, _ = follow("guides/judge.md")
    assert re.search(r"KID \S+, from \S+ to \S+", printed)
    assert "<title>Evaluation of mine.onnx" in Path("report", "report.html").read_text()
    for folder in ("judged", "private", "useful"):
        told = json.loads(Path(folder, "result.json").read_text())
        assert told["format_version"] == (2 if folder == "private" else 1)
    assert Path("private", "suspects.png").stat().st_size > 1000
    for found, scans in {"private": "without-suspects", "private-too": "to-look-at"}.items():
        suspects = Path(found, "suspects.jsonl").read_text().splitlines()
        out = [json.loads(line)["origin"] for line in suspects]
        out = {(origin["class"], origin["index"]) for origin in out if origin["index"] < 4}
        made = [json.loads(line) for line in Path(scans, "manifest.jsonl").read_text().splitlines()]
        assert len(made) == 16 - len(out) and out.isdisjoint((m["class"], m["index"]) for m in made)


def test_top_up_a_class_and_train_a_classifier(after_training):
    printed, names = follow("guides/top-up.md")
    made = np.bincount(names["more_labels"], minlength=4)
    assert (made + list(names["train"].counts.values())).tolist() == [24] * 4
    with np.load("more/scans-000000.npz") as shard:
        assert set(shard["labels"]) == {1, 2}  # the small classes
    lines = re.findall(r"^(\S+) +real only \d+% +real and synthetic \d+%$", printed, re.M)
    assert lines == sorted(CLASSES)


def test_run_at_the_edge(after_training):
    _, names = follow("guides/edge.md")
    assert names["images"].shape == (16, 16, 16) and names["images"].dtype == np.uint8
    assert list(Path("scans").glob("scans-*.tar"))


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the page's script was not built (it needs npm)")
def test_show_a_model(here):
    prepare(BRAIN, "test", PrepOptions(size=64))
    follow("guides/show.md")
    assert Path("brain.html").stat().st_size < 6.5e6
    assert len(read_key(Path("study.key.json")).scans) == 16


def test_the_api_page_names_all_that_the_packages_export():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\.\. auto\w+:: (\S+)$", page, re.M))
    packages = re.findall(r"^`(scangan\.\S+)`: ", page, re.M)
    assert shown == {f"{p}.{name}" for p in packages for name in import_module(p).__all__}
    exec(re.search(r"```python\n(.*?)```", page, re.S)[1], space := {})
    assert space["small"].shape == (256, 256) and space["small"].dtype == np.uint8


def test_the_readme_shows_what_get_started_shows():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    (\$ \S+.*)\n    (\S.*)$", readme, re.M)
    whole_way = [program for program in PROGRAMS if program != "make-phantoms"]
    assert [command.split()[1] for command, _ in shown] == whole_way
    page = (DOCS / "get-started.md").read_text(encoding="utf-8").splitlines()
    assert {line for pair in shown for line in pair} <= set(page)


def test_the_readme_judges_the_bundled_models_as_their_reports_do():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)`.*?\| (.+) \|$", readme, re.M)
    assert sorted(name for name, _ in rows) == bundled_models()
    for name, cells in rows:
        report = (DOCS.parent / f"benchmarks/results/{name}.md").read_text(encoding="utf-8")
        section = report.partition("## Quality in dinov2-s\n")[2]
        told = [
            re.search(rf"^\| {figure} \| (\d+%) \(.*?\) \| (\d+%) ", section, re.M).groups()
            for figure in ("told from real", "recall", "class agreement")
        ]
        assert cells.split(" | ") == [f"{synthetic} ({real})" for synthetic, real in told]


def test_the_links_of_the_readme_lead_somewhere():
    """Sphinx follows those between the pages."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", readme)
    assert len(links) > 15
    for target, anchor in links:
        file = DOCS.parent / target
        assert file.exists(), target
        titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M) if anchor else []
        assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles]


def test_the_design_page_shows_the_packages_that_there_are():
    page = (DOCS / "design.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `(\w+)/` \|", page, re.M))
    checked = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert {f"scangan.{name}" for name in shown} == set(checked["root_packages"])


def test_every_option_that_the_pages_name_exists():
    verbs = [verb for verbs in VERBS.values() for verb in verbs]
    verbs += [f"evaluate_{question}" for questions in QUESTIONS.values() for question in questions]
    mains = [import_module(f"scangan.cli.{verb}").main for verb in verbs]
    known = {name for main in mains for param in main.params for name in param.opts}
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]
    for page in pages:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
        assert named <= known | OF_OTHERS, page
