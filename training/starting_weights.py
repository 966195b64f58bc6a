"""Start a run from networks that were trained before: transfer learning.

A few hundred scans teach a network less about anatomy than a few thousand others already did. So both
networks of another run are taken over, whatever its classes. What a run of another size or with other
classes has no weights for starts at random, as usual (Wang et al. 2018, "Transferring GANs").
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from scangan.artifacts.records import parse_record, to_told
from scangan.artifacts.run import Run
from scangan.artifacts.run_records import StartedFrom
from scangan.artifacts.train_options import NARROWEST, TrainOptions, nearest
from scangan.core.errors import USAGE, TrainingError
from scangan.core.files import read_bytes, written_whole
from scangan.training.bundled_weights import bundled_file, name_of, starting_names
from scangan.training.checkpoints import load_checkpoint
from scangan.training.step import TrainingStep

# Networks that differ in one of these have other layers.
STRUCTURE = (
    "arch", "latent", "first_map", "conditioning", "spectral_norm", "minibatch_std", "batch_norm",
    "pool", "residual", "head",
)  # fmt: skip
BY_CLASS = "scale", "shift", "embedding", "projection", "aux"  # layers with a row for each class
STEPS = 20  # of power iteration, for spectral norms of layers whose rows changed


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """Networks to start from.

    Parameters
    ----------
    told : StartedFrom
        Where they come from.
    options : TrainOptions
        The options that they were trained with.
    generator, discriminator : dict
        Their tensors, by name. Of the generator, those of its moving average.
    """

    told: StartedFrom
    options: TrainOptions
    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor]


def read_starting_weights(source: str) -> StartingWeights:
    """Read starting weights.

    Parameters
    ----------
    source : str
        A run's folder, or a name out of `starting_names`.

    Raises
    ------
    TrainingError
        There are none, or they cannot be read.
    """
    path = Path(source)
    if source in starting_names() and not path.is_dir():
        return _bundled(bundled_file(source))
    if path.suffix == ".onnx":
        raise TrainingError(
            f"--start-from {source}: a model file has no discriminator; give the run that it was "
            f"exported from",
            exit_code=USAGE,
        )
    if not path.is_dir():
        names = starting_names()
        bundled = f"; bundled weights: {', '.join(names)}{nearest(source, names)}" if names else ""
        raise TrainingError(
            f"--start-from {source}: there is no such run{bundled}", exit_code=USAGE
        )
    run = Run(path)
    if run.options.per_class:
        raise TrainingError(f"--start-from {source}: a run with --per-class has no single network")
    saved = load_checkpoint(run, torch.device("cpu"))
    if saved is None:
        raise TrainingError(
            f"--start-from {source}: it has no checkpoint yet; let it reach its first tick"
        )
    networks = saved.networks
    told = StartedFrom(
        name=name_of(source),
        classes=run.classes,
        kimg=saved.step * run.options.batch / 1000,
        scans=sum(run.config.dataset.counts.values()),
        dataset_fingerprint=run.config.dataset.fingerprint,
    )
    return StartingWeights(
        told=told,
        options=run.options,
        generator=_tensors(networks["ema"]),
        discriminator=_tensors(networks["discriminator"]),
    )


def _tensors(state: object) -> dict[str, Tensor]:
    assert isinstance(state, Mapping)  # `load_checkpoint` read what `TrainingStep` wrote
    return dict(state)


def save_starting_weights(weights: StartingWeights, file: Path) -> None:
    """Write starting weights to a file, in half precision."""
    tensors = {
        f"{network}.{name}": tensor.half() if tensor.is_floating_point() else tensor
        for network in ("generator", "discriminator")
        for name, tensor in getattr(weights, network).items()
    }
    metadata = {
        "told": json.dumps(to_told(weights.told)),
        "options": json.dumps(weights.options.to_dict()),
    }
    data = serialize({name: t.contiguous() for name, t in tensors.items()}, metadata)
    with written_whole(file) as beside:
        beside.write_bytes(data)


def _bundled(file: Path) -> StartingWeights:
    try:
        data = read_bytes(file)
        tensors = {name: t.float() for name, t in deserialize(data).items()}
        header = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header])["__metadata__"]
        return StartingWeights(
            told=parse_record(StartedFrom, metadata["told"]),
            options=TrainOptions.from_dict(json.loads(metadata["options"])),
            generator=_below(tensors, "generator."),
            discriminator=_below(tensors, "discriminator."),
        )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{file} is damaged ({error}); install scangan again") from error


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}


def check_fit(weights: StartingWeights, options: TrainOptions) -> None:
    """Refuse weights of networks that have other layers than those of a run with `options`.

    Another size is no obstacle if the widths fit: a network of twice the size has one more layer next
    to the image, and the same layers before if it is half as wide there.
    """
    before = weights.options
    differing, advice = [], []
    for key in STRUCTURE:
        old, new = getattr(before, key), getattr(options, key)
        if old != new:
            differing.append(f"{key} {old}, this run has {new}")
            advice.append(f"--set {key}={str(old).lower() if isinstance(old, bool) else old}")
    fitting = before.width * before.size / options.size
    if options.width != fitting:
        at = f" at {before.size} pixels" if before.size != options.size else ""
        differing.append(f"width {before.width}{at}, this run has {options.width}")
        if fitting >= NARROWEST:
            advice.append(f"--width {fitting:g}")
    if differing:
        hint = f"; add {' '.join(advice)}" if advice else "; choose another size"
        raise TrainingError(
            f"--start-from {weights.told.name} has other layers than this run: it has "
            f"{'; '.join(differing)}{hint}",
            exit_code=USAGE,
        )


def start_from(weights: StartingWeights, step: TrainingStep, classes: tuple[str, ...]) -> str:
    """Give starting weights to the networks of a run; return one line that says how much fitted.

    A class that both runs have keeps its rows; one that is new starts as the mean of the others.
    """
    shift = len(step.discriminator.downs) - _count(weights.discriminator, "downs")
    rows = _rows(weights.told.classes, classes)
    taken = [
        _take(step.generator, weights.generator, rows),
        _take(step.discriminator, _moved(weights.discriminator, shift), rows),
    ]
    step.ema.load_state_dict(step.generator.state_dict())
    parts = " and ".join(
        f"{share:.0%} of the {name}'s weights"
        for name, share in zip(("generator", "discriminator"), taken, strict=True)
    )
    known = sum(each is not None for each in rows)
    of_classes = f"; {known} of {len(classes)} classes known by name" if classes else ""
    return f"starting from {weights.told.name}: {parts}{of_classes}"


def _count(tensors: Mapping[str, Tensor], layers: str) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith(f"{layers}.")})


def _moved(tensors: Mapping[str, Tensor], shift: int) -> dict[str, Tensor]:
    """Number the discriminator's layers, which are counted from the image, from the other end."""
    moved = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first in ("downs", "norms"):
            rest[0] = str(int(rest[0]) + shift)
        moved[".".join([first, *rest])] = tensor
    return moved


def _rows(before: tuple[str, ...], now: tuple[str, ...]) -> list[int | None]:
    """Return the row of each class in tables of other classes; None if it is new."""
    return [before.index(name) if name in before else None for name in now]


@torch.no_grad()
def _take(network: nn.Module, tensors: Mapping[str, Tensor], rows: list[int | None]) -> float:
    """Copy what fits into a network; return its share of the network's weights."""
    state, taken = network.state_dict(), 0
    weights = {name for name, _ in network.named_parameters()}
    for name, tensor in state.items():
        found = tensors.get(name)
        of_class = any(part in BY_CLASS for part in name.split("."))
        if found is None or (of_class and name not in weights):
            continue  # such as the vectors of a spectral norm, one of which has a number per class
        if of_class:
            mean = found.mean(0)
            found = torch.stack([mean if row is None else found[row] for row in rows])
        if found.shape == tensor.shape:
            tensor.copy_(found)
            taken += tensor.numel() if name in weights else 0
    for layer in network.modules():
        if is_parametrized(layer, "weight"):
            for _ in range(STEPS):
                _ = layer.weight  # in training, each look is a step of power iteration
    return taken / sum(parameter.numel() for parameter in network.parameters())
