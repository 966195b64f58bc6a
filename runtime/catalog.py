"""Which file a model's name stands for."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from scangan.artifacts.modelfile import ModelFile, read_model_file
from scangan.core.devices import CPU, Device
from scangan.core.errors import GenerationError

BUNDLED = Path(__file__).parent / "models"
DEFAULT_MODEL = "brain-mri-64"
PRECISIONS = ("fp32", "fp16", "int8")


def bundled_models() -> list[str]:
    """Names of the models that come with scangan."""
    return sorted({_base(path).stem for path in BUNDLED.glob("*.onnx")})


def open_model(
    model: str | Path,
    device: Device,
    precision: str = "auto",
    *,
    allow_modified: bool = False,
) -> ModelFile:
    """Read a model file: the path of one, or the name of a bundled model.

    Files of one model in several precisions lie beside each other: ``a.onnx``, ``a-fp16.onnx``,
    ``a-int8.onnx``. Of a bundled model, ``auto`` takes int8 on the CPU and fp16 elsewhere; a path
    stands for its own file.

    Raises
    ------
    GenerationError
        There is no such model or no file of that precision, or the file cannot be used.
    """
    path = Path(model)
    bundled = str(model) in bundled_models()  # a file of that name is given as ./NAME
    if bundled:
        path = BUNDLED / f"{model}.onnx"
        if precision == "auto":
            fastest = _named(path, "int8" if device.provider == CPU else "fp16")
            path = fastest if fastest.is_file() else path
    elif not path.exists():
        known = ", ".join(bundled_models())
        raise GenerationError(f"{model}: no such model file; bundled models: {known}")
    file = read_model_file(path, allow_modified=allow_modified)
    if precision in ("auto", file.card.precision):
        return file
    found = _in_precision(file, precision, allow_modified=allow_modified)
    if found is None:
        missing = _named(_base(path), precision)
        raise GenerationError(
            f"{path} is {file.card.precision}, and no {missing.name} of the same run lies beside it; "
            f"make it: export-onnx RUN -o {shlex.quote(str(missing))} --precision {precision}"
        )
    return found


def _in_precision(file: ModelFile, precision: str, *, allow_modified: bool) -> ModelFile | None:
    for path in _siblings(file.path, precision):
        other = read_model_file(path, allow_modified=allow_modified)
        if other.card.precision == precision and _same_run(file, other):
            return other
    return None


def _siblings(path: Path, precision: str) -> Iterator[Path]:
    base = _base(path)
    for candidate in (_named(base, precision), base):
        if candidate.is_file():
            yield candidate


def _named(base: Path, precision: str) -> Path:
    return base.with_name(f"{base.stem}-{precision}.onnx")


def _base(path: Path) -> Path:
    """``a.onnx`` of ``a-int8.onnx``."""
    for precision in PRECISIONS:
        if path.stem.endswith(f"-{precision}"):
            return path.with_name(path.stem.removesuffix(f"-{precision}") + path.suffix)
    return path


def _same_run(one: ModelFile, other: ModelFile) -> bool:
    facts = [
        (c.classes, c.size, c.latent, c.dataset_fingerprint, c.date, c.recipe.get("kept_kimg"))
        for c in (one.card, other.card)
    ]
    return facts[0] == facts[1]
