"""Versions of what lies on disk: a file of a later one is not read, and never called damaged."""

from typing import Any

DATASET = 3  # of a prepared dataset, which several commands read


def why_newer(what: object, told: Any, known: int) -> str:
    """The error of a file whose format version is later than the one known here; else empty.

    TypeError where `told` is not a number.
    """
    return f"{what} was made by a newer scangan; update scangan" if told > known else ""
