"""Checkpoints of a run: ``last.pt`` to resume from, ``best.safetensors`` to export."""

import dataclasses
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from scangan.artifacts.records import parse_record, to_told
from scangan.artifacts.run import FORMAT_VERSION, Run
from scangan.artifacts.scores import KeptScores
from scangan.core.errors import TrainingError, fault_of, first_line
from scangan.core.files import read_bytes, written_whole
from scangan.core.versions import why_newer
from scangan.training.early_stopping import EarlyStopping
from scangan.training.networks import Generator, GeneratorBank, make_generator


@dataclasses.dataclass(frozen=True)
class Best:
    """The best generator of a run.

    Parameters
    ----------
    state : dict
        Its tensors, by name.
    kind : {"raw", "ema", "per class"}
        The generator as trained; its moving average, with re-estimated BatchNorm statistics; or the
        best generator of each class.
    kimg : float
        When it was scored.
    scores : KeptScores or None
        Its scores; None if it was not scored.
    """

    state: dict[str, Tensor]
    kind: str
    kimg: float
    scores: KeptScores | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything needed to resume.

    Parameters
    ----------
    format_version : int
        Format of the run folder.
    step : int
        Number of steps so far.
    networks : dict
        `TrainingStep.state_dict`.
    progress : EarlyStopping
        The best score so far, and when it was reached.
    sums, summed : Tensor, int
        Sums of the losses since the last tick, float [3], and the number of steps summed.
    """

    format_version: int = FORMAT_VERSION
    step: int
    networks: Mapping[str, object]
    progress: EarlyStopping
    sums: Tensor
    summed: int


def save_checkpoint(run: Run, checkpoint: Checkpoint) -> None:
    """Save a checkpoint as ``last.pt``."""
    data = io.BytesIO()  # torch's own writer does not report a full disk
    torch.save(vars(checkpoint) | {"progress": dataclasses.asdict(checkpoint.progress)}, data)
    with written_whole(run.path / "last.pt") as beside:
        beside.write_bytes(data.getbuffer())


def load_checkpoint(run: Run, device: torch.device) -> Checkpoint | None:
    """Load ``last.pt`` without unpickling any code; None if it does not exist yet."""
    file = run.path / "last.pt"
    if not file.exists():
        return None
    data = io.BytesIO(read_bytes(file))  # torch's own reader reports a bad sector as a damaged file
    try:
        told = torch.load(data, map_location=device, weights_only=True)
        newer = why_newer(file, told["format_version"], FORMAT_VERSION)
        if not newer:
            return Checkpoint(**told | {"progress": EarlyStopping(**told["progress"])})
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        reason = first_line(error).split(". ")[0]  # torch adds a paragraph of guesses
        alone = run.path.parent.name != "classes"  # else it is one class of a run
        usable = alone and (run.path / "best.safetensors").exists()
        raise TrainingError(
            f"{file} cannot be read ({reason}); "
            + ("you can still export the run; to train it further, " if usable else "")
            + "start over with --force"
        ) from error
    raise TrainingError(newer)


def save_best(run: Run, best: Best) -> None:
    """Save the best generator as ``best.safetensors``."""
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "kind": best.kind,
        "kimg": f"{best.kimg:.3f}",
        "scores": json.dumps(to_told(best.scores) if best.scores else {}),
    }
    data = serialize({k: v.contiguous() for k, v in best.state.items()}, metadata)
    with written_whole(run.path / "best.safetensors") as beside:
        beside.write_bytes(data)


def load_best(run: Run) -> Best:
    """Load the best generator.

    Raises
    ------
    TrainingError
        There is none yet, or the file is damaged.
    """
    file = run.path / "best.safetensors"
    if not file.exists():
        if run.options.per_class:  # raises if this is not a run, which is the likelier mistake
            done = sorted(run.path.glob("classes/*/best.safetensors"))
            one = f", or give a class that it has a generator of: {done[0].parent}" if done else ""
            raise TrainingError(
                f"{run.path} has not trained all of its classes yet; run train-gan again to continue{one}"
            )
        if run.read_metrics():  # written at each tick, after the first best generator
            raise TrainingError(f"{file} is missing; restore it, or start over with --force")
        raise TrainingError(f"{run.path} has no checkpoint yet; let train-gan reach its first tick")
    try:
        state, metadata = read_tensors(file)
        told = metadata["scores"]
        scores = None if told == "{}" else parse_record(KeptScores, told)
        return Best(state, metadata["kind"], float(metadata["kimg"]), scores)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{file} is damaged ({fault_of(error)}); start over with --force"
        ) from error


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors by name, and its metadata.

    Raises
    ------
    OSError, SafetensorError, KeyError, ValueError
        It cannot be read, or is damaged.
    """
    # Not memory-mapped: the process would die if the file was truncated meanwhile.
    data = read_bytes(file)
    tensors = deserialize(data)
    header = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + header])["__metadata__"]
    return tensors, metadata


def load_generator(run: Run) -> tuple[Generator | GeneratorBank, Best]:
    """Load the best generator in evaluation mode on the CPU."""
    options, best = run.options, load_best(run)
    model: Generator | GeneratorBank
    if options.per_class:
        model = GeneratorBank([make_generator(options, 0) for _ in run.classes])
    else:
        model = make_generator(options, len(run.classes))
    try:
        model.load_state_dict(best.state)
    except RuntimeError as error:
        raise TrainingError(f"{run.path}/best.safetensors does not match its config") from error
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise TrainingError(f"{run.path}/best.safetensors is damaged: it has infinite weights")
    return model.eval(), best
