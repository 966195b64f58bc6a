"""Find out what is installed, what works, and which models are bundled."""

import importlib.metadata
import platform
from pathlib import Path

from scangan.artifacts.modelfile import read_model_file
from scangan.core.devices import available, why_not
from scangan.core.errors import GenerationError
from scangan.core.threads import usable_cpus
from scangan.runtime.catalog import BUNDLED

ABSENT = "not installed"
PACKAGES = ("scangan", "onnxruntime", "onnxruntime-gpu", "numpy", "deflate", "pydicom")


def doctor() -> list[tuple[str, str]]:
    """Return (name, value) rows: versions, devices that ran a one-node model, bundled models."""
    facts = [
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("threads", f"{usable_cpus()} allowed"),
    ]
    facts += [(name, _version(name)) for name in PACKAGES]
    if _version("onnxruntime") != ABSENT and _version("onnxruntime-gpu") != ABSENT:
        facts.append(
            (
                "conflict",
                "onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, then install one",
            )
        )
    try:
        providers = available()
    except GenerationError as error:
        return [*facts, ("providers", str(error))]
    for provider in providers:
        reason = why_not(provider)
        name = provider.removesuffix("ExecutionProvider").lower()
        facts.append((f"device {name}", f"does not work: {reason}" if reason else "works"))
    for path in sorted(BUNDLED.glob("*.onnx")):
        facts.append((f"model {path.stem}", _model(path)))
    return facts


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def _model(path: Path) -> str:
    try:
        card = read_model_file(path).card
    except GenerationError as error:
        return str(error)
    classes = f", classes: {', '.join(card.classes)}" if card.classes else ""
    return f"{card.architecture} {card.size}x{card.size} {card.precision}{classes}"
