"""Run a project of the mission again: prepare, train, export, evaluate, and write its table.

    python results/run.py thyroid-phantom --work work
    python results/run.py brain-mri-dcgan --work work --data data

It only types commands that you could type yourself, and prints each. Stop it at any time: the same
command again goes on where it was, in WORK/PROJECT. DATA holds the folders that a project's
`project.toml` names. ``--only`` and ``--seed`` do a part of it, so that several cores or days can share
the work; the page keeps what it says of the rest. ``--quick`` does it all with few scans and hardly any
training, to see that it runs, in WORK/PROJECT-quick.
"""

import argparse
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from project import HERE, PHANTOMS, Project, names
from project_page import (
    PICTURE_OF_PHANTOMS,
    Measured,
    Rows,
    demonstrated,
    figures,
    page,
    ticks,
    uses,
    with_overview,
)

from scangan.artifacts.records import parse_record
from scangan.artifacts.run import Run
from scangan.core.files import write_bytes
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE, contact_sheet
from scangan.evaluation.judgement import Judgement
from scangan.evaluation.utility_result import UtilityResult
from scangan.preprocessing import load_dataset
from scangan.preprocessing.phantom import SIMULATED
from scangan.runtime import ScanGenerator
from scangan.runtime.generator import Images
from scangan.training.checkpoints import load_best

SAMPLES = HERE.parent / "tests/data"
COUNT = 500  # synthetic scans of each class
DRAWN = 8  # of each class in a picture
WIDEST = 1024  # pixels that they have in a row
EXPLAINED = "## How to read the figures"  # from here on, every report says the same
PICTURE = re.compile(r"^!\[.*\n\n.*\n\n?", re.MULTILINE)  # with its caption
SMALL = ["--size", "32"]
QUICK = [*SMALL, "--kimg", "0.64", "--tick", "0.32", "--width", "8", "--set", "held_back=0.5"]


def show(*words: str) -> None:
    """Print a command as one would type it."""
    print("$", shlex.join(words), flush=True)


def scangan(*words: object) -> None:
    """Run a command, and end if it fails."""
    typed = [str(word) for word in words]
    show("scangan", *typed)
    done = subprocess.run([sys.executable, "-m", "scangan.cli", *typed], check=False)
    if done.returncode:
        sys.exit(done.returncode)


