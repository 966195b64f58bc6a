"""Versions of files on disk: a newer file is refused by its version, never called damaged."""

from typing import Any


def why_newer(what: object, told: Any, known: int) -> str:
    """Return the error for a file with a newer format version than `known`; else an empty string.

    Raises
    ------
    TypeError
        `told` is not a number.
    """
    return f"{what} was made by a newer scangan; update scangan" if told > known else ""
