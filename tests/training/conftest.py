"""Training in tests computes on one thread: alike from run to run, and quick on a busy machine."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _on_one_thread(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)
