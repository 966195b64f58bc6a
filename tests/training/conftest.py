"""Training in tests is quick: one thread, few scores, no figure."""

import pytest
import torch
from few_scores import score_few


@pytest.fixture(autouse=True)
def _on_one_thread(monkeypatch):
    """Alike from run to run, and quick on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def _few_scores():
    with pytest.MonkeyPatch.context() as patch:
        score_few(patch.setattr)
        yield patch


@pytest.fixture
def every_score(_few_scores):
    """Score as many scans as a user's run does."""
    _few_scores.undo()
    yield
    score_few(_few_scores.setattr)


@pytest.fixture
def drawn(monkeypatch):
    """Draw the figure of a run as for a user."""
    from scangan.training import measure_tick, report_figure

    monkeypatch.setattr(measure_tick, "draw_report", report_figure.draw_report)
