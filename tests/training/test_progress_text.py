"""What is said of a run while it trains."""

import pytest
from ticks import real_scores, ticks

from scangan.training import progress_text

REAL = {"mean_real_class_kid": 0.0013, "probe_accuracy": 0.82}


def best_so_far(lines):
    return progress_text.best_so_far(ticks(lines))


def describe(lines, real):
    return progress_text.describe(ticks(lines), real_scores(real))


def variety_warning(lines, warned):
    return progress_text.variety_warning(ticks(lines), warned)


def _scores(kid, agreement=0.6, variety=0.9):
    return {
        "mean_class_kid": kid,
        "mean_agreement": agreement,
        "variety": {"glioma": variety, "no_tumor": 1.0},
    }


def _run(*kids, tick=20.0, **scores):
    """Lines of a run with these KIDs, the EMA always the better; the lowest so far is kept."""
    return [
        {
            "kimg": tick * (i + 1),
            "ema": _scores(kid, **scores),
            "raw": _scores(2 * kid, agreement=0.1, variety=0.1),
            "best": "ema" if kid < min(kids[:i], default=9) else None,
        }
        for i, kid in enumerate(kids)
    ]


def _varieties(*values, name="glioma"):
    lines = _run(*[3.0 - 0.1 * i for i in range(len(values))])
    for line, value in zip(lines, values):
        line["ema"]["variety"] = {name: value}
    return lines


def _warned_at(lines):
    """Ticks, counted from 1, at which there was a warning."""
    warned = set()
    return [n for n in range(1, len(lines) + 1) if variety_warning(lines[:n], warned)]


def test_columns_line_up_and_are_narrow_enough_for_a_terminal():
    lines = _run(3.0, 3.1, 2.6, 1.2, 0.312, 0.4, 0.9, 0.009, tick=150, agreement=0.07)
    lines[-1]["ema"] |= {"mean_agreement": 1.0}
    said = [describe(lines[:n], REAL) for n in range(1, len(lines) + 1)]
    for column in ("kimg  ", "KID", "%", "class agreement", "(real 82%)  variety", "variety"):
        assert len({line.index(column) for line in said}) == 1, column
    assert max(map(len, said)) <= 112


def test_the_numbers_of_the_better_generator_are_said_beside_those_of_real_scans():
    line = describe(_run(0.8, 0.312, agreement=0.61, variety=0.91), REAL)
    assert " 40.0 kimg  best so far " in line
    assert "KID x1000  312 (real 1.3) " in line
    assert " class agreement  61% (real 82%)" in line
    assert line.endswith("variety 0.91")


@pytest.mark.parametrize(
    ("kids", "verdict"),
    [
        ([3.0], "first scores"),
        ([3.0, 2.0], "best, but still rough"),
        ([3.0, 1.4], "best so far"),
        ([3.0, 0.3, 0.31], "no better for 20 kimg"),
        ([3.0, 0.3, 0.31, 0.59, 0.32], "no better for 60 kimg"),
        ([3.0, 0.3, 0.61], "much worse: diverging?"),
        # Near real scans a hundred scans a class cannot tell such KIDs apart.
        ([3.0, 0.001, 0.009], "no better for 20 kimg"),
        ([3.0, -0.001, 0.009], "no better for 20 kimg"),
        ([3.0, 0.001, 0.03], "much worse: diverging?"),
    ],
)
def test_the_verdict_of_a_tick(kids, verdict):
    assert f"kimg  {verdict} " in describe(_run(*kids), REAL)


def test_chance_is_judged_by_how_far_real_scans_are_from_real_scans():
    assert "no better" in describe(_run(3.0, 0.03, 0.09), REAL | {"mean_real_class_kid": 0.05})
    assert "diverging" in describe(_run(3.0, 0.03, 0.09), REAL)


def test_a_tick_that_is_not_the_best_is_compared_with_the_best():
    assert "KID x1000  900 (best 312) " in describe(_run(3.0, 0.312, 0.9), REAL)


def test_short_ticks_are_not_called_zero():
    assert "no better for 0.2 kimg" in describe(_run(3.0, 2.0, 2.1, tick=0.16), REAL)


def test_one_class_has_no_right_class():
    line = describe(_run(3.0, 1.0, agreement=None), REAL | {"probe_accuracy": None})
    assert "class" not in line and line.endswith("(real 1.3)   variety 0.90")


def test_without_a_best_one_real_scans_are_compared_with():
    lines = _run(3.0, 1.0)
    for line in lines:
        line["best"] = None
    assert best_so_far(lines) is None
    said = describe(lines, {})
    assert "no best yet" in said and "KID x1000 1000 (real 0.0)" in said


def test_the_kept_generator_is_the_last_that_was_best():
    lines = _run(3.0, 1.0, 2.0)
    lines[0]["best"] = "raw"
    assert best_so_far(lines) == (ticks(lines)[1], ticks(lines)[1].ema)
    assert best_so_far(lines[:1]) == (ticks(lines)[0], ticks(lines)[0].raw)
    assert best_so_far([]) is None


def test_a_class_that_loses_variety_is_named_with_what_to_do():
    warned = set()
    (warning,) = variety_warning(_varieties(0.3, 0.9, 0.9, 0.42), warned)
    assert warning.startswith("class 'glioma' loses variety") and "0.42 times" in warning
    assert "scans of this class" in warning and "--set augment=" in warning
    assert warned == {"glioma"}


def test_a_name_cannot_break_the_line():
    (warning,) = variety_warning(_varieties(0.3, 0.9, 0.9, 0.42, name="a\n\x1b[31mb"), set())
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("varieties", "ticks"),
    [
        ([0.22, 0.37, 0.54, 0.64, 0.8], []),  # of the first ticks of a healthy run
        ([0.25, 0.36, 0.49, 0.62, 0.8], []),  # of another one
        ([1.3, 0.2, 0.4, 0.6], []),  # noise may look varied
        ([0.3, 0.9, 0.4], [3]),
        ([0.3, 0.9, 0.9, 0.4, 0.3, 0.2], [4]),  # once
        ([0.3, 0.9, 0.9, 0.4, 0.7, 0.4], [4, 6]),  # again after it recovered
        ([0.3, 0.9, 0.9, 0.49, 0.51, 0.49], [4]),  # wavering is no recovery
        ([0.3] * 12, [9]),  # never had any
        ([0.3, 0.9, 0.9, 0.5], []),
    ],
)
def test_when_there_is_a_warning(varieties, ticks):
    assert _warned_at(_varieties(*varieties)) == ticks


def test_nothing_is_warned_of_before_a_generator_was_kept():
    lines = _varieties(0.3, 0.9, 0.9, 0.4)
    for line in lines:
        line["best"] = None
    assert _warned_at(lines) == []


def test_a_class_that_never_had_variety_lacks_it():
    (warning,) = variety_warning(_varieties(*[0.3] * 9), set())
    assert "class 'glioma' lacks variety" in warning


def test_classes_are_warned_of_one_by_one():
    lines = _varieties(*[0.9] * 5)
    for line in lines:
        line["ema"]["variety"] = {"a": 0.9, "b": 0.9}
    lines[3]["ema"]["variety"]["a"] = 0.4
    lines[4]["ema"]["variety"] = {"a": 0.4, "b": 0.1}
    warned = set()
    assert len(variety_warning(lines[:4], warned)) == 1
    (warning,) = variety_warning(lines, warned)
    assert "class 'b'" in warning
    assert warned == {"a", "b"}
