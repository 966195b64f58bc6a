"""Export a run to a model file: convert, compare with torch, and write the card last."""

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from scangan.artifacts.card import ALL, KEY, PRECISIONS, ModelCard
from scangan.artifacts.dataset import PreparedDataset, is_prepared, load_dataset
from scangan.artifacts.latents import UNCONDITIONAL, draw_latents
from scangan.artifacts.modelfile import check_target, graph_sha256, read_model_file
from scangan.artifacts.records import to_told
from scangan.artifacts.run import Run, open_run
from scangan.artifacts.run_records import StartedFrom
from scangan.core.counted import counted
from scangan.core.errors import ExportError, PreprocessingError
from scangan.core.files import only_writer, written_whole
from scangan.core.session import open_session
from scangan.export.fidelity import Comparison, Fidelity
from scangan.export.graph import OPSET, OPSETS, to_onnx
from scangan.export.precision import Built, Step, build, build_int8
from scangan.training.bundled_weights import starting_names
from scangan.training.checkpoints import Best, load_best, load_generator
from scangan.training.networks import Generator, GeneratorBank
from scangan.training.scoring import to_grey

PARITY_SEED, PARITY_COUNT = 0, 64  # latents per class to compare
PARITY_BATCHES = (1, 2, 7, 54)  # several sizes, to find a graph that works for some only
MOST_GREY_LEVELS = 1


