"""Leave out the scans that ``eval-scans privacy`` called suspects."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from msgspec import UNSET

from scangan.artifacts.latents import Draw
from scangan.artifacts.modelfile import ModelFile
from scangan.artifacts.request import Request
from scangan.artifacts.scan_folder import ScanRecord
from scangan.artifacts.suspects import read_suspects
from scangan.core.counted import counted
from scangan.core.errors import GenerationError
from scangan.core.printable import printable, quoted

Suspects = dict[int | None, frozenset[int]]  # indices by class number
Options = tuple[int, float, bool]  # seed, truncation, paired
EVALUATE = "run eval-scans privacy on the scans that you want"


def without_suspects(
    request: Request,
    model: ModelFile,
    file: str | Path,
    say: Callable[[str], None] = lambda line: None,
) -> Request:
    """Return a request without the suspects in a file; the other scans keep their indices and bytes.

    No other scans take the place of suspects: nobody has looked at those.

    Parameters
    ----------
    request : Request
        What to make.
    model : ModelFile
        The model, ``ScanGenerator.file``.
    file : path
        The ``suspects.jsonl`` that ``eval-scans privacy`` wrote.
    say : callable
        Called with a line of text that says how many scans are left out.

    Raises
    ------
    GenerationError
        The file is not a list of suspects, it is only about scans of another model, seed, truncation or
        pairing, or no scan of a class would be left.
    """
    suspects = suspect_indices(file, model, request.draw)
    spans = tuple(
        span if span.number not in suspects else span.without(suspects[span.number])
        for span in request.spans
    )
    for span in spans:
        if not span.kept:
            of = "" if span.number is None else f" of {model.card.classes[span.number]}"
            choose = ", or choose other classes with --class" if len(spans) > 1 else ""
            raise GenerationError(
                f"all {counted(span.count, 'scan')}{of} in this request are suspects in {file}; ask for "
                f"more scans{choose}"
            )
    out = sum(index in span.indices for span in spans for index in suspects.get(span.number, ()))
    total = sum(map(len, suspects.values()))
    others = f" ({total - out} more are not in this request)" if total > out else ""
    say(f"{counted(out, 'suspect')} left out{others}: {file}")
    return dataclasses.replace(request, spans=spans)


def suspect_indices(file: str | Path, model: ModelFile, draw: Draw) -> Suspects:
    """Return the indices of suspects by class number, for scans that are drawn in one way.

    Lines about other scans are skipped: a folder may hold scans of several seeds.

    Raises
    ------
    GenerationError
        The file is not a list of suspects, or all of its lines are about other scans.
    """
    file = Path(file)
    suspects = read_suspects(file)
    wanted = draw.seed, draw.truncation, draw.paired
    found: dict[int | None, set[int]] = {}
    others: list[ScanRecord | None] = []
    for each in suspects:
        origin = each.origin
        if origin is None or origin.model != model.sha256 or _options(origin) != wanted:
            others.append(origin)
        else:
            found.setdefault(_number(origin, model, file), set()).add(origin.index)
    if others and not found:
        raise GenerationError(_why_other(file, others, model, wanted))
    return {number: frozenset(indices) for number, indices in found.items()}


def _options(origin: ScanRecord) -> Options:
    truncation = 1.0 if origin.truncation is UNSET else origin.truncation
    return origin.seed, truncation, origin.paired is True


def _number(origin: ScanRecord, model: ModelFile, file: Path) -> int | None:
    name, classes = origin.class_name, model.card.classes
    if name is None and not classes:
        return None
    if name not in classes:
        raise GenerationError(
            f"{file} is damaged: {model.path} has no class {quoted(name)}; {EVALUATE} again"
        )
    return classes.index(name)


def _why_other(
    file: Path, others: list[ScanRecord | None], model: ModelFile, wanted: Options
) -> str:
    """Say why no line of the file is about scans of this model that are drawn in this way."""
    known = [origin for origin in others if origin is not None]
    if not known:
        return (
            f"{file} does not say which model and seed made its scans; give eval-scans privacy the "
            f"model, or the folder that gen-scans wrote"
        )
    same = [origin for origin in known if origin.model == model.sha256]
    if not same:
        return (
            f"{file} is about scans of another model file (sha256 {printable(known[0].model[:12])}), not of "
            f"{model.path.name} (sha256 {model.sha256[:12]}); choose that one with --model or "
            f"--precision, or {EVALUATE}"
        )
    pairs = zip(_typed(_options(same[0])), _typed(wanted), strict=True)
    theirs, ours = zip(*((a, b) for a, b in pairs if a != b), strict=True)
    made, asked = " and ".join(theirs), " and ".join(ours)
    return (
        f"{file} is about scans made with {made}, and this request has {asked}; use the same, or "
        f"{EVALUATE}"
    )


def _typed(options: Options) -> tuple[str, str, str]:
    """Write options as a user types them."""
    seed, truncation, paired = options
    return f"--seed {seed}", f"--truncation {truncation}", "--paired" if paired else "no --paired"
