"""Lists of runs that are trained, judged and tabulated one after the other."""

import sys
from pathlib import Path

import ablation
import pytest
from ablation_judge import FIGURES

from scangan.artifacts.run import Run
from scangan.core.files import write_json
from scangan.training.checkpoints import load_best
from scangan.training.starting_weights import check_fit, read_starting_weights

LISTS = sorted((Path(ablation.__file__).parent / "ablations").glob("*.toml"))
LIST = """
[[runs]]
name = "short, and small"
set = { kimg = 0.16, tick = 0.08, size = 32, width = 4, latent = 6, batch = 16 }
seeds = 2

[[runs]]
name = "+ mirrored"
after = "short, and small"
set = { mirror = true }
"""


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.stem)
def test_the_lists_hold_runs_that_can_be_trained(file):
    runs = list(ablation.entries(file, Path("work")))
    assert len(runs) > 10
    assert len({entry.path for entry in runs}) == len(runs)
    options = [entry.options.to_dict() | {"seed": 0} for entry in runs if entry.options.seed == 0]
    assert all(options.count(one) == 1 for one in options)
    assert all(entry.options.patience == 0 for entry in runs)
    for entry in (each for each in runs if each.start):
        check_fit(read_starting_weights(entry.start), entry.options)


def test_the_ladder_climbs_from_the_classic_recipe_to_the_default():
    runs = {e.name: e for e in ablation.entries(LISTS[0].with_name("ladder.toml"), Path())}
    values = runs["+ both heads"].options.to_dict() | {"batch": 16, "lr_g": 4e-4, "lr_d": 4e-4}
    assert values | {"seed": 2} == runs["stable"].options.to_dict() | {"seed": 2}
    assert runs["classic-acgan"].recipe == "classic-acgan"
    assert runs["+ hinge instead"].options.augment == runs["stable"].options.augment


def test_runs_are_trained_once_and_tabulated(prepared, tmp_path, monkeypatch, capsys):
    (tmp_path / "list.toml").write_text(LIST)
    argv = [str(tmp_path / "list.toml"), str(prepared.path), str(tmp_path / "work")]

    def called(*more):
        monkeypatch.setattr(sys, "argv", ["ablation.py", *argv, *more])
        ablation.main()
        return capsys.readouterr().out

    called("--only", "short, and small")
    first, second, other = ablation.entries(tmp_path / "list.toml", tmp_path / "work")
    assert [Run(e.path).options.seed for e in (first, second)] == [0, 1]
    assert not other.path.exists()
    before = (first.path / "last.pt").stat().st_mtime_ns
    called()
    assert Run(other.path).options.mirror
    assert (first.path / "last.pt").stat().st_mtime_ns == before

    for entry, value in ((first, 50.0), (second, 70.0), (other, 90.0)):
        kimg = (
            load_best(Run(entry.path)).kimg if entry is not other else 1.0
        )  # that was another one
        told = {"kimg": kimg, "figures": dict.fromkeys(FIGURES, value)}
        write_json(entry.path / "judged.json", told)
    trained, judged = called("--table").split("\n\n")
    assert [line.split(" | ")[:2] for line in trained.splitlines()[2:]] == [
        ["| short, and small", "2"], ["| + mirrored", "1"],
    ]  # fmt: skip
    kid = [Run(e.path).read_metrics()[-1].better.mean_class_kid * 1000 for e in (first, second)]
    row = trained.splitlines()[2].split(" | ")
    assert row[4].endswith(f"({min(kid):.0f} to {max(kid):.0f})")
    assert judged.splitlines()[2] == (
        f"| short, and small | 2 |{' 60 (50 to 70) |' * len(FIGURES)}"
    )
    assert "mirrored" not in judged

    (tmp_path / "list.toml").write_text(f'start = "{first.path}"\n{LIST}')
    argv[-1] = str(tmp_path / "others")
    called("--only", "+ mirrored")
    trained, judged = called("--table").split("\n\n")  # two runs are not there yet
    assert len(trained.splitlines()) == 3 and len(judged.splitlines()) == 2
    config = Run(tmp_path / "others" / other.path.name).config
    assert config.started_from.name == first.path.name
