"""The kinds of faults: which calls they strike, what they do, and how many are tried."""

import dataclasses

HOUR, YEAR = 3600, 31_557_600
JUMPS = (3 * HOUR, -3 * HOUR, 20 * YEAR, -20 * YEAR, -70 * YEAR)  # the last to before 1970
PAUSE = 1500  # ms: time for another command to come in between


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Parameters
    ----------
    title : str
        What it stands for.
    shim : str
        What the shim calls it.
    ops : str
        The calls that it may strike, letters of ``shim.c``.
    where : tuple of str
        Folders that these calls must lie in.
    points : int
        How many are tried of each command.
    drawn : bool
        Points are drawn by the seed; else they are spread evenly.
    spoils : bool
        It changes an input.
    """

    title: str
    shim: str
    ops: str
    where: tuple[str, ...]
    points: int
    drawn: bool = False
    spoils: bool = False


BOTH, IN, OUT = ("in", "out"), ("in",), ("out",)
KINDS = [
    Kind("disk full", "full", "cwds", OUT, 20),
    Kind("EIO on read", "sector", "r", BOTH, 20),
    Kind("EIO on write", "eio", "wsx", OUT, 20),
    Kind("input changes", "change", "orp", IN, 10, spoils=True),
    Kind("input is cut short", "cut", "orp", IN, 10, spoils=True),
    Kind("input vanishes", "vanish", "or", IN, 10, spoils=True),
    Kind("SIGKILL", "kill", "ocerwsmudt", BOTH, 20, drawn=True),
    Kind("SIGTERM", "term", "ocerwsmudt", BOTH, 10, drawn=True),
    Kind("clock jumps", "clock", "ocerwsmudt", BOTH, 10),
    Kind("two at once", "pause", "ocewsmud", OUT, 6),
    Kind("read-only output", "readonly", "cewsmudt", OUT, 3),
    Kind("no /tmp", "absent", "oced", ("/tmp", "/var/tmp", "/usr/tmp", "/dev/shm"), 1),
]


def choose(count, points, rng):
    """Give numbers of calls, from 1 to `count`: drawn by `rng`, or spread from the first to the last."""
    points = min(points, count)
    if rng is not None:
        return sorted(rng.sample(range(1, count + 1), points))
    if points == 1:
        return [(count + 1) // 2]
    return [1 + round(k * (count - 1) / (points - 1)) for k in range(points)]
