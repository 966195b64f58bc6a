"""Write a report: a page, the same for a paper, its plots, and its figures as JSON."""

import dataclasses
import json
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

from msgspec.structs import replace

from scangan.artifacts.card import ModelCard
from scangan.artifacts.modelfile import ModelFile
from scangan.artifacts.records import Record, write_record, write_records
from scangan.artifacts.suspects import SUSPECTS
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.core.files import write_bytes
from scangan.evaluation.cache import Cache
from scangan.evaluation.file_names import HTML, MARKDOWN, PICTURE, PLOTS, RESULT
from scangan.evaluation.judgement import NO_TRAIN, Judgement
from scangan.evaluation.report import privacy_sections, quality_sections, utility_sections
from scangan.evaluation.report.blocks import Plot, Section, Table, Verbatim
from scangan.evaluation.report.feature_maps import feature_maps
from scangan.evaluation.report.pictures import pairs, real_beside_synthetic
from scangan.evaluation.report.render import TEMPLATES, rendered
from scangan.evaluation.scan_set import ScanSet, SetInfo

SHOWS_PATIENTS = (
    "This report shows scans of real patients. Treat it as you treat the scans. "
    "A report made with --no-real-images shows none."
)
SHOWS_NONE = "This report shows no real scan. All pictures are synthetic."
LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "onnxruntime",
    "opencv-python-headless",
    "torch",
    "keras",
)
NOT_EVALUATED = "Not evaluated: {}."


@dataclasses.dataclass(frozen=True)
class Provenance:
    """How a report came about.

    Parameters
    ----------
    command : str
        The command line; empty from Python.
    model : ModelFile, optional
        The model that made the synthetic scans.
    date : str
        When, ISO 8601.
    """

    command: str = ""
    model: ModelFile | None = None
    date: str = ""


class ReportResult(Record, frozen=True, kw_only=True):
    """``result.json`` of a report: everything that it shows in numbers.

    Parameters
    ----------
    verdict : dict
        A short answer to each question.
    judgement : Judgement
        What the evaluations found.
    command, date : str
        See `Provenance`.
    versions : dict
        Versions of Python and of the libraries.
    """

    verdict: dict[str, str]
    judgement: Judgement
    command: str
    date: str
    versions: dict[str, str]


def check_folder(out: Path, *, real_images: bool) -> None:
    """Refuse to write a report without real scans to a folder where an evaluation left some.

    Raises
    ------
    EvaluationError
        There are some.
    """
    if not real_images and (out / PICTURE).exists():
        raise EvaluationError(
            f"{out / PICTURE} shows real scans; write the report to another folder with --out"
        )


def write_report(
    out: str | Path,
    judgement: Judgement,
    real: ScanSet,
    synthetic: ScanSet,
    train: ScanSet | None = None,
    *,
    provenance: Provenance | None = None,
    real_images: bool = True,
    cache: Path | None = None,
) -> ReportResult:
    """Write the report of a judgement to a folder.

    Parameters
    ----------
    out : path
        The folder.
    judgement : Judgement
        What `judge_all` found for these sets. Without real images, judge `anonymous` sets: the
        report names what the judgement names.
    real, synthetic, train : ScanSet
        The sets.
    provenance : Provenance, optional
        How the report came about.
    real_images : bool
        Whether to show real scans, and pairs of synthetic and training scans.
    cache : Path, optional
        Folder of features that were computed before; by default the user's cache folder.
    """
    out, provenance = Path(out), provenance or Provenance()
    check_folder(out, real_images=real_images)
    maps = feature_maps(judgement.quality, real, synthetic, Cache(cache))
    judgement = replace(judgement, quality=judgement.quality.without_folders())
    result = ReportResult(
        verdict=verdict(judgement),
        judgement=judgement,
        command=provenance.command,
        date=provenance.date,
        versions=dict(_versions()),
    )
    sections = list(_sections(result, real, synthetic, train, provenance, real_images, maps))
    plots = [block for each in sections for block in each.blocks if isinstance(block, Plot)]
    told = {
        "title": f"Evaluation of {judgement.quality.synthetic.name}",
        "banner": SHOWS_PATIENTS if real_images else SHOWS_NONE,
        "shows_patients": real_images,
        "verdict": result.verdict,
        "sections": sections,
        "result": result,
        "plots": PLOTS,
    }
    (out / PLOTS).mkdir(parents=True, exist_ok=True)
    _remove_older(out)
    for plot in plots:
        write_bytes(out / PLOTS / f"{plot.name}.svg", plot.svg.encode())
    for name in (HTML, MARKDOWN):
        # A file name may not be valid UTF-8.
        write_bytes(out / name, rendered(f"{name}.jinja", told).encode(errors="backslashreplace"))
    if judgement.privacy:
        write_records(out / SUSPECTS, judgement.privacy.suspects)
    write_record(out / RESULT, result)
    return result


