"""Interpolate between two scans: a strip of scans along a path of latents."""

import numpy as np
import numpy.typing as npt

from scangan.artifacts.latents import LARGEST_INDEX, Draw
from scangan.core.class_names import normal
from scangan.core.errors import USAGE, GenerationError
from scangan.core.sheet import contact_sheet
from scangan.runtime.generator import ScanGenerator


def slerp(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], steps: int
) -> npt.NDArray[np.float32]:
    """Interpolate spherically (Shoemake 1985; for latents White 2016): float32 [steps, length].

    Latents lie near a sphere. A straight line between two would pass through its inside, where no
    latent is ever drawn.

    Parameters
    ----------
    a, b : ndarray
        float32 [length], the ends.
    steps : int
        Number of points, both ends included.
    """
    t = np.linspace(0.0, 1.0, steps)[:, None]
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosine = np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return np.asarray((1 - t) * x + t * y, np.float32)
    path = (np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle)
    return np.asarray(path, np.float32)


def read_ends(text: str, classes: tuple[str, ...]) -> tuple[int, int] | tuple[str, str]:
    """Read ``A:B``: two indexes, or the names of two classes.

    Raises
    ------
    GenerationError
        `text` is neither, or could be both.
    """
    text = normal(text)
    # A name may have a colon, too.
    ends = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == ":"]
    named = [pair for pair in ends if {*pair} <= {*classes}]
    a, b = named[0] if len(named) == 1 else ends[0] if ends else (text, "")
    numbers = all(end.isdecimal() and len(end) < 20 and int(end) <= LARGEST_INDEX for end in (a, b))
    names = a in classes and b in classes
    if numbers and names:
        raise GenerationError(
            f"{text} could mean indexes or classes; for indexes write 0{a}:0{b}", exit_code=USAGE
        )
    if not (numbers or names):
        raise GenerationError(
            f"{text} is not a strip: give two indexes, like 0:1, or the names of two classes; classes: "
            f"{', '.join(classes) or 'none'}",
            exit_code=USAGE,
        )
    return (int(a), int(b)) if numbers else (a, b)


def strip(
    generator: ScanGenerator,
    ends: tuple[int, int] | tuple[str, str],
    numbers: tuple[int | None, ...],
    draw: Draw,
    steps: int,
    start: int = 0,
) -> npt.NDArray[np.uint8]:
    """Draw a strip with a row per class: uint8 [H, W].

    Between two indexes, each row goes from one scan of a class to another. A scan cannot be between
    two classes: there, both rows follow the same path, from index `start` to the next, so only the
    class differs between them.

    Parameters
    ----------
    generator : ScanGenerator
        The model.
    ends : tuple of int, or of str
        Two indexes or two class names; see `read_ends`.
    numbers : tuple of int or None
        Class numbers for a strip between indexes.
    draw : Draw
        How to draw latents.
    steps : int
        Scans per row, 2 to 64.
    start : int
        Index where the path between classes starts, 0 to 2^63 - 2.

    Raises
    ------
    GenerationError
        `steps` or `start` is out of range.
    """
    if not 2 <= steps <= 64:
        raise GenerationError(f"--steps {steps} is out of range; it takes 2 to 64", exit_code=USAGE)
    if not 0 <= start < LARGEST_INDEX:
        raise GenerationError(
            f"--start {start} is out of range; it takes 0 to 2^63 - 2", exit_code=USAGE
        )
    a, b = ends
    if isinstance(a, int) and isinstance(b, int):
        title = f"synthetic scans, seed {draw.seed}, from index {a} to {b}"
        first, last, paired = a, b, draw
    else:
        numbers = tuple(generator.classes.index(str(name)) for name in (a, b))
        title = f"synthetic scans, seed {draw.seed}: {a} and {b} from the same latents"
        first, last, paired = start, start + 1, Draw(draw.seed, draw.truncation, paired=True)
    rows = []
    for number in numbers:
        z = paired.latents(number or 0, np.array([first, last]), generator.card.latent)
        images = generator.from_latents(slerp(z[0], z[1], steps), number)
        rows.append(("" if number is None else generator.classes[number], images))
    return contact_sheet(rows, title)
