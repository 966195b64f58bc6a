"""Open what evaluations compare: a prepared dataset, a folder of scans, or a model file."""

import dataclasses
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scangan.artifacts.dataset import is_dataset, is_prepared, load_dataset
from scangan.artifacts.manifest import origins
from scangan.artifacts.modelfile import ModelFile
from scangan.artifacts.run import Run, is_run
from scangan.artifacts.scan_folder import ScanRecord
from scangan.artifacts.suspects import SUSPECTS
from scangan.core.address import to_place
from scangan.core.counted import counted
from scangan.core.errors import USAGE, EvaluationError, Rejected
from scangan.core.folders import is_document
from scangan.core.printable import to_type
from scangan.core.reading import read_file
from scangan.evaluation.attacks import DiscriminatorScores
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.scan_set import ScanSet

SEED = 1_000_000  # far from the seeds that people look at first


def is_model(path: str) -> bool:
    """Whether `path` is a model file or the name of a bundled model."""
    from scangan.runtime.catalog import bundled_models

    return path.endswith(".onnx") or (path in bundled_models() and not Path(path).exists())


def open_pair(
    real: str, synthetic: str, *, count: int, threads: int | None = None
) -> tuple[ScanSet, ScanSet]:
    """Open real and synthetic scans; a folder is prepared like the other side.

    Parameters
    ----------
    real, synthetic : str
        A prepared dataset, a folder of scans, or for synthetic scans a model.
    count : int
        Scans per class that a model generates.
    threads : int, optional
        Threads for generating and preparing; by default, all that the process may use.

    Raises
    ------
    ScanganError
        One of them cannot be used.
    """
    if is_model(real):
        raise EvaluationError(
            f"{real} is a model; give real scans first, then the synthetic ones", exit_code=USAGE
        )
    if is_model(synthetic):
        made = generated(synthetic, count, threads)
        return open_scans(real, like=made, threads=threads), made
    if is_dataset(Path(real)) or not is_dataset(Path(synthetic)):
        size = None if is_dataset(Path(real)) else size_of(synthetic)
        opened = open_scans(real, size=size, threads=threads)
        return opened, open_synthetic(synthetic, like=opened, threads=threads)
    opened = open_scans(synthetic, threads=threads)
    return open_scans(real, like=opened, threads=threads), opened


def open_scans(
    path: str,
    *,
    like: ScanSet | None = None,
    size: int | None = None,
    count: int = 100,
    threads: int | None = None,
) -> ScanSet:
    """Open one set; a folder is prepared like another set, in a temporary folder.

    Parameters
    ----------
    path : str
        A prepared dataset, a folder of scans, or a model.
    like : ScanSet, optional
        A set whose size and preparation a folder gets.
    size : int, optional
        The size that a folder gets otherwise; by default that of `PrepOptions`.
    count : int
        Scans per class that a model generates.
    threads : int, optional
        Threads for generating and preparing; by default, all that the process may use.
    """
    if not path:
        raise EvaluationError(
            "the path of a set of scans is empty; give a folder or a model", exit_code=USAGE
        )
    if is_model(path):
        return generated(path, count, threads)
    if is_dataset(Path(path)):
        return ScanSet.of_dataset(path)
    if is_run(Path(path)):
        raise EvaluationError(
            f"{path} is a run; for real scans, give its dataset; for synthetic ones, a model file: "
            f"export-onnx {to_type(Path(path))} -o model.onnx"
        )
    from scangan.preprocessing.options import PrepOptions
    from scangan.preprocessing.pipeline import prepare

    settings: Mapping[str, object] = like.settings if like else {}
    known = {field.name for field in dataclasses.fields(PrepOptions)}
    chosen = {key: value for key, value in settings.items() if key in known}
    if wanted := like.size if like else size:
        chosen["size"] = wanted
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "prepared"
        prepare(path, out, PrepOptions(**chosen), workers=threads)  # type: ignore[arg-type]
        made = ScanSet.of_dataset(out)
        return dataclasses.replace(
            made,
            name=path,
            origins=origins(to_place(path), made.sources),
            refused=load_dataset(out).info.rejected,
        )


