"""What the benchmarks share: real scans and a trained generator. One thread everywhere."""

import shutil
import tempfile
from pathlib import Path

import cv2
import pytest
import torch

SAMPLE = Path(__file__).parent.parent / "tests/data/brain_mri"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """CPU time is compared, and one thread keeps that the same thing as time."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture
def two_threads():
    """As a user of this machine has them; wall time is compared."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample_files():
    """Paths of the 240 real sample scans."""
    return sorted(SAMPLE.rglob("*.jpg"))


@pytest.fixture
def memory():
    """A folder in memory."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