class Repeat:
    """One project, run again in a folder of its own."""

    def __init__(
        self,
        name: str,
        work: Path,
        data: Path | None,
        quick: bool,
        only: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.name, self.quick, self.data = name, quick, data
        told = Project.read(name)
        self.project = dataclasses.replace(told, seeds=1) if quick else told
        known = [*told.generators, *map(demonstrated, told.demonstrations)]
        self.chosen = _chosen(only, known, f"{name} has no generator")
        self.generators = [each for each in told.generators if each in self.chosen]
        self.seeds = _chosen(seed, list(range(self.project.seeds)), f"{name} has no seed")
        self.work = work / (f"{name}-quick" if quick else name)
        self.work.mkdir(parents=True, exist_ok=True)
        self.measured = Measured()

    def __call__(self) -> Measured:
        """Do all of it; return what was measured."""
        measured = self.measured
        for size, options in self.project.demonstrations.items():
            if demonstrated(size) in self.chosen and 0 in self.seeds:
                measured.demonstrations[size] = self._demonstrate(size, options)
        if not self.generators:  # a demonstration alone needs no other scans
            return measured
        train, test = self._prepared("train"), self._prepared("test")
        if self.project.test == PHANTOMS:  # no real scan is shown
            held = load_dataset(test)
            of_each = {name: held.images[held.labels == k] for k, name in enumerate(held.classes)}
            few = {name: scans[:DRAWN] for name, scans in of_each.items()}
            write_bytes(
                self.work / PICTURE_OF_PHANTOMS, drawn(few, "simulated, of the test set", SIMULATED)
            )
        measured.generators = [
            self._row(name, seed, self.project.generators[name], train, test)
            for name in self.generators
            for seed in self.seeds
        ]
        if self.project.large_classifiers and 0 in self.seeds:
            held_back = self.project.held_back
            kind, tested = ("large-held", None) if held_back else ("large", test)
            told = measured.on_held_back if held_back else measured.classifiers
            for name in self.generators:
                chosen = ("probe",) if self.quick else self.project.large_classifiers
                told += self._learn(name, 0, kind, chosen, train, tested, "--seeds", 1)
        return measured

    def _demonstrate(self, size: str, options: list[str]) -> Rows:
        """Train once on scans that are enlarged to `size`; return a row for each tick."""
        scans = self._prepared("train", "--size", size)
        run = self.work / demonstrated(size)
        self._trained(scans, run, 0, "--size", size, *options)
        return list(ticks(Run(run).read_metrics()))

    def _trained(self, scans: Path, run: Path, seed: int, *options: str) -> Path:
        """Train, export, and draw scans of seed 0; return the model file."""
        model = run.with_name(f"{run.name}.onnx")
        few = QUICK if self.quick else []
        scangan("train", scans, "--out", run, "--seed", seed, *options, *few)
        if _is_due(model, run / "best.safetensors"):
            scangan("export", run, "-o", model)
        if seed == 0 and _is_due(picture := model.with_suffix(".png"), model):
            with ScanGenerator(model) as made:
                count = min(DRAWN, WIDEST // made.card.size)
                of_each = {each: made.sample(count, each) for each in made.classes}
                write_bytes(picture, drawn(of_each or {"": made.sample(count)}, "synthetic"))
        return model

    def _prepared(self, part: str, *larger: str) -> Path:
        folder = getattr(self.project, part)
        if folder == PHANTOMS:
            scans, number = self.work / f"{part}-{PHANTOMS}", 1 if part == "test" else 0
            if not (scans / "truth.jsonl").exists():  # which is written last
                scangan("phantoms", scans, "--count", 120 if self.quick else 1200, "--seed", number)
        elif self.data:
            scans = self.data / folder
        elif self.quick:
            return self._sample(part)
        else:
            sys.exit(f"{self.name} needs --data, a folder that holds {self.project.train}")
        out = self.work / "-".join([part, *larger[1:]])
        few = SMALL if self.quick else []
        scangan("prepare", scans, out, *self.project.prepare, *larger, *few)
        return out

    def _sample(self, part: str) -> Path:
        """Prepare the few scans that the repository holds, and split them."""
        out, scans = self.work / "sample", SAMPLES / self.project.sample
        scangan("prepare", scans, out, *self.project.prepare, *SMALL, "--split", "0.5,0.1,0.4")
        return out / part

    def _row(self, name: str, seed: int, options: list[str], train: Path, test: Path) -> list[str]:
        run, report = self.work / f"{name}-{seed}", self.work / f"{name}-{seed}-report"
        model = self._trained(train, run, seed, *options)
        if _is_due(report / "result.json", model):
            shutil.rmtree(report, ignore_errors=True)
            few = ["--extractor", "efficientnet-lite0", "--seeds", 1] if self.quick else []
            count = 20 if self.quick else COUNT
            chosen = self.project.classifiers[: 1 if self.quick else None]
            every = [word for each in chosen for word in ("--classifier", each)]
            scangan(
                "evaluate", "report", test, model, "--train", train, "--run", run, "--count", count,
                "--no-real-images", "--drop-leaks", *every, *few, "--out", report,
            )  # fmt: skip
        self._compare_with_truth(model, test)
        told = json.loads((report / "result.json").read_text("utf-8"))
        found = parse_record(Judgement, json.dumps(told["judgement"]))
        if found.utility:
            self.measured.classifiers += [[name, str(seed), *row] for row in uses(found.utility)]
        if self.project.held_back:
            few = ["--seeds", 1] if self.quick else []
            chosen = self.project.classifiers[: 1 if self.quick else None]
            self.measured.on_held_back += self._learn(name, seed, "held", chosen, train, None, *few)
        return [name, str(seed), f"{load_best(Run(run)).kimg:.0f}", *figures(found)]

    def _learn(
        self,
        name: str,
        seed: int,
        kind: str,
        classifiers: Sequence[str],
        train: Path,
        test: Path | None,
        *more: object,
    ) -> list[list[str]]:
        """Train classifiers on a generator's scans; without `test`, test on what its run held back."""
        model, run = self.work / f"{name}-{seed}.onnx", self.work / f"{name}-{seed}"
        out = self.work / f"{name}-{seed}-{kind}"
        if _is_due(out / "result.json", model):
            shutil.rmtree(out, ignore_errors=True)
            every = [word for each in classifiers for word in ("--classifier", each)]
            tested = ["--test", test, "--drop-leaks"] if test else []
            scangan(
                "evaluate", "utility", train, model, "--run", run, *tested,
                "--count", 20 if self.quick else COUNT, *every, *more, "--out", out,
            )  # fmt: skip
        found = parse_record(UtilityResult, (out / "result.json").read_bytes())
        return [[name, str(seed), *row] for row in uses(found)]

    def _compare_with_truth(self, model: Path, test: Path) -> None:
        """Keep what a project's `truth.py` prints, where the truth is known."""
        script = HERE / self.name / "truth.py"
        if not script.exists():
            return
        kept = model.with_suffix(".truth.md")
        if _is_due(kept, model):
            words = script, model, test, "--count", 20 if self.quick else COUNT
            typed = [str(word) for word in words]
            show("python", *typed)
            done = subprocess.run([sys.executable, *typed], stdout=subprocess.PIPE, check=False)
            if done.returncode:
                sys.exit(done.returncode)
            write_bytes(kept, done.stdout)
        self.measured.truths[model.stem] = kept.read_text("utf-8")


def _chosen(given: Any, known: list[Any], otherwise: str) -> list[Any]:
    """Return the one that is asked for, or all."""
    if given is not None and given not in known:
        sys.exit(f"{otherwise} {given}; it has {', '.join(map(str, known))}")
    return known if given is None else [given]


def drawn(scans: Mapping[str, Images], what: str, notice: str = NOTICE) -> bytes:
    """Draw scans of each class, as a PNG."""
    return encode_png(contact_sheet(list(scans.items()), what), {"Comment": notice})


def _is_due(made: Path, source: Path) -> bool:
    """Tell whether a file has to be made; one that is older than its source is removed."""
    if made.exists() and made.stat().st_mtime < source.stat().st_mtime:
        made.unlink()
    return not made.exists()


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("project", choices=[*names(), "all"])
    parser.add_argument("--work", type=Path, required=True, help="folder for datasets and runs")
    parser.add_argument("--data", type=Path, help="folder of the sets of real scans")
    parser.add_argument("--only", metavar="GENERATOR", help="do this one alone")
    parser.add_argument("--seed", type=int, help="do this seed alone")
    parser.add_argument("--quick", action="store_true", help="few scans and hardly any training")
    parser.add_argument(
        "--write", action="store_true", help="write the page and reports into results/"
    )
    given = parser.parse_args()
    if given.quick and given.write:
        parser.error("--quick is only a trial; leave out --write")
    for name in names() if given.project == "all" else [given.project]:
        repeat = Repeat(name, given.work, given.data, given.quick, given.only, given.seed)
        measured = repeat()
        published = HERE / name / "README.md"
        before = "" if given.quick or not published.exists() else published.read_text("utf-8")
        text = page(repeat.project, measured, before)
        write_bytes(repeat.work / "README.md", text.encode())
        if given.write:
            write_bytes(published, text.encode())
            for picture in repeat.work.glob("*.png"):
                write_bytes(HERE / name / picture.name, picture.read_bytes())
            for report in repeat.work.glob("*-report/report.md"):
                figures_alone = PICTURE.sub("", report.read_text("utf-8").partition(EXPLAINED)[0])
                write_bytes(HERE / name / f"{report.parent.name}.md", figures_alone.encode())
            all_of_them = HERE / "README.md"
            write_bytes(all_of_them, with_overview(all_of_them.read_text("utf-8")).encode())
        print(f"{text}\nwritten: {repeat.work / 'README.md'}")


if __name__ == "__main__":
    main()
