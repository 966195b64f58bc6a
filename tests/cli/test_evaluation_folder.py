"""What the commands of ``eval-scans`` write into, and what they take for scans and for a run."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from conftest import copy_scans
from training_runs import SMALL, start_run

from scangan.artifacts.modelfile import check_target
from scangan.artifacts.request import Request, Span
from scangan.artifacts.run import Run, check_places
from scangan.cli import evaluation_folder as folders
from scangan.cli.scan_sets import open_scans
from scangan.core.errors import EvaluationError, GenerationError, PreprocessingError, TrainingError
from scangan.core.png import encode_png
from scangan.evaluation.file_names import FIELDS
from scangan.evaluation.leaks import without_trained_on
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.quality_result import QualityResult
from scangan.evaluation.report.write import ReportResult
from scangan.evaluation.scan_set import ScanSet, refused_files
from scangan.evaluation.utility_result import UtilityResult
from scangan.preprocessing import prepare
from scangan.runtime import ScanGenerator
from scangan.runtime.balance import class_counts
from scangan.runtime.output import write_scans
from scangan.training import TrainOptions, train


@contextlib.contextmanager
def evaluation_folder(*args):
    with folders.evaluation_folder(*args, say=print):
        yield


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    out = tmp_path / "my_scans"
    (out / "glioma").mkdir(parents=True)
    refused = pytest.raises(
        EvaluationError, match=r"my_scans is not empty .* \(it has glioma\); choose"
    )
    with refused, evaluation_folder(out, "quality"):
        raise AssertionError
    assert [path.name for path in out.iterdir()] == ["glioma"]


def test_no_evaluation_goes_into_scans(tiny_acgan, tmp_path):
    scans, made = copy_scans(tmp_path / "scans", 1), tmp_path / "made"
    for out in (scans / "judged", scans, tmp_path / "scans/../scans/judged"):
        refused = pytest.raises(
            EvaluationError, match="would be read as part of it; choose another"
        )
        with refused, evaluation_folder(out, "quality", str(scans), "model.onnx"):
            raise AssertionError
    write_scans(ScanGenerator(tiny_acgan), Request(spans=(Span(0, 0, 2),)), made)
    refused = pytest.raises(GenerationError, match="a folder of scans")
    with refused, evaluation_folder(made / "judged", "quality", str(scans)):
        raise AssertionError
    assert not (scans / "judged").exists() and not (made / "judged").exists()
    for work in (
        lambda: prepare(scans, made / "set"),
        lambda: check_places(scans, made / "r", None),
    ):
        with pytest.raises(GenerationError, match="a folder of scans"):
            work()


def test_an_evaluation_may_be_made_again_and_says_so(tmp_path, capsys):
    out = tmp_path / "a" / "judged"
    for again in (False, True):
        with evaluation_folder(out, "quality"):
            told = f"{out} holds an earlier result, which will be replaced\n" if again else ""
            assert capsys.readouterr().out == told
            assert (out / "plots").exists() == again
            (out / "result.json").write_text(json.dumps({FIELDS["quality"]: 0}))
            (out / "plots").mkdir(exist_ok=True)


def test_what_fails_leaves_no_empty_folder(tmp_path):
    for there in (False, True):
        out = tmp_path / str(there)
        if there:
            out.mkdir()
        with pytest.raises(KeyboardInterrupt), evaluation_folder(out, "quality"):
            assert out.is_dir()
            raise KeyboardInterrupt
        assert out.exists() == there
    with pytest.raises(KeyboardInterrupt), evaluation_folder(tmp_path / "begun", "quality"):
        (tmp_path / "begun" / "result.json").touch()
        raise KeyboardInterrupt
    assert (tmp_path / "begun" / "result.json").exists()
    out = tmp_path / "full"  # half a list of suspects would look whole
    out.mkdir()
    (out / "report.md").write_text("of an earlier one")
    with pytest.raises(OSError, match="full"), evaluation_folder(out, "privacy"):
        (out / "suspects.jsonl").touch()
        raise OSError(28, "the disk is full")
    assert [path.name for path in out.iterdir()] == ["report.md"]


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    def refuse(dir):
        raise OSError(30, "Read-only file system", str(dir / "tmp1"))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for out in (tmp_path, tmp_path / "new"):
        refused = pytest.raises(OSError, match="Read-only")
        with refused as caught, evaluation_folder(out, "quality"):
            raise AssertionError
        assert caught.value.filename == str(out)
    assert not (tmp_path / "new").exists()
    with pytest.raises(OSError, match="Read-only"):
        check_target(tmp_path / "m.onnx")


def test_an_evaluation_that_was_cut_short_may_be_made_again(tmp_path):
    out = tmp_path / "judged"
    (out / "plots").mkdir(parents=True)
    (out / "report.html").touch()  # the result is written last
    with evaluation_folder(out, "report"):
        pass
    for damaged in ('{"spaces": ', "5", "[" * 100_000):
        (out / "result.json").write_text(damaged)
        with evaluation_folder(out, "report"):
            assert (out / "plots").is_dir()


def test_a_result_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "result.json").write_text('{"accuracy": 0.9}')
    refused = pytest.raises(EvaluationError, match=r"result\.json is not a result of eval-scans")
    with refused, evaluation_folder(tmp_path, "quality"):
        raise AssertionError
    (tmp_path / "result.json").write_text('{"spaces": ')  # cut short, and beside other things
    (tmp_path / "train.py").touch()
    with (
        pytest.raises(EvaluationError, match="holds no evaluation"),
        evaluation_folder(tmp_path, "quality"),
    ):
        raise AssertionError


def test_files_of_a_folder_that_cannot_be_used_are_counted(tmp_path):
    scans = copy_scans(tmp_path / "scans", 3)
    for k in range(2):
        (next(scans.iterdir()) / f"broken{k}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    opened = open_scans(str(scans))
    assert opened.refused == 2
    assert refused_files(opened) == [f"2 files of {scans} could not be used; prep-scans says why"]


@pytest.mark.parametrize("kind", FIELDS)
def test_the_result_of_another_evaluation_is_not_replaced(tmp_path, kind):
    (tmp_path / "result.json").write_text(json.dumps({"format_version": 1, FIELDS[kind]: {}}))
    for other in FIELDS:
        if other == kind:
            with evaluation_folder(tmp_path, other):
                pass
            continue
        with (
            pytest.raises(EvaluationError, match=f"holds the result of eval-scans {kind}; choose"),
            evaluation_folder(tmp_path, other),
        ):
            raise AssertionError


def test_each_result_has_the_field_that_tells_it_from_others():
    kinds = {
        "quality": QualityResult, "utility": UtilityResult, "privacy": PrivacyResult,
        "report": ReportResult,
    }  # fmt: skip
    for kind, field in FIELDS.items():
        assert [k for k, r in kinds.items() if field in r.__struct_fields__] == [kind]


def test_a_run_is_not_taken_for_scans_nor_a_model_for_a_run(prepared, tiny_acgan, tmp_path):
    run, _ = start_run(tmp_path / "run", prepared)
    with pytest.raises(EvaluationError, match=r"run is a run; .* a model file: export-onnx"):
        open_scans(str(run.path))
    with pytest.raises(PreprocessingError, match=r"run is a run of train-gan; give the scans"):
        prepare(run.path, tmp_path / "out")
    with pytest.raises(PreprocessingError, match=r"run is a run of train-gan; give the scans"):
        train(run.path, tmp_path / "out", TrainOptions(**SMALL))
    (run.path / "samples/0.png").write_bytes(encode_png(np.eye(32, dtype=np.uint8)))
    shutil.copytree(run.path, tmp_path / "runs/mine")
    for folder in (run.path, run.path / "samples", tmp_path / "runs"):
        with pytest.raises(PreprocessingError, match=r"is a run of train-gan; give the scans"):
            prepare(folder, tmp_path / "out")
        with pytest.raises(GenerationError, match=r"is a run of train-gan; give the scans"):
            class_counts(folder)
    assert not (tmp_path / "out").exists()
    scans_with_a_config = copy_scans(tmp_path / "scans", 1)
    (scans_with_a_config / "config.json").write_text('{"format_version": 1}')
    assert len(open_scans(str(scans_with_a_config))) == 2
    scans = ScanSet(np.zeros((1, 32, 32), np.uint8), np.zeros(1, np.int64), ("a",))
    with pytest.raises(TrainingError, match="is not a run; give the --out of train-gan"):
        without_trained_on(Run(tiny_acgan), scans)
