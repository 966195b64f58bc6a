"""Find the file of a model by its path or name."""

from collections.abc import Iterator
from pathlib import Path

from scangan.artifacts.card import PRECISIONS
from scangan.artifacts.modelfile import ModelFile, read_model_file
from scangan.core.address import is_address
from scangan.core.devices import CPU, Device
from scangan.core.errors import USAGE, GenerationError
from scangan.core.printable import to_type

BUNDLED = Path(__file__).parent / "models"


def bundled_models() -> list[str]:
    """Return the names of the models that come with scangan."""
    return sorted({_base(path).stem for path in BUNDLED.glob("*.onnx")})


def open_model(
    model: str | Path, device: Device, precision: str = "auto", *, allow_modified: bool = False
) -> ModelFile:
    """Read a model file, given its path or the name of a bundled model.

    The files of one model in several precisions sit side by side: ``a.onnx``, ``a-fp16.onnx``,
    ``a-int8.onnx``.

    Parameters
    ----------
    model : str or Path
        Path of a model file, or the name of a bundled model.
    device : Device
        Where the model will run.
    precision : {"auto", "fp32", "fp16", "int8"}
        Which file to use. For a bundled model, ``auto`` takes int8 on the CPU and fp16 elsewhere, or
        another if there is no such file; for a path it takes that file.
    allow_modified : bool
        Accept a graph that was changed after its export.

    Raises
    ------
    GenerationError
        The model or the file of that precision does not exist, or the file cannot be used.
    """
    if not str(model):
        raise GenerationError("the name of the model is empty; give a model file", exit_code=USAGE)
    path = Path(model)
    bundled = str(model) in bundled_models()  # write ./NAME for a file with the same name
    if bundled:
        base = BUNDLED / f"{model}.onnx"
        fastest = _named(base, "int8" if device.provider == CPU else "fp16")
        files = [base, *(_named(base, each) for each in PRECISIONS)]
        if precision == "auto":
            files.insert(0, fastest)
        path = next(file for file in files if file.is_file())
    elif is_address(str(model)):
        raise GenerationError("a model file is read from a disk; copy it there, and give its path")
    elif not path.exists():
        known = ", ".join(bundled_models())
        raise GenerationError(f"{model}: no such model file; bundled models: {known}")
    file = read_model_file(path, allow_modified=allow_modified)
    if precision in ("auto", file.card.precision):
        return file
    found = _in_precision(file, precision, allow_modified=allow_modified)
    if found is None and bundled:
        there = [p for p in PRECISIONS if _in_precision(file, p, allow_modified=allow_modified)]
        raise GenerationError(
            f"{model} does not come in {precision}; choose --precision {' or '.join(there)}"
        )
    if found is None:
        missing = _named(_base(path), precision)
        raise GenerationError(
            f"{path} is {file.card.precision}, and there is no {missing.name} of the same run beside it; "
            f"make it: export-onnx RUN -o {to_type(missing)} --precision {precision}"
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
    """Turn ``a-int8.onnx`` into ``a.onnx``."""
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
