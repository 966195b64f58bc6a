"""Format a model card as a table for the terminal."""

from collections.abc import Iterator
from typing import Any

from scangan.artifacts.card import ALL, has_controls
from scangan.artifacts.modelfile import ModelFile
from scangan.core.counted import counted
from scangan.core.errors import GenerationError

# Figures of an evaluation: key, name, scale and unit.
SHOWN = (
    ("kid", "KID x1000", 1000, ""),
    ("recall", "recall", 100, "%"),
    ("two_sample", "told from real", 100, "%"),
)


def card_table(file: ModelFile) -> str:
    """Lay out the card of a model file, one ``name  value`` line per fact.

    Raises
    ------
    GenerationError
        A value of the card has the wrong type.
    """
    rows = card_rows(file)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def card_rows(file: ModelFile) -> list[tuple[str, str]]:
    """Return the facts of a card, each with its name.

    Raises
    ------
    GenerationError
        A value of the card has the wrong type.
    """
    try:
        return [(_one_line(name), _one_line(value)) for name, value in _rows(file)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GenerationError(f"{file.path}: the card is damaged: {error}") from error


def _one_line(text: str) -> str:
    """Escape control characters: a card from a stranger must not control the terminal."""
    return "".join(ascii(c)[1:-1] if has_controls(c) else c for c in text)


def _of_dataset(scans: int, synthetic: object) -> str:
    """Say how many scans of a class the dataset had, and how many of them were synthetic."""
    if synthetic:
        return f"{counted(scans, 'scan')}, {synthetic} of them synthetic"
    return counted(scans, "real scan")


def _rows(file: ModelFile) -> list[tuple[str, str]]:
    card = file.card
    scores = card.scores
    rows: list[tuple[str, str]] = [
        ("file", f"{file.path} ({len(file.data) / 1e6:.1f} MB)"),
        ("sha256", file.sha256),
        ("architecture", f"{card.architecture}, latent {card.latent}, {card.precision}"),
        ("scans", f"{card.size}x{card.size}, {card.bit_depth} bits"),
    ]
    told = card.recipe.get("synthetic_scans")
    synthetic = told if isinstance(told, dict) else {}
    for number, name in enumerate(card.classes):
        given = card.dataset_counts.get(name)
        agreement = scores.get("agreement", {}).get(name)
        variety = scores.get("variety", {}).get(name)
        facts = [_of_dataset(given, synthetic.get(name, 0))] if given is not None else []
        facts += [f"class agreement {agreement:.0%}"] if agreement is not None else []
        facts += [f"variety {variety:.2f} of real"] if variety is not None else []
        rows.append((f"class {number}", f"{name} ({', '.join(facts)})"))
    if not card.classes and ALL in card.dataset_counts:
        scans = _of_dataset(card.dataset_counts[ALL], synthetic.get(ALL, 0))
        rows.append(("dataset, with what was held back", scans))
    if scores.get("kid") is not None:
        real = scores.get("real_kid") or 0.0
        rows.append(
            (
                "KID x1000",
                f"{scores['kid'] * 1000:.1f} over all classes, on {counted(scores['n'], 'scan')} (real scans: "
                f"{real * 1000:.1f}){_inside(scores)}",
            )
        )
    if scores.get("mean_agreement") is not None:
        probe = scores.get("probe_accuracy") or 0.0
        text = f"{scores['mean_agreement']:.0%} (probe on real scans: {probe:.0%})"
        rows.append(("class agreement", text))
    return [
        *rows,
        *_judged(card.judged),
        ("parity", f"at most {card.parity} of 255 grey levels from the trained generator"),
        ("preprocessing", ", ".join(f"{k} {v}" for k, v in card.preprocessing.items())),
        ("trained with", _trained(card.recipe)),
        ("kept at", f"{card.recipe.get('kept_kimg', '?')} kimg ({card.recipe.get('kept', '?')})"),
        ("licence", card.license or "not stated; ask the person who trained it"),
        ("citation", card.citation or "not stated"),
        ("made with", ", ".join(f"{k} {v}" for k, v in card.versions.items())),
        ("date", card.date),
    ]


def _inside(scores: dict[str, Any]) -> str:
    inside = scores.get("mean_class_kid")
    return "" if inside is None else f"; inside classes {inside * 1000:.1f}"


def _judged(judged: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the figures of an independent evaluation, a row for each feature space."""
    for space, figures in judged.get("spaces", {}).items():
        shown = [
            f"{name} {scale * found['value']:z.0f}{unit}{_of_real(found['real'], scale, unit)}"
            for key, name, scale, unit in SHOWN
            if (found := figures.get(key))
        ]
        yield f"in {space}", ", ".join(shown)


def _of_real(value: float | None, scale: float, unit: str) -> str:
    return "" if value is None else f" (real scans: {scale * value:z.0f}{unit})"


def _trained(recipe: dict[str, Any]) -> str:
    options = recipe.get("options", {})
    name = [f"recipe {recipe['name']}"] if "name" in recipe else []
    shown = [f"{k} {options[k]}" for k in ("kimg", "batch", "width", "seed") if k in options]
    start = recipe.get("started_from")
    before = []
    while start:
        which = start.get("name", "another run")
        before.append(f"started from {which} ({start['scans']:,} scans, {start['kimg']:g} kimg)")
        start = start.get("started_from")
    return ", ".join(name + shown + before)
