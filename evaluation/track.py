"""How an evaluation shows how far it is."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Advance = Callable[[int], None]
# Takes a description, a total and a unit, as `scangan.core.terminal.progress` does, and gives a context
# with a function to call with how many were done since the last call.
Track = Callable[[str, int, str], AbstractContextManager[Advance]]


@contextlib.contextmanager
def untracked(description: str, total: int, unit: str) -> Iterator[Advance]:  # noqa: ARG001
    """Show nothing."""
    yield lambda _: None


@contextlib.contextmanager
def to_the_end(track: Track, description: str, total: int, unit: str) -> Iterator[Advance]:
    """Show progress that ends at its total, even if some of the work turns out not to be needed."""
    left = total
    with track(description, total, unit) as advance:

        def counted(count: int) -> None:
            nonlocal left
            left -= count
            advance(count)

        yield counted
        advance(left)
