"""How an evaluation shows how far it is."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Advance = Callable[[int], None]
# Called with what is done, how many of what: it shows progress as `scangan.core.terminal.progress` does.
Track = Callable[[str, int, str], AbstractContextManager[Advance]]


@contextlib.contextmanager
def untracked(description: str, total: int, unit: str) -> Iterator[Advance]:  # noqa: ARG001
    """Show nothing."""
    yield lambda _: None
