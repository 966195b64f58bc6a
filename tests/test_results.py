"""The projects in results/: their files can be followed, and what is measured of phantoms is true."""

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import project_page as pages
import pytest
from click.testing import CliRunner
from few_scores import score_few
from programs import main_of

from scangan.preprocessing.phantom import KINDS, draw_phantom

RESULTS = Path(__file__).parents[1] / "results"


def _script(path):
    spec = importlib.util.spec_from_file_location(f"results_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = _script(RESULTS / "run.py")
truth = _script(RESULTS / "thyroid-phantom/truth.py")


def test_there_is_a_folder_for_each_project():
    assert len(run.names()) == 5
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in run.names())


@pytest.mark.parametrize("name", run.names())
def test_the_options_of_a_project_are_known(name):
    project = run.Project.read(name)
    larger = [["--size", size, *options] for size, options in project.demonstrations.items()]
    commands = [("train-gan", options) for options in [*project.generators.values(), *larger]]
    for program, options in [*commands, ("prep-scans", project.prepare)]:
        words = ["x", "--out", "y", *options] if program == "train-gan" else ["x", "y", *options]
        main_of(program).make_context(program, list(words))  # else it exits
    assert {"stable"} < set(project.generators)
    assert project.train == "phantoms" or (Path(__file__).parent / "data" / project.sample).is_dir()


