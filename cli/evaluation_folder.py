"""The folder that an evaluation writes into."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from scangan.core.errors import EvaluationError
from scangan.evaluation.file_names import RESULT


@contextlib.contextmanager
def evaluation_folder(out: Path) -> Iterator[None]:
    """Make the folder before the long work inside this context; if that fails, leave none behind.

    Raises
    ------
    EvaluationError
        The folder holds other things than an evaluation.
    """
    new = not out.exists()
    if not new and out.is_dir():
        others = [path.name for path in out.iterdir() if not path.name.startswith(".")]
        if others and RESULT not in others:
            raise EvaluationError(
                f"{out} is not empty and holds no evaluation (it has {min(others)}); choose another --out"
            )
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):  # something is in it
                out.rmdir()
        raise
