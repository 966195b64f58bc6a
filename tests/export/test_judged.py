"""Figures of an evaluation in the card of a model file."""

import json

import numpy as np
import pytest

from scangan.core.errors import ExportError
from scangan.evaluation.quality_result import FORMAT, Figure, Figures, QualityResult, Space
from scangan.evaluation.scan_set import SetInfo
from scangan.export.judged import write_judged
from scangan.runtime.generator import ScanGenerator
from scangan.runtime.info import card_table

KID = Figure(value=0.1234567, low=0.1, high=0.2, n_real=50, n_synthetic=60, real=0.001)
TOLD = Figure(value=-0.001, low=0.1, high=0.2, n_real=50, n_synthetic=60)  # few subjects: no real
RATIO = Figure(value=0.5, low=0.4, high=0.6, n_real=50, n_synthetic=60)
SETS = [SetInfo(name=f"/ward/{name}", sha256="00", size=64, scans=60, counts={}) for name in "ab"]


def _result():
    figures = {
        "kid": Figures(KID),
        "two_sample": Figures(TOLD),
        "fid_ratio": Figures(RATIO),
        "recall": Figures(None),
    }
    space = Space("dinov2-s", "a network", "11", False, figures, {})
    spaces = {"dinov2-s": space, "/ward/net.onnx": Space("", "", "22", False, {}, {})}
    return QualityResult(FORMAT, "0.1.0", *SETS, spaces, {}, repeats=20, seed=0, notes=())


def test_a_copy_has_the_figures_and_makes_the_same_scans(tmp_path):
    out = tmp_path / "copy.onnx"
    with ScanGenerator() as before:
        write_judged(before.file, _result(), out)
        with ScanGenerator(out) as after:
            assert np.array_equal(*(each.sample(8, 1) for each in (after, before)))
            assert after.card.graph_sha256 == before.card.graph_sha256
            judged = after.card.judged
            table = card_table(after.file)
        assert before.card.scores == after.card.scores
    assert judged["scangan"] == "0.1.0"
    assert judged["spaces"]["dinov2-s"]["kid"]["value"] == 0.123457
    assert set(judged["spaces"]["dinov2-s"]) == {"kid", "two_sample", "fid_ratio"}
    assert "in dinov2-s      KID x1000 123 (real scans: 1), told from real 0%\n" in table
    assert "ward" not in json.dumps(judged)
    write_judged(after.file, _result(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == out.read_bytes()


def test_the_model_that_was_evaluated_is_not_replaced(tmp_path):
    with ScanGenerator() as generator:
        (tmp_path / "link.onnx").symlink_to(generator.file.path)
        for out, why in {
            "link.onnx": "another name", "": "a folder", "no/a.onnx": "does not exist"
        }.items():  # fmt: skip
            with pytest.raises(ExportError, match=why):
                write_judged(generator.file, _result(), tmp_path / out)
