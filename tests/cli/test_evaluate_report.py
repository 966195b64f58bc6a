"""The command ``eval-scans report``."""

import json
import shutil

import pytest
from click.testing import CliRunner
from conftest import CLASSES, copy_scans
from training_runs import start_run

from scangan.artifacts.records import parse_record
from scangan.cli.evaluate import main
from scangan.evaluation.features import DEFAULT, NETWORKS
from scangan.evaluation.file_names import PICTURE
from scangan.evaluation.planted import LEVELS
from scangan.evaluation.report.write import ReportResult
from scangan.preprocessing import PrepOptions, load_dataset, prepare

pytestmark = pytest.mark.usefixtures("quick_commands")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Training scans, prepared, and a folder of others; nobody may see the names of their folders."""
    folder = tmp_path_factory.mktemp("smith")
    prepare(copy_scans(folder / "scans", 25), folder / "john", PrepOptions(size=64))
    copy_scans(folder / "jane", 25, start=25)
    return folder


@pytest.fixture(autouse=True)
def _few_copies(monkeypatch):
    for change in list(LEVELS)[1:]:  # exact copies are enough here
        monkeypatch.delitem(LEVELS, change)


def _run(folder, out, *args):
    given = [folder / "jane", "brain-mri-64", "--count", 20, "--out", out]
    given += ["--seeds", 1] if "--train" in args else []
    given += ["--extractor", "efficientnet-lite0", "--cache", folder / "cache", *args]
    return CliRunner().invoke(main, ["report", *map(str, given)])


def test_one_command_answers_all_questions(folder, tmp_path):
    done = _run(
        folder, tmp_path / "report", "--train", folder / "john", "--real-fractions", "0.5,1"
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Quality", "Utility", "Privacy", "report"]
    assert (
        lines[-1]
        == f"report: {tmp_path / 'report/report.html'} (shows real scans: treat it as you treat them)"
    )
    result = parse_record(ReportResult, (tmp_path / "report/result.json").read_text())
    assert result.judgement.quality.real.name == str(folder / "jane")
    assert result.judgement.utility.curve and result.judgement.privacy.membership
    assert str(folder / "john") in (tmp_path / "report/report.html").read_text()
    assert "| architecture | acgan, 64 x 64 pixels |" in (tmp_path / "report/report.md").read_text()


def _named(folder):
    """The names of all real files."""
    names = {file.stem for part in ("scans", "jane") for file in (folder / part).rglob("*.jpg")}
    assert len(names) == 100
    return names


def test_no_name_of_a_real_folder_leaves_the_hospital(folder, tmp_path, monkeypatch):
    (folder / "scans").joinpath("net.onnx").write_bytes(NETWORKS[DEFAULT].path.read_bytes())
    out, john, net = tmp_path / "report", folder / "john", folder / "scans" / "net.onnx:features"
    # As it was typed: with "=", relative, with a slash at the end, and with more paths.
    typed = [
        "report",
        f"{folder}/../{folder.name}/jane/",
        "m",
        f"--train={john}/",
        "--out",
        "report",
    ]
    typed += ["--cache", str(folder / "cache"), f"--extractor={net}", "--count=20"]
    monkeypatch.setattr("sys.argv", ["eval-scans", *typed])
    monkeypatch.chdir(tmp_path)
    done = _run(folder, out, "--train", john, "--no-real-images", "--json", "--extractor", net)
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["verdict"]) == {"Quality", "Utility", "Privacy"}
    files = [file for file in (tmp_path / "report").rglob("*") if file.is_file()]
    assert len(files) > 5
    named = _named(folder)
    for file in files:
        text = file.read_text()
        assert not any(name in text for name in ("smith", "john", "jane", *named))
    said = (tmp_path / "report/report.md").read_text()
    assert (
        "\neval-scans report REAL m --train=TRAIN --out OUT --cache CACHE "
        "--extractor=net.onnx:features --count=20\n" in said
    )
    assert "## Quality in net.onnx:features\n" in said
    assert "not checked for copies" not in said  # they were looked for


def test_scans_that_the_run_was_trained_on_are_refused_or_left_out(folder, tmp_path):
    run, _ = start_run(tmp_path / "garp", load_dataset(folder / "john"), size=64, held_back=0.0)
    shutil.copytree(folder / "jane", tmp_path / "jane")
    for number, item in enumerate(run.read_items()[::9]):
        shutil.copy(folder / "scans" / item.file, tmp_path / "jane" / CLASSES[number % 2])
    given = ["--train", folder / "john", "--run", run.path, "--no-real-images"]
    refused = _run(tmp_path, tmp_path / "report", *given)
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert f"trained on {number + 1} of {51 + number} scans" in refused.stderr
    assert not (tmp_path / "report").exists()

    done = _run(tmp_path, tmp_path / "report", *given, "--drop-leaks")
    assert done.exit_code == 0, done.output
    found = parse_record(ReportResult, (tmp_path / "report/result.json").read_text()).judgement
    assert sum(found.quality.real.counts.values()) == 50
    left_out = f"left out {number + 1} test scans whose file or subject"
    for result in (found.utility, found.privacy):
        assert any(note.startswith(left_out) for note in result.notes)
    files = [file for file in (tmp_path / "report").rglob("*") if file.is_file()]
    named = _named(folder)
    assert not any(name in file.read_text() for file in files for name in ("garp", "jane", *named))


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        (("--run", "run"), 2, "--train"),
        (("--drop-leaks",), 2, "needs --run"),
        (("--classifier", "cnn"), 2, "--classifier needs --train"),
        (("--real-fractions", "0.5,1"), 2, "--real-fractions needs --train"),
        (("--extractor", "resnet"), 2, "no extractor resnet"),
        (("--train", "t", "--classifier", "zebra"), 2, "no classifier zebra"),
        (("--write-model", "no/a.onnx"), 1, "no does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(folder, tmp_path, given, code, why):
    argv = [folder / "jane", "brain-mri-64", "--out", tmp_path / "report", *given]
    done = CliRunner().invoke(main, ["report", *map(str, argv)])
    assert done.exit_code == code and not (tmp_path / "report").exists()
    assert done.stderr.count("\n") == 1 and why in done.stderr


def test_the_result_is_written_last(folder, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("scangan.evaluation.report.write.write_record", stopped)
    monkeypatch.setattr("scangan.evaluation.privacy_files.write_record", stopped)
    given = [folder / "john", folder / "jane", "--cache", folder / "cache"]
    privacy = ["privacy", *map(str, given), "--out", str(tmp_path / "privacy")]
    for done, others in (
        (_run(folder, tmp_path / "report"), ("report/report.html", "report/report.md")),
        (CliRunner().invoke(main, privacy), (f"privacy/{PICTURE}",)),
    ):
        assert done.exit_code == 130 and "run the same command again" in done.stderr
        assert all((tmp_path / name).exists() for name in others)
    assert not list(tmp_path.rglob("result.json"))
