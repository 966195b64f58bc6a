"""Start a run from networks that were trained before: transfer learning.

A few hundred scans teach a network less about anatomy than a few thousand others already did. So both
networks of another run are taken over, whatever its classes. What a run of another size or with other
classes has no weights for starts at random, as usual (Wang et al. 2018, "Transferring GANs").
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from msgspec.structs import replace
from safetensors import SafetensorError
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from scangan.artifacts.records import parse_record, to_told
from scangan.artifacts.run import Run
from scangan.artifacts.run_records import RunItem, StartedFrom
from scangan.artifacts.train_options import COMMAND_LINE, NARROWEST, WIDEST, TrainOptions, nearest
from scangan.core.errors import USAGE, TrainingError, fault_of
from scangan.core.files import written_whole
from scangan.training.bundled_weights import bundled_file, starting_names
from scangan.training.checkpoints import load_checkpoint, read_tensors
from scangan.training.networks import channels
from scangan.training.step import TrainingStep

# Networks that differ in one of these have other layers.
STRUCTURE = (
    "arch", "latent", "first_map", "conditioning", "spectral_norm", "minibatch_std", "batch_norm",
    "pool", "residual", "head",
)  # fmt: skip
OF_CLASSES = "conditioning", "head"  # layers of these know the classes
BY_CLASS = "scale", "shift", "embedding", "projection", "aux"  # layers with a row for each class
STEPS = 20  # of power iteration, for spectral norms of layers whose rows changed
NETWORKS = "generator", "discriminator"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """Networks to start from.

    Parameters
    ----------
    told : StartedFrom
        Where they come from.
    options : TrainOptions
        The options that they were trained with.
    classes : tuple of str
        The classes that have rows in them; empty for unconditional networks.
    generator, discriminator : dict
        Their tensors, by name. Of the generator, those of its moving average.
    trained_on : tuple of RunItem
        The scans that they were trained on, in any run; empty if unknown.
    """

    told: StartedFrom
    options: TrainOptions
    classes: tuple[str, ...]
    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor]
    trained_on: tuple[RunItem, ...] = ()


def name_of(source: str) -> str:
    """Return the name by which a run remembers what it started from: as you typed it, without a path."""
    return (
        source if source in starting_names() else Path(os.path.normpath(Path.cwd() / source)).name
    )


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
    path, option = Path(source), f"--start-from {source}"
    if source in starting_names() and not path.is_dir():
        return read_weights_file(bundled_file(source), "install scangan again")
    if path.suffix == ".onnx":
        raise TrainingError(
            f"{option}: a model file has no discriminator; give the run that it was exported from",
            exit_code=USAGE,
        )
    if not path.is_dir():
        names = starting_names()
        bundled = (
            f", or bundled weights: {', '.join(names)}{nearest(source, names)}" if names else ""
        )
        raise TrainingError(
            f"{option}: there is no such run; give the --out of a run of train-gan{bundled}",
            exit_code=USAGE,
        )
    run = Run(path)
    if run.options.per_class:
        one = path / "classes" / "0"
        raise TrainingError(
            f"{option}: a run with --per-class has networks for each class; give one of them, such as "
            f"--start-from {one}",
            exit_code=USAGE,
        )
    return _of_run(run, option)


def _of_run(run: Run, option: str) -> StartingWeights:
    config = run.config
    try:
        saved, trained_on = load_checkpoint(run, torch.device("cpu")), run.trained_on()
    except TrainingError as error:
        # The readers' own advice is --force, which would delete the run that is to be started.
        reason = str(error).split(";")[0]
        raise TrainingError(f"{option}: {reason}; give another run") from error
    if saved is None:
        raise TrainingError(f"{option}: it has no checkpoint yet; let it reach its first tick")
    told = StartedFrom(
        name=name_of(str(run.path)),
        classes=config.dataset.classes,
        kimg=run.options.kimg_at(saved.step),
        scans=sum(config.dataset.counts.values()),
        dataset_fingerprint=config.dataset.fingerprint,
        started_from=config.started_from,
        listed=config.started_from is None or config.started_from.listed,
    )
    return StartingWeights(
        told=told,
        options=run.options,
        classes=run.classes,
        generator=_tensors(saved.networks["ema"]),
        discriminator=_tensors(saved.networks["discriminator"]),
        trained_on=tuple(trained_on),
    )


def _tensors(state: object) -> dict[str, Tensor]:
    assert isinstance(state, Mapping)  # `load_checkpoint` read what `TrainingStep` wrote
    return dict(state)


def write_weights_file(weights: StartingWeights, file: Path, dtype: torch.dtype) -> None:
    """Write starting weights to a safetensors file, without the list of scans."""
    tensors = {
        f"{network}.{name}": tensor.to(dtype) if tensor.is_floating_point() else tensor
        for network in NETWORKS
        for name, tensor in getattr(weights, network).items()
    }
    metadata = {
        "told": json.dumps(to_told(weights.told)),
        "options": json.dumps(weights.options.to_dict()),
        "classes": json.dumps(weights.classes),
    }
    data = serialize({name: t.contiguous() for name, t in tensors.items()}, metadata)
    with written_whole(file) as beside:
        beside.write_bytes(data)


def read_weights_file(file: Path, advice: str) -> StartingWeights:
    """Read what `write_weights_file` wrote, in float32; `advice` says what to do if it is damaged.

    Raises
    ------
    TrainingError
        The file is damaged.
    """
    try:
        stored, metadata = read_tensors(file)
        tensors = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
        generator, discriminator = (
            {name.removeprefix(f"{network}."): t for name, t in tensors.items() if name.startswith(network)}
            for network in NETWORKS
        )  # fmt: skip
        return StartingWeights(
            told=replace(parse_record(StartedFrom, metadata["told"]), listed=False),
            options=TrainOptions.from_dict(json.loads(metadata["options"])),
            classes=tuple(json.loads(metadata["classes"])),
            generator=generator,
            discriminator=discriminator,
        )
    except (OSError, SafetensorError, KeyError, ValueError, TrainingError) as error:
        raise TrainingError(f"{file} is damaged ({fault_of(error)}); {advice}") from error


def check_fit(weights: StartingWeights, options: TrainOptions) -> None:
    """Refuse weights of networks that have other layers than those of a run with `options`.

    Another size is no obstacle if the widths fit: a network of twice the size has one more layer next
    to the image, and the same layers before if it is half as wide there.
    """
    before = weights.options
    differing, advice = [], []
    for key in STRUCTURE:
        if key in OF_CLASSES and before.arch == options.arch == "dcgan":
            continue  # it has no such layers
        old, new = getattr(before, key), getattr(options, key)
        if old != new:
            differing.append(f"{key} {old}, this run has {new}")
            advice.append(_to_get(key, old, options))
    if not _same_maps(before, options.size, options.width):
        differing.append(
            f"width {before.width} at {before.size} pixels, this run has {options.width} at {options.size}"
        )
        width, rest = divmod(before.width * before.size, options.size)
        if rest or not NARROWEST <= width <= WIDEST or not _same_maps(before, options.size, width):
            advice.append("choose another size")
        else:
            advice.append(f"add --width {width}")
    if differing:
        raise TrainingError(
            f"--start-from {weights.told.name} has other layers than this run: it has "
            f"{', '.join(differing)}; {', '.join(advice)}",
            exit_code=USAGE,
        )


def _to_get(key: str, value: object, options: TrainOptions) -> str:
    if key == "arch" and value == "acgan":
        alone = "--no-per-class " if options.per_class else ""
        return f"add {alone}--arch acgan, which needs two or more classes"
    if key in COMMAND_LINE:
        return f"add --{key} {value}"
    return f"add --set {key}={str(value).lower() if isinstance(value, bool) else value}"


def _same_maps(before: TrainOptions, size: int, width: int) -> bool:
    """Whether the maps that both sizes have, from the smallest up, have the same channels."""
    for first in {4, before.first_map}:  # the discriminator's last map is always 4 pixels wide
        ours, theirs = channels(size, width, first), channels(before.size, before.width, first)
        if any(a != b for a, b in zip(ours, theirs, strict=False)):
            return False
    return True


def start_from(weights: StartingWeights, step: TrainingStep, classes: tuple[str, ...]) -> str:
    """Give starting weights to the networks of a run; return one line that says how much fitted.

    A class that both runs have keeps its rows; one that is new starts as the mean of the others.
    """
    shift = len(step.discriminator.downs) - _count(weights.discriminator, "downs")
    rows = [weights.classes.index(name) if name in weights.classes else None for name in classes]
    taken = [
        _take(step.generator, weights.generator, rows),
        _take(step.discriminator, _moved(weights.discriminator, shift), rows),
    ]
    step.ema.load_state_dict(step.generator.state_dict())
    parts = " and ".join(
        f"{share:.0%} of the {name}'s weights" for name, share in zip(NETWORKS, taken, strict=True)
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


@torch.no_grad()
def _take(network: nn.Module, tensors: Mapping[str, Tensor], rows: list[int | None]) -> float:
    """Copy what fits into a network; return its share of the network's weights."""
    taken, weights = 0, {name for name, _ in network.named_parameters()}
    for name, tensor in network.state_dict().items():
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