def _rows(text):
    """The cells of a table, its header first."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines if not line.startswith("| ---")]


def _project(**changes):
    project = run.Project("T", "all is well", "a", "b", "", (), (), {"g": []}, 1)
    return dataclasses.replace(project, **changes)


@pytest.mark.parametrize("name", run.names())
def test_a_project_runs_from_scans_to_its_page(name, quick_commands, tmp_path, monkeypatch):
    typed = []

    def in_this_process(*words):
        argv = [str(word) for word in words]
        typed.append(argv)
        done = CliRunner().invoke(main_of("scangan"), argv)
        assert done.exit_code == 0, f"{shlex.join(argv)}\n{done.output}"

    project = run.Project.read(name)
    if name != "medical-dcgan":  # one project with all of its generators is enough
        last = dict([project.generators.popitem()])
        project = dataclasses.replace(project, generators=last)
    score_few(monkeypatch.setattr)
    monkeypatch.setattr(run.Project, "read", lambda _: project)
    monkeypatch.setattr(run, "scangan", in_this_process)
    monkeypatch.setattr("sys.argv", ["run.py", name, "--work", str(tmp_path), "--quick"])
    run.main()
    page = (tmp_path / f"{name}-quick" / "README.md").read_text(encoding="utf-8")
    _, *sections = page.split("\n## ")
    told_of = {section.partition("\n")[0]: _rows(section) for section in sections}
    columns, *rows = told_of.pop("Generators")
    assert columns == list(pages.COLUMNS) and [row[0] for row in rows] == list(project.generators)
    for row in rows:
        told = dict(zip(pages.COLUMNS, row, strict=True))
        assert told["kimg"] in ("0", "1")  # 0.32 or 0.64, rounded
        reached, blind = re.fullmatch(r"([\d.]+) \(([\d.]+)\)", told["membership AUC"]).groups()
        assert 0.4 <= float(reached) <= 1 and 0 <= float(blind) <= 1
        assert re.fullmatch(r"\d+ \(\d+\)", told["recall"])
    del told_of["Scans, seed 0"]
    for size in project.demonstrations:
        columns, *rows = told_of.pop(f"Demonstration at {size} pixels")
        assert columns == list(pages.TICKS) and [row[0] for row in rows] == ["0", "1"]
    pictures = re.findall(r"\]\((.*\.png)\)", page)
    simulated = ["phantoms.png"] if name == "thyroid-phantom" else []
    larger = [f"demonstration-{size}.png" for size in project.demonstrations]
    assert pictures == simulated + [f"{each}-0.png" for each in project.generators] + larger
    for picture in pictures:
        assert cv2.imread(str(tmp_path / f"{name}-quick" / picture), 0).shape[1] > 8 * 96
    columns, *rows = told_of.pop("Classifiers that learn from the scans", [list(pages.USES)])
    large = bool(project.large_classifiers) and not project.held_back
    each = 0 if name == "medical-dcgan" else 1 + large
    assert columns == list(pages.USES) and len(rows) == each * len(project.generators)
    for row in rows:
        assert row[2] == "probe" and len(row) == len(columns)
        assert all(re.fullmatch(r"\d+ \(\d+ to \d+\)", cell) for cell in row[3:])
    if project.held_back:
        columns, *held = told_of.pop("Classifiers, tested on scans held back from training")
        assert columns == list(pages.USES) and [row[2] for row in held] == ["probe", "probe"]
    known = [f"{each}-0, and the truth" for each in project.generators]
    assert list(told_of) == (known if name == "thyroid-phantom" else [])
    assert all(len(table) == 13 for table in told_of.values())  # 4 classes, 3 figures
    assert {verb for verb, *_ in typed} >= {"prepare", "train", "export", "evaluate"}
    if name == "thyroid-phantom":  # again: nothing is due, and the page is the same
        typed.clear()
        run.main()
        assert {verb for verb, *_ in typed} == {"prepare", "train"}
        assert (tmp_path / f"{name}-quick" / "README.md").read_text(encoding="utf-8") == page


def test_a_command_that_fails_ends_all(capfd):
    with pytest.raises(SystemExit) as end:
        run.scangan("info", "no-such.onnx")
    assert end.value.code == 1
    said = capfd.readouterr()
    assert said.out.strip() == shlex.join(["$", "scangan", "info", "no-such.onnx"]).replace(
        "'$'", "$"
    )


def test_a_page_has_the_claim_the_table_and_the_reading():
    project = _project(reading=" We doubt it. ")
    row = ["g", "0", *pages.COLUMNS[2:]]
    lines = pages.page(project, pages.Measured([row])).splitlines()
    assert lines[:5] == ["# T", "", "Claimed: all is well", "", "We doubt it."]
    assert _rows("\n".join(lines)) == [list(pages.COLUMNS), row]


def test_a_page_keeps_what_was_not_done_this_time():
    project = _project(generators={"g": [], "h": []}, seeds=2)
    made = [[name, seed, *pages.COLUMNS[2:]] for name in "gh" for seed in "01"]
    learnt = [[*row[:2], each, *pages.USES[3:]] for row in made for each in ("cnn", "large")]
    truths = {f"{name}-{seed}": f"| of {name}{seed} |" for name, seed, *_ in made}
    held = [[*row[:2], "on held-back", *row[3:]] for row in learnt[::2]]
    whole = pages.page(project, pages.Measured(made, learnt, held, truths))
    assert "Not run yet" not in whole

    last, part = [made.pop()], [learnt.pop(), learnt.pop()]
    last_held = [held.pop()]
    told = {k: truths[k] for k in list(truths)[:3]}
    lacks = pages.page(project, pages.Measured(made, learnt, held, told))
    assert "\n\nNot run yet: h-1.\n\n" in lacks and "h-1, and the truth" not in lacks
    assert "(h-0.png)" in lacks
    told = {"h-1": truths["h-1"]}
    late = pages.Measured(last, part[::-1], last_held, told)
    assert pages.page(project, late, lacks) == whole

    better = [[*made[0][:2], *("99" for _ in pages.COLUMNS[2:])]]
    again = pages.page(project, pages.Measured(better), whole)
    assert again == whole.replace(" | ".join(made[0]), " | ".join(better[0]))
    dropped = dataclasses.replace(project, generators={"h": []})
    assert "| g |" not in pages.page(dropped, pages.Measured(), whole)


def test_a_page_keeps_a_demonstration():
    project = _project(demonstrations={"256": ["--kimg", "9"], "512": []})
    made = {"256": [["5", "16.1", "900"], ["9", "16", "800"]]}
    page = pages.page(project, pages.Measured(demonstrations=made))
    assert "`train-gan train-256 --size 256 --kimg 9`" in page and "512 pixels" not in page
    assert _rows(page.partition("## Demonstration")[2]) == [list(pages.TICKS), *made["256"]]
    assert pages.page(project, pages.Measured(), page) == page


def test_the_pages_are_those_of_their_projects():
    for file in RESULTS.glob("*/README.md"):
        text, project = file.read_text(encoding="utf-8"), run.Project.read(file.parent.name)
        assert pages.page(project, pages.Measured(), text) == text


@pytest.mark.parametrize(
    ("only", "seed", "said"),
    [
        ("nobody", None, "has no generator nobody; it has classic-dcgan, stable"),
        (None, 2, "it has 0, 1"),
    ],
)
def test_a_part_that_is_not_there_is_named(only, seed, said, tmp_path):
    with pytest.raises(SystemExit, match=said):
        run.Repeat("medical-dcgan", tmp_path, None, quick=False, only=only, seed=seed)


def test_published_reports_have_no_plots_and_none_of_their_captions():
    made = (
        "A table.\n\n![KID: 3](plots/kid.svg)\n\nKID of each class; lower is better.\n\n## More\n"
    )
    assert run.PICTURE.sub("", made) == "A table.\n\n## More\n"
    for file in RESULTS.glob("*/*-report.md"):
        text = file.read_text(encoding="utf-8")
        assert "plots/" not in text and "Hollow: real scans" not in text


def test_the_table_over_all_projects_is_that_of_their_pages():
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert pages.with_overview(text) == text
    columns, *rows = _rows(text.partition(pages.OVERVIEW)[2])
    assert columns == ["project", *pages.IN_OVERVIEW, pages.ACCURACY]
    done = {file.parent.name for file in RESULTS.glob("*/README.md")}
    assert done == {re.match(r"\[([\w-]+)\]", row[0])[1] for row in rows}
    for name in done:
        generators = run.Project.read(name).generators
        shown = {row[1] for row in rows if row[0].startswith(f"[{name}]")}
        lacks = "Not run yet" in (RESULTS / name / "README.md").read_text(encoding="utf-8")
        assert shown <= {*generators} if lacks else shown == {*generators}


def test_a_project_without_classifiers_is_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "HERE", tmp_path)
    (tmp_path / "p").mkdir()
    project = _project()
    row = ["g", "0", *pages.COLUMNS[2:]]
    (tmp_path / "p/README.md").write_text(
        pages.page(project, pages.Measured([row])), encoding="utf-8"
    )
    _, told = _rows(pages.overview())
    assert told == ["[p](p/README.md)", "g", "0", *pages.IN_OVERVIEW[2:], "-"]


@pytest.mark.parametrize("name", KINDS)
def test_net_counts_follow_the_counts_of_the_gland(name):
    drawn = [draw_phantom(name, 0, index) for index in range(25)]
    measured = truth.measured(np.stack([counts for counts, _ in drawn]))
    wanted = np.array([told.gland_counts for _, told in drawn])
    assert np.corrcoef(measured[:, 0], wanted)[0, 1] > 0.9
    assert (measured[:, 0] < wanted).mean() > 0.8  # what lies under half the peak is left out
    grey = truth.measured(
        np.stack([np.clip(c / 3000 * 255, 0, 255).astype(np.uint8) for c, _ in drawn])
    )
    assert np.corrcoef(grey[:, 0], measured[:, 0])[0, 1] > 0.9


def test_larger_glands_are_higher_and_hotter_ones_stand_out():
    means = {
        name: truth.measured(np.stack([draw_phantom(name, 0, i)[0] for i in range(25)])).mean(0)
        for name in KINDS
    }
    assert means["diffuse_hyperthyroid"][2] > means["normal"][2] > means["toxic_nodule"][2]
    assert means["diffuse_hyperthyroid"][1] > means["normal"][1] > means["thyroiditis"][1]


def test_a_blank_scan_measures_nothing():
    assert truth.measure(np.zeros((64, 64), np.uint8)) == (0.0, 0.0, 0.0)
    assert truth.measure(np.full((64, 64), 7)) == (0.0, 0.0, 0.0)
