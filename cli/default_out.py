"""Default output names, which say what is in the file or folder."""

from collections.abc import Sequence
from pathlib import Path

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import Request
from scangan.artifacts.scan_folder import folder_names


def scans_folder(
    model: str,
    classes: tuple[str, ...],
    request: Request,
    *,
    chosen: bool,
    precision: str,
    topped_up: str | None,
    shard_size: int | None,
) -> Path:
    """Name a folder after a request, so that two requests of one model never share a folder.

    Parameters
    ----------
    model : str
        The model as the user typed it.
    classes : tuple of str
        All classes of the model.
    request : Request
        What to make.
    chosen : bool
        Whether the user chose classes.
    precision : str
        The precision as the user typed it.
    topped_up : str, optional
        If the request tops classes up: the dataset's name and the target.
    shard_size : int, optional
        The shard size, if the user typed it.
    """
    parts = [Path(model).stem]
    if chosen:
        folders = folder_names(classes)
        names = "+".join(folders[s.number] for s in request.spans if s.number is not None)
        numbers = "+".join(str(s.number) for s in request.spans)
        parts.append(names if len(names.encode()) < 120 else f"classes{numbers[:60]}")
    parts.append(f"seed{request.draw.seed}")
    parts.append(f"balance-{topped_up}" if topped_up else f"n{request.spans[0].count}")
    parts += _drawn(request.draw, request.spans[0].start, precision)
    left_out = sum(len(span.left_out) for span in request.spans)
    parts += [f"without{left_out}"] if left_out else []
    parts += [request.format] if request.format != "png" else []
    parts += [f"by{shard_size}"] if shard_size is not None else []
    return Path("-".join(parts))


def strip_file(
    model: str,
    classes: tuple[str, ...],
    ends: tuple[int, int] | tuple[str, str],
    chosen: Sequence[int | None],
    draw: Draw,
    *,
    start: int,
    precision: str,
    steps: int | None,
) -> Path:
    """Name a picture after a strip; `chosen` are the classes that the user chose."""
    folders = folder_names(classes)
    names = dict(zip(classes, folders, strict=True))
    a, b = (names.get(str(end), str(end)) for end in ends)
    parts = [Path(model).stem, f"strip-{a}-{b}"]
    if chosen:
        parts.append("+".join(folders[n] for n in chosen if n is not None))
    parts += [f"seed{draw.seed}", *_drawn(draw, start, precision)]
    parts += [f"n{steps}"] if steps is not None else []
    return Path("-".join(parts) + ".png")


def _drawn(draw: Draw, start: int, precision: str) -> list[str]:
    """Describe the drawing options and the precision that are not the defaults."""
    parts = [f"from{start}"] if start else []
    parts += [f"psi{draw.truncation:g}"] if draw.truncation != 1.0 else []
    parts += ["paired"] if draw.paired else []
    return parts + ([precision] if precision != "auto" else [])