def _remove_older(out: Path) -> None:
    """Remove an older report: it may have other plots, and suspects with the names of real files."""
    try:
        privacy = json.loads((out / RESULT).read_bytes())["judgement"]["privacy"]
        text = (out / MARKDOWN).read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError):  # none, or that of another evaluation
        return
    drawn = {PurePath(name).name for name in re.findall(rf"\]\({PLOTS}/(.*?)\)", text)}
    files = [out / RESULT, out / HTML, out / MARKDOWN, *(out / PLOTS / name for name in drawn)]
    if privacy:
        files.append(out / SUSPECTS)
    for file in files:
        file.unlink(missing_ok=True)


def verdict(judgement: Judgement) -> dict[str, str]:
    """Answer each question in a few short sentences."""
    use, secrecy = judgement.utility, judgement.privacy
    return {
        "Quality": quality_sections.verdict(judgement.quality),
        "Utility": utility_sections.verdict(use)
        if use
        else NOT_EVALUATED.format(judgement.why_no_utility),
        "Privacy": privacy_sections.verdict(secrecy) if secrecy else NOT_EVALUATED.format(NO_TRAIN),
    }


def _sections(
    result: ReportResult,
    real: ScanSet,
    synthetic: ScanSet,
    train: ScanSet | None,
    provenance: Provenance,
    real_images: bool,
    maps: Mapping[str, Plot],
) -> Iterator[Section]:
    found = result.judgement
    yield _sets(found)
    suspects = (
        frozenset(pair.index for pair in found.privacy.suspects) if found.privacy else frozenset()
    )
    hidden = frozenset() if real_images else suspects
    shown = real_beside_synthetic(real, synthetic, hidden, show_real=real_images)
    text = "Drawn at random, not chosen."
    if hidden:
        text += " Suspects are left out, as they may show a patient."
    if not real_images and not found.privacy:
        text += " They were not checked for copies of training scans; to check, give --train."
    yield Section(
        "Real beside synthetic scans" if real_images else "Synthetic scans", (text,), tuple(shown)
    )
    yield from quality_sections.quality_sections(found.quality, maps)
    if found.utility:
        yield from utility_sections.utility_sections(found.utility)
    if found.privacy:
        two = pairs(found.privacy, train, synthetic) if real_images and train else ()
        yield from privacy_sections.privacy_sections(found.privacy, two)
    if provenance.model:
        yield _card(provenance.model.card, provenance.model.sha256)
    yield Section("How to read the figures", (), (quality_sections.reading(),))
    yield _made(result)
    bibtex = (TEMPLATES / "references.bib").read_text(encoding="utf-8")
    yield Section("References", (), (Verbatim("BibTeX", bibtex),))


def _sets(found: Judgement) -> Section:
    sets: list[tuple[str, SetInfo]] = [
        ("real", found.quality.real),
        ("synthetic", found.quality.synthetic),
    ]
    if found.privacy:
        sets.append(("trained on", found.privacy.train))
    if found.utility:
        sets.append(("to test classifiers", found.utility.test))
    rows = tuple(
        (
            role,
            info.name,
            str(info.scans),
            ", ".join(f"{count} {name}" for name, count in info.counts.items()),
            str(info.size),
            info.sha256[:12],
        )
        for role, info in sets
    )
    columns = ("", "name", "scans", "of each class", "pixels", "SHA-256")
    parts = (found.quality, found.utility, found.privacy)
    notes = dict.fromkeys(note for part in parts if part for note in part.notes)
    names = tuple(info.name for _, info in sets)
    text = tuple(_sentence(note, names) for note in notes)
    return Section("Scans", text, (Table("What was compared", columns, rows),))


def _sentence(note: str, names: tuple[str, ...]) -> str:
    """Make a sentence of a note; one that begins with the name of a set keeps it as it is."""
    first = note[:1] if note.startswith(names) else note[:1].upper()
    return f"{first}{note[1:]}{'' if note.endswith('?') else '.'}"


def _dataset(card: ModelCard) -> str:
    counts, told = card.dataset_counts, card.recipe.get("synthetic_scans")
    made = sum(told.values()) if isinstance(told, dict) else 0
    synthetic = f" ({made} of them synthetic)" if made else ""
    if not card.classes:  # cards of earlier versions name the folder of the scans here
        return counted(sum(counts.values()), "scan") + synthetic if counts else ""
    return ", ".join(f"{n} {name}" for name, n in counts.items()) + synthetic


def _card(card: ModelCard, sha256: str) -> Section:
    recipe = card.recipe.get("name")
    rows = (
        ("architecture", f"{card.architecture}, {card.size} x {card.size} pixels"),
        ("classes", ", ".join(card.classes)),
        ("dataset, with what was held back", _dataset(card)),
        ("recipe", str(recipe or "")),
        ("precision", card.precision),
        ("training began", card.date),
        ("licence of the training scans", card.license),
        ("citation of the training scans", card.citation),
        ("SHA-256 of the file", sha256),
    )
    return Section("Model card", (), (Table("", ("", ""), tuple(row for row in rows if row[1])),))


def _made(result: ReportResult) -> Section:
    command = (Verbatim("Command", result.command),) if result.command else ()
    rows = tuple(result.versions.items())
    return Section("How it was made", (), (*command, Table("Versions", ("", ""), rows)))


def _versions() -> Iterator[tuple[str, str]]:
    yield "scangan", version("scangan")
    yield "Python", platform.python_version()
    yield "system", f"{platform.system()} {platform.machine()}"
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
