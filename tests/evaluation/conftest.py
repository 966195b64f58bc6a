"""Evaluations of the same scans share their searches."""

import pytest
from searches import searches_once


@pytest.fixture
def search_once(request):
    """Make each search once, but in tests that ask for `every_search`."""
    if "every_search" in request.fixturenames:
        yield
        return
    with searches_once():
        yield


@pytest.fixture
def every_search():
    """Search as for a user: the search or its progress is tested."""
