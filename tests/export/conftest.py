"""Tests of graphs share exports."""

import pytest
from exports import exports_once


@pytest.fixture(scope="module")
def export_once():
    """Let torch export each network once."""
    with exports_once():
        yield