def size_of(folder: str) -> int | None:
    """Return the size of the first scan of a folder of images in pixels; None for other folders."""
    from PIL import Image

    from scangan.preprocessing.find_scans import SourceOptions, find_scans
    from scangan.preprocessing.options import LARGEST, SMALLEST

    source = to_place(folder)
    files = (scan.file for scan in find_scans(source, SourceOptions()).scans)
    first = next((file for file in files if not is_document(file)), "")
    try:
        with Image.open(io.BytesIO(read_file(source / first))) as image:
            return min(max(*image.size, SMALLEST), LARGEST)
    except (OSError, Rejected, Image.DecompressionBombError):  # not a picture
        return None


def open_synthetic(
    path: str, *, like: ScanSet, count: int = 100, threads: int | None = None
) -> ScanSet:
    """Open synthetic scans of a generator that learnt from a set prepared as `like` was.

    Those in a folder already look prepared: they are resized, and nothing else is done to them again.
    """
    if is_model(path) or is_dataset(Path(path)):
        return open_scans(path, count=count, threads=threads)
    as_shown = dataclasses.replace(like, settings={"fit": like.settings.get("fit", "pad")})
    made = open_scans(path, like=as_shown, threads=threads)
    return dataclasses.replace(made, settings=like.settings)


def model_of(path: str) -> ModelFile | None:
    """Return the file of a model; None for scans on disk."""
    if not is_model(path):
        return None
    from scangan.core.devices import choose_device
    from scangan.runtime.catalog import open_model

    return open_model(path, choose_device())


def warn_if_trained_on(real: str, model: str, say: Callable[[str], None]) -> tuple[str, ...]:
    """Warn that a model is judged by the dataset that it learnt from; return notes for the result."""
    if not learnt_from(model, real):
        return ()
    advice = (
        "so its figures are too good; judge it by scans that were held back (prep-scans --split)"
    )
    say(f"warning: {model} was trained on scans of {real}, {advice}")
    return (f"the generator was trained on these real scans, {advice}",)


def learnt_from(model: str, real: str) -> bool:
    """Whether a model says that it was trained on a prepared dataset."""
    file = model_of(model)
    if file is None or not is_prepared(Path(real)):
        return False
    return load_dataset(real).fingerprint == file.card.dataset_fingerprint


def of_run(
    train: str, path: Path
) -> tuple[ScanSet, ScanSet | None, DiscriminatorScores, list[str]]:
    """Open the dataset of a run: its training scans, those held back, its discriminator, and notes."""
    from scangan.evaluation.run_subsets import subsets_of_run
    from scangan.training.discriminator_scores import discriminator_scores

    trained, held, notes = subsets_of_run(train, Run(path))
    options = Run(path).options
    scores = DiscriminatorScores(
        *discriminator_scores(Run(path), trained.classes), options.size, options.by_class
    )
    return trained, held, scores, notes


def generated(model: str, count: int, threads: int | None = None) -> ScanSet:
    """Generate `count` scans of each class of a model, with `SEED`."""
    from scangan.runtime.generator import ScanGenerator

    with ScanGenerator(model, threads=threads) as generator:
        names: list[str | None] = list(generator.classes) or [None]
        parts = [generator.sample(count, name, SEED) for name in names]
        records = [
            ScanRecord(
                synthetic=True, model=generator.sha256, seed=SEED, index=index, class_name=name
            )
            for name in names
            for index in range(count)
        ]
        return ScanSet(
            np.concatenate(parts),
            np.repeat(np.arange(len(names)), count),
            generator.classes,
            f"{model}, seed {SEED}",
            settings=dict(generator.card.preprocessing),
            sources=[f"{each.class_name or 'scan'}/{each.index}" for each in records],
            synthetic=np.ones(count * len(names), bool),
            origins=records,
        )


def how_to_leave_out(result: PrivacyResult, synthetic: str, count: int, out: Path) -> str:
    """Say how to generate the same scans again, but not the suspects."""
    known = [suspect.origin for suspect in result.suspects if suspect.origin is not None]
    unknown = len(result.suspects) - len(known)
    exclude = f"--exclude {to_type(out / SUSPECTS)}"
    if unknown:
        return (
            f"gen-scans cannot leave out {counted(unknown, 'suspect')}: no manifest says which model and "
            f"seed made them; give the model, or the folder that gen-scans wrote"
        )
    if is_model(synthetic):
        which = f"--model {to_type(Path(synthetic))} --seed {known[0].seed} --count {count}"
        return f"to generate these scans without the suspects: gen-scans {which} {exclude}"
    return (
        f"to generate these scans without the suspects, type the gen-scans command that made them with "
        f"{exclude}, and another --out, or --force to replace them"
    )
