"""Refuse options that are out of their range."""

from scangan.core.errors import USAGE, EvaluationError

LARGEST_SEED = 2**32 - 1


def check_range(name: str, value: int | None, low: int, high: int | None = None) -> None:
    """Refuse a value outside of `low` to `high`; None is the default, whatever that is.

    Raises
    ------
    EvaluationError
        It is out of range; the message names the option as `name`.
    """
    if value is None or (value >= low and (high is None or value <= high)):
        return
    takes = f"{low} or more" if high is None else f"{low} to {high}"
    raise EvaluationError(f"{name} {value} is out of range; it takes {takes}", exit_code=USAGE)
