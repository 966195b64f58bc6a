"""Generated scans on disk: ``CLASS/000000123.png``, ``manifest.jsonl``, ``request.json``, ``sheet.png``."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.runtime.errors import USAGE, GenerationError
from scangan.runtime.files import only_writer, write_bytes, write_json, write_jsonl
from scangan.runtime.generator import LARGEST_INDEX, ScanGenerator, check_seed
from scangan.runtime.png import encode_png
from scangan.runtime.sheet import NOTICE, contact_sheet

FORMAT_VERSION = 1
ON_SHEET = 8  # scans of a class


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for; written beside the scans as ``request.json``.

    Parameters
    ----------
    classes : tuple of int
        Class numbers; empty for an unconditional model.
    count : int
        Scans of each class, from 1.
    seed : int
        0 to 2^64 - 1.
    """

    classes: tuple[int, ...]
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= LARGEST_INDEX:
            raise GenerationError(
                f"--count {self.count} is out of range; it takes 1 or more", exit_code=USAGE
            )
        check_seed(self.seed)


def write_scans(
    generator: ScanGenerator,
    request: Request,
    out: Path,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the scans of a request; one that was stopped goes on where it was.

    Parameters
    ----------
    generator : ScanGenerator
        Opened model.
    request : Request
        What to make.
    out : Path
        Folder to write to: absent, empty, or of the same request.
    advance : callable
        Told after every batch how many scans were finished.

    Returns
    -------
    int
        Number of scans in `out`.

    Raises
    ------
    GenerationError
        `out` holds something else.
    OSError
        `out` cannot be written, or the disk is full.
    """
    with only_writer(out / ".lock"):
        _claim(out, generator, request)
        numbers: tuple[int | None, ...] = request.classes or (None,)
        for number in numbers:
            _write_class(generator, request, number, out, advance)
        write_jsonl(out / "manifest.jsonl", _manifest(generator, request, numbers))
        sheet = make_sheet(generator, request.classes, min(request.count, ON_SHEET), request.seed)
        write_bytes(out / "sheet.png", encode_png(sheet, {"Comment": NOTICE}))
    return request.count * len(numbers)


def _write_class(
    generator: ScanGenerator,
    request: Request,
    number: int | None,
    out: Path,
    advance: Callable[[int], None],
) -> None:
    folder = out / folder_name(generator, number)
    folder.mkdir(exist_ok=True)
    with os.scandir(folder) as entries:
        # A power cut may leave an empty file under a whole one's name.
        present = {entry.name for entry in entries if entry.stat().st_size}
    missing = _gaps(request.count, present)
    advance(request.count - sum(map(len, missing)))
    for indices in missing:
        index = indices.start
        for images in generator.stream(indices, number, request.seed):
            for image in images:
                text = _provenance(generator, request.seed, index, number)
                write_bytes(folder / file_name(index), encode_png(image, text))
                index += 1
            advance(len(images))


def make_sheet(
    generator: ScanGenerator, classes: tuple[int, ...], count: int, seed: int
) -> npt.NDArray[np.uint8]:
    """Lay out the first scans of each class as a contact sheet: uint8 [H, W]."""
    numbers: tuple[int | None, ...] = classes or (None,)
    rows = [(folder_name(generator, n), generator.sample(count, n, seed)) for n in numbers]
    return contact_sheet(rows, f"synthetic scans, seed {seed}")


def folder_name(generator: ScanGenerator, number: int | None) -> str:
    """Folder of a class: its name, with what some file system refuses replaced; ``scan`` without one."""
    if number is None:
        return "scan"
    names = [_safe(name) for name in generator.classes]
    own = names[number]
    # Two names that became one, or one on a file system that minds no capitals, are told apart.
    alone = [name.lower() for name in names].count(own.lower()) == 1
    return own if own and alone else f"{own}_{number}"


def _safe(name: str) -> str:
    return "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name).strip(". ")


def file_name(index: int) -> str:
    """File of a scan in its class's folder."""
    return f"{index:09d}.png"


def _gaps(count: int, present: set[str]) -> list[range]:
    """Ranges of indices below `count` whose file is not among the `present` ones."""
    stems = (Path(name).stem for name in present if name.endswith(".png"))
    indices = {int(stem) for stem in stems if stem.isdecimal()}
    gaps, start = [], 0
    for index in sorted(i for i in indices if i < count and file_name(i) in present):
        if index > start:
            gaps.append(range(start, index))
        start = index + 1
    return [*gaps, range(start, count)] if start < count else gaps


def _claim(out: Path, generator: ScanGenerator, request: Request) -> None:
    """Mark the folder as this request's, or refuse it with the difference."""
    wanted = {
        "format_version": FORMAT_VERSION,
        "model": generator.sha256,
        "classes": list(request.classes),
        "count": request.count,
        "seed": request.seed,
    }
    file = out / "request.json"
    if out.exists() and not out.is_dir():
        raise GenerationError(f"{out} is a file; choose another --out")
    if not file.exists():
        if out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise GenerationError(
                f"{out} is not empty and not from gen-scans; choose another --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, wanted)
        return
    try:
        before: dict[str, Any] = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise GenerationError(f"{file} is damaged; choose another --out") from error
    differing = [
        f"{key} {before.get(key)} -> {value}"
        for key, value in wanted.items()
        if before.get(key) != value
    ]
    if differing:
        raise GenerationError(
            f"{out} holds the scans of another request ({', '.join(differing)}); choose another --out"
        )


def _record(generator: ScanGenerator, seed: int, index: int, number: int | None) -> dict[str, Any]:
    name = None if number is None else generator.classes[number]
    return {
        "synthetic": True,
        "model": generator.sha256,
        "seed": seed,
        "index": index,
        "class": name,
    }


def _provenance(
    generator: ScanGenerator, seed: int, index: int, number: int | None
) -> dict[str, str]:
    """Text chunks of one PNG; JSON in ASCII, whatever the class is called."""
    return {"Comment": NOTICE, "scangan": json.dumps(_record(generator, seed, index, number))}


def _manifest(generator: ScanGenerator, request: Request, numbers: tuple[int | None, ...]) -> Any:
    for number in numbers:
        folder = folder_name(generator, number)
        for index in range(request.count):
            yield {
                "file": f"{folder}/{file_name(index)}",
                **_record(generator, request.seed, index, number),
            }
