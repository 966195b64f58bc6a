"""The passes for each precision, and building a model with them."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray

from scangan.artifacts.latents import UNCONDITIONAL, draw_latents
from scangan.core.session import open_session
from scangan.export.channel_ranges import match_ranges
from scangan.export.graph import OPSET, join_parts, to_graphs, to_model
from scangan.export.half import to_float16
from scangan.export.passes import dense_channels_last, transposed_conv_to_conv
from scangan.export.quantize import calibrate, layers, quantize, to_calibrate
from scangan.training.networks import Generator, GeneratorBank

CALIBRATION_SEED, CALIBRATION_COUNT = 1, 1024  # latents for choosing scales
COMPARED = 256  # of these latents, for choosing layers
BATCH = 32
WANTED_MEAN, WANTED_WORST = 37.0, 32.0  # PSNR in dB, 2 dB above the final requirement
MOST_PSNR = 99.0  # for equal images

Batches = list[dict[str, NDArray[np.generic]]]
Pass = Callable[[onnx.GraphProto, int], onnx.GraphProto]  # the int is the opset
PASSES: dict[str, tuple[Pass, ...]] = {
    "fp32": (transposed_conv_to_conv,),
    "fp16": (to_float16,),  # for GPUs, which have their own transposed convolutions
    "int8": (dense_channels_last, transposed_conv_to_conv),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """The size of the graph after a step: number of nodes, and bytes."""

    name: str
    nodes: int
    size: int


@dataclasses.dataclass(frozen=True)
class Built:
    """A model without a card, the steps that made it, and the layers of an int8 model left in float."""

    model: onnx.ModelProto
    steps: tuple[Step, ...]
    float_layers: tuple[str, ...] = ()


def build(
    generator: Generator | GeneratorBank, latent: int, precision: str = "fp32", opset: int = OPSET
) -> Built:
    """Make the ONNX model of a generator.

    Parameters
    ----------
    generator : Generator or GeneratorBank
        In evaluation mode, on the CPU.
    latent : int
        Length of `z`.
    precision : {"fp32", "fp16", "int8"}
        Precision of the model.
    opset : int
        ONNX operator set version.
    """
    if precision == "int8":
        return next(build_int8(generator, latent, opset))
    graphs, steps = _transformed(to_graphs(generator, latent, opset), "", precision, opset)
    return Built(to_model(join_parts(graphs, generator), opset), steps)


def build_int8(
    generator: Generator | GeneratorBank, latent: int, opset: int = OPSET
) -> Iterator[Built]:
    """Make int8 models of a generator: the first is small, each later one has more float layers.

    The layers that lose most stay in float, at most half of all. The last layer, with one output
    channel, is always in float and not counted. Parameters are those of `build`.
    """
    classes = 0 if isinstance(generator, GeneratorBank) else generator.classes
    batches = list(latent_batches(CALIBRATION_SEED, CALIBRATION_COUNT, latent, classes))
    exported = to_graphs(generator, latent, opset, lambda network: match_ranges(network, batches))
    floats, steps = _transformed(exported, ", match_ranges", "int8", opset)
    choices = [_LayerChoice(graph, batches, opset) for graph in floats]
    most = len(layers(floats[0])) // 2
    least = 0
    while least <= most:
        graphs = [choice.with_float(least) for choice in choices]
        kept = [choice.kept for choice in choices]
        yield Built(
            to_model(join_parts(graphs, generator), opset),
            (*steps, _step("quantize", graphs)),
            tuple(dict.fromkeys(name for names in kept for name in names)),
        )
        least = min(map(len, kept)) + 1


def _transformed(
    graphs: list[onnx.GraphProto], also: str, precision: str, opset: int
) -> tuple[list[onnx.GraphProto], tuple[Step, ...]]:
    """Return the graphs after the passes of a precision, and the steps."""
    steps = [_step(f"fold_batchnorm{also}", graphs)]
    for each in PASSES[precision]:
        graphs = [each(graph, opset) for graph in graphs]
        steps.append(_step(each.__name__, graphs))
    return graphs, tuple(steps)


def _step(name: str, graphs: list[onnx.GraphProto]) -> Step:
    return Step(name, sum(len(g.node) for g in graphs), sum(g.ByteSize() for g in graphs))


class _LayerChoice:
    """Which layers of one float graph stay in float; calibrated once."""

    def __init__(self, graph: onnx.GraphProto, batches: Batches, opset: int) -> None:
        self._graph, self._opset, self._batches = graph, opset, batches[: COMPARED // BATCH]
        model = to_model(graph, opset)
        self._scales = calibrate(model, to_calibrate(graph), batches)
        self._want = make_images(model, self._batches)
        self._layers = layers(graph)
        self.kept: list[str] = []
        self._reached = self._mean_and_worst([])

    def with_float(self, least: int) -> onnx.GraphProto:
        """Return the integer graph with `least` or more layers in float, as many as it needs."""
        # With more than half of the layers in float, it would not be an integer model.
        while len(self.kept) < len(self._layers) // 2 and (
            len(self.kept) < least
            or self._reached[0] < WANTED_MEAN
            or self._reached[1] < WANTED_WORST
        ):
            trials = {
                name: self._mean_and_worst([*self.kept, name])
                for name in self._layers
                if name not in self.kept
            }
            best = max(trials, key=lambda name: trials[name])
            self.kept.append(best)
            self._reached = trials[best]
        return self._quantized(self.kept)

    def _mean_and_worst(self, kept: list[str]) -> tuple[float, float]:
        model = to_model(self._quantized(kept), self._opset)
        ratios = psnr(make_images(model, self._batches), self._want)
        return float(ratios.mean()), float(ratios.min())

    def _quantized(self, kept: list[str]) -> onnx.GraphProto:
        names = [name for layer in kept for name in self._layers[layer]]
        return quantize(self._graph, self._scales, names)


def latent_batches(
    seed: int, count: int, latent: int, classes: int, batch: int = BATCH
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Yield inputs for a model: `count` latents in total, with alternating classes."""
    numbers = np.arange(count) % max(classes, 1)
    each = -(-count // max(classes, 1))
    drawn = [draw_latents(seed, k, range(each), latent) for k in range(classes)] or [
        draw_latents(seed, UNCONDITIONAL, range(count), latent)
    ]
    z = np.stack([drawn[k][i // len(drawn)] for i, k in enumerate(numbers)])
    for start in range(0, count, batch):
        part: dict[str, NDArray[np.generic]] = {"z": z[start : start + batch]}
        if classes:
            part["label"] = numbers[start : start + batch].astype(np.int64)
        yield part


def make_images(model: onnx.ModelProto | bytes, batches: Batches) -> NDArray[np.uint8]:
    """Run a model; return images uint8 [N, H, W]."""
    session = open_session(model if isinstance(model, bytes) else model.SerializeToString())
    return np.concatenate([session.run(["image"], batch)[0][:, 0] for batch in batches])


def psnr(got: NDArray[np.uint8], want: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the peak signal-to-noise ratio of each image [N, H, W] in dB: 20 log10(255 / RMSE)."""
    error = np.square(got.astype(np.float64) - want).mean((1, 2))
    ratios: NDArray[np.float64] = 10 * np.log10(255**2 / np.maximum(error, 1e-12))
    return ratios.clip(max=MOST_PSNR)
