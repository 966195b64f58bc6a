"""Evaluations of the same scans share their features and searches."""

import pytest
from scans_once import scans_once

from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.similar import Gallery


@pytest.fixture(scope="module")
def once():
    """Extract the features of each scan once, and make each search once."""
    with scans_once() as as_ever:
        yield as_ever


@pytest.fixture
def every_time(once, monkeypatch):
    """Extract and search as for a user: that, or its progress, is tested."""
    monkeypatch.setattr(FeatureExtractor, "__call__", once[0])
    monkeypatch.setattr(Gallery, "search", once[1])
