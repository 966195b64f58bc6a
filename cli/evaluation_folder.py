"""The folder that an evaluation writes into."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from scangan.artifacts.dataset import is_dataset
from scangan.artifacts.scan_folder import refuse_inside_scans
from scangan.artifacts.suspects import SUSPECTS
from scangan.core.errors import EvaluationError
from scangan.core.files import check_writable
from scangan.evaluation.file_names import FIELDS, RESULT, WRITTEN


@contextlib.contextmanager
def evaluation_folder(
    out: Path, kind: str, *inputs: str | Path | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Make the folder before the long work inside this context; if that fails, leave none behind.

    Parameters
    ----------
    out : Path
        The folder. It may hold an evaluation of the same kind, whole or not, which is replaced.
    kind : str
        Which evaluation will write to it, out of `FIELDS`.
    *inputs : str or Path
        What the evaluation reads: folders of scans, datasets, model files.
    say : callable
        Takes one line, which says that an earlier evaluation is replaced.

    Raises
    ------
    EvaluationError
        The folder holds other things, or another kind of evaluation, or is inside one of the inputs.
    """
    for path in (Path(path) for path in inputs if path):
        scans = path.is_dir() and not is_dataset(path)
        if scans and out.resolve().is_relative_to(path.resolve()):
            raise EvaluationError(
                f"{out} is inside {path}, and would be read as part of it; choose another --out"
            )
    refuse_inside_scans(out)
    new = not out.exists()
    if not new and out.is_dir():
        names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
        others, found = names - WRITTEN, _kind_of(out / RESULT)
        if others and not found:
            raise EvaluationError(
                f"{out} is not empty and holds no evaluation (it has {min(others)}); choose another --out"
            )
        if found not in ("", kind):
            raise EvaluationError(
                f"{out} holds the result of eval-scans {found}; choose another --out"
            )
        if found:
            say(f"{out} holds an earlier result, which will be replaced")
    before = set() if new else {path.name for path in out.iterdir()}
    out.mkdir(parents=True, exist_ok=True)
    try:
        check_writable(out)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if not ({RESULT, SUSPECTS} & before or (out / RESULT).exists()):
                (out / SUSPECTS).unlink(missing_ok=True)  # half a list would look complete
            if new:
                out.rmdir()  # fails if something is in it
        raise


def _kind_of(result: Path) -> str:
    """Tell which evaluation wrote a result; empty for none, or one that cannot be read.

    Raises
    ------
    EvaluationError
        Something else wrote it.
    """
    try:
        told = json.loads(result.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(told, dict):
        return ""
    for kind, field in FIELDS.items():
        if field in told:
            return kind
    raise EvaluationError(f"{result} is not a result of eval-scans; choose another --out")