def export_run(
    run: str | Path,
    out: str | Path,
    *,
    precision: str = "fp32",
    opset: int = OPSET,
    real: str | Path | None = None,
    accept_loss: bool = False,
    license: str = "",
    citation: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Export the best generator of a run as one self-contained model file.

    Parameters
    ----------
    run : path
        The run folder, or its ``best.safetensors``.
    out : path
        The ``.onnx`` file to write; its folder must exist.
    precision : {"fp32", "fp16", "int8"}
        int8 is several times as fast on a CPU and a quarter of the size; fp16 is for GPUs.
    opset : int
        ONNX operator set version.
    real : path, optional
        Prepared scans to score an int8 model against; by default, those of the run.
    accept_loss : bool
        Write an int8 model even if it differs too much from float32; the card says how much. Other
        precisions need neither this nor `real`.
    license, citation : str
        Licence and citation of the training scans, for the card.
    say : callable
        Called with a line of text for each step of the work.

    Returns
    -------
    ModelCard
        The card as written; its `parity` was measured on 64 latents per class.

    Raises
    ------
    ExportError
        `precision` or `opset` is unknown; `out` is no name for a model file; the exported graph
        differs from the generator by more than 1 grey level; or an int8 graph loses more than
        `Fidelity` allows.
    TrainingError
        `run` is not a run, or is damaged.
    PreprocessingError
        `real` is not a prepared dataset, or is damaged.
    OSError
        The file cannot be written.

    In all these cases, nothing is written to `out`.
    """
    if precision not in PRECISIONS:
        raise ExportError(
            f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}"
        )
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported; choose {OPSETS[0]} to {OPSETS[-1]}")
    trained, out = open_run(run), Path(out)
    check_target(out)
    (generator, best), latent = load_generator(trained), trained.options.latent
    if precision == "int8":
        dataset = _real_scans(trained, real, accept_loss)
        built, lost = _build_int8(generator, trained, dataset, opset, accept_loss, say)
        fidelity = lost.to_dict() | {"float_layers": list(built.float_layers)}
    else:
        built, fidelity = build(generator, latent, precision, opset), {}
        _tell(built, say)

    def check(data: bytes) -> int:
        parity = measure_parity(data, generator, latent)
        if precision != "int8" and parity > MOST_GREY_LEVELS:
            raise ExportError(
                f"the exported graph differs from the trained generator by {parity} grey levels "
                f"(allowed: {MOST_GREY_LEVELS}); nothing was written; please report this"
            )
        return parity

    data = built.model.SerializeToString()
    card = dataclasses.replace(
        run_card(trained, best),  # not read again: training may have saved a better one meanwhile
        graph_sha256=graph_sha256(data),
        precision=precision,
        parity=check(data),
        fidelity=fidelity,
        license=license,
        citation=citation,
    )
    write_model(built.model, card, out, check)
    return card


def _build_int8(
    generator: Generator | GeneratorBank,
    run: Run,
    real: PreparedDataset | None,
    opset: int,
    accept_loss: bool,
    say: Callable[[str], None],
) -> tuple[Built, Fidelity]:
    """Build an int8 model with as few float layers as the comparison with float32 allows."""
    latent = run.options.latent
    plain = to_onnx(generator, latent, opset)
    comparison = Comparison(plain, latent, len(run.classes), real)
    for built in build_int8(generator, latent, opset):
        _tell(built, say)
        fidelity = comparison.of(built.model)
        say(_fidelity_line(fidelity))
        if not fidelity.losses or accept_loss:
            return built, fidelity
    raise ExportError(
        f"int8 loses too much: {'; '.join(fidelity.losses)}; nothing was written; "
        f"use --precision fp32 (without --real), or --accept-loss"
    )


def run_card(run: Run, best: Best | None = None) -> ModelCard:
    """Make the part of a card that describes the run, without the fields of a model file.

    `best` is the generator that was exported; by default, the run's best one now.

    Model files get shared, so nothing here may name the machine or its user. That includes the typed
    command, which has paths in it; the options say what it did.
    """
    best, config, options = best or load_best(run), run.config, run.options
    made = config.dataset.synthetic and _counts_to_share(config.dataset.synthetic, run.classes)
    return ModelCard(
        architecture=options.arch,
        latent=options.latent,
        classes=run.classes,
        size=options.size,
        graph_sha256="",
        preprocessing=config.dataset.preprocessing,
        dataset_fingerprint=config.dataset.fingerprint,
        dataset_counts=_counts_to_share(config.dataset.counts, run.classes),
        recipe={
            **({"name": config.recipe} if config.recipe else {}),
            "options": options.to_dict(),
            "kept": best.kind,
            "kept_kimg": best.kimg,
            **({"synthetic_scans": made} if made else {}),
            **({"started_from": _to_share(config.started_from)} if config.started_from else {}),
        },
        scores=to_told(best.scores) if best.scores else {},
        versions=config.versions | {"onnx": version("onnx")},
        date=config.started,
    )


def _counts_to_share(counts: dict[str, int], classes: tuple[str, ...]) -> dict[str, int]:
    """Return the counts by class; a model without classes does not tell the names of folders."""
    return counts if classes else {ALL: sum(counts.values())}


def _to_share(start: StartedFrom) -> dict[str, Any]:
    """Describe what a run started from; the name of a run's folder stays private."""
    told = to_told(start)
    del told["listed"]
    if start.name not in starting_names():
        del told["name"]
    before = start.started_from
    return told | {"started_from": _to_share(before) if before else None}


def _real_scans(run: Run, real: str | Path | None, accept_loss: bool) -> PreparedDataset | None:
    """Return the scans to score against, in memory: the given ones, or the run's if still in place."""
    told = run.config.dataset
    if real is not None:
        dataset = load_dataset(real)
        if dataset.size != run.options.size:
            raise ExportError(
                f"{real} was prepared at {dataset.size} pixels, the run at {run.options.size}; "
                f"prepare its scans into another folder with --size {run.options.size}"
            )
        if run.classes and dataset.classes != run.classes:
            raise ExportError(
                f"{real} has other classes ({', '.join(dataset.classes)}) than the run "
                f"({', '.join(run.classes)}); give scans of the same classes"
            )
        if synthetic := int(dataset.synthetic.sum()):
            raise ExportError(
                f"{real} holds {counted(synthetic, 'synthetic scan')}, but int8 is scored against real "
                f"ones; give a dataset without synthetic scans"
            )
        return dataset.in_memory()
    fault: PreprocessingError | None = None
    for path in (run.dataset, Path(told.path or run.dataset)):
        if is_prepared(path):
            try:
                dataset = load_dataset(path)
                if dataset.fingerprint == told.fingerprint:
                    return dataset.in_memory()  # which checks its pixels
            except PreprocessingError as error:
                fault = error
    if accept_loss:
        return None
    if fault:
        raise fault
    raise ExportError(
        f"the training scans of {run.path} were moved or changed, and int8 is scored against real "
        f"scans; give --real DATASET, or --accept-loss to go without"
    )


def _tell(built: Built, say: Callable[[str], None]) -> None:
    for step in built.steps:
        say(_step_line(step))
    if built.float_layers:
        say(f"kept in float, as rounding them costs most: {', '.join(built.float_layers)}")


def _step_line(step: Step) -> str:
    return f"{step.name:<32} {step.nodes:4d} nodes {step.size / 1e6:7.2f} MB"


def _fidelity_line(fidelity: Fidelity) -> str:
    text = (
        f"compared with float32, {counted(fidelity.n, 'scan')}: PSNR {fidelity.mean_psnr:.1f} dB on "
        f"average, {fidelity.worst_psnr:.1f} at worst"
    )
    if fidelity.kid is not None:
        text += f"; KID x1000 {fidelity.kid[0] * 1000:.1f} -> {fidelity.kid[1] * 1000:.1f}"
    if fidelity.agreement is not None:
        text += f"; class agreement {fidelity.agreement[0]:.1%} -> {fidelity.agreement[1]:.1%}"
    return text


@torch.no_grad()
def measure_parity(model: bytes, generator: Generator | GeneratorBank, latent: int) -> int:
    """Return the largest difference in grey levels between a serialised model and its generator.

    Classes alternate within every batch, so that a scan of the wrong class would be noticed.
    """
    session = open_session(model, threads=1)
    numbers = range(generator.classes) if generator.classes else [UNCONDITIONAL]
    latents = [draw_latents(PARITY_SEED, k, range(PARITY_COUNT), latent) for k in numbers]
    z = np.stack(latents, axis=1).reshape(-1, latent)
    label = np.tile(np.array(numbers, np.int64), PARITY_COUNT)
    worst, ends = 0, np.cumsum(PARITY_BATCHES * len(numbers))
    for rows in np.split(np.arange(len(z)), ends[:-1]):
        batch = {"z": z[rows], "label": label[rows]}
        want = to_grey(generator(*map(torch.from_numpy, batch.values())))
        if not generator.classes:
            del batch["label"]
        got = session.run(["image"], batch)[0][:, 0]
        worst = max(worst, int(np.abs(got.astype(np.int16) - want).max()))
    return worst


def write_model(
    model: onnx.ModelProto,
    card: ModelCard,
    out: Path,
    check: Callable[[bytes], object] = lambda data: None,
) -> None:
    """Write a model with its card. Before it gets its name, read it back like the runtime and `check` it."""
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, card.to_json()
    # Locked, as the check takes long: another export must not write into the unfinished file.
    lock = only_writer(out.with_name(f".{out.name}.lock"), own_folder=False)
    with lock, written_whole(out) as beside:
        beside.write_bytes(model.SerializeToString())
        check(read_model_file(beside).data)
