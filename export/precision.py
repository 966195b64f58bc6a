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

PRECISIONS = ("fp32", "fp16", "int8")
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
    fewest_float: int = 0  # per generator; a model of several generators may have more
    most_float: int = 0  # the most that a generator may have

    @property
    def quantized(self) -> bool:
        """Whether the model computes in integers."""
        return self.steps[-1].name == "quantize"


def build(
    generator: Generator | GeneratorBank,
    latent: int,
    precision: str = "fp32",
    opset: int = OPSET,
    least_float: int = 0,
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
    least_float : int
        Minimum number of layers of an int8 model to leave in float: those that lose most, at most
        half of all. The last layer, with one output channel, is always in float and not counted.
    """
    by_class = isinstance(generator, GeneratorBank)
    batches: Batches = []
    if precision == "int8":
        classes = 0 if by_class else generator.classes
        batches = list(latent_batches(CALIBRATION_SEED, CALIBRATION_COUNT, latent, classes))
        graphs = to_graphs(generator, latent, opset, lambda network: match_ranges(network, batches))
        steps = [_step("fold_batchnorm, match_ranges", graphs)]
    else:
        graphs = to_graphs(generator, latent, opset)
        steps = [_step("fold_batchnorm", graphs)]
    for each in PASSES[precision]:
        graphs = [each(graph, opset) for graph in graphs]
        steps.append(_step(each.__name__, graphs))
    kept: list[list[str]] = [[]]
    most = 0
    if precision == "int8":
        most = len(layers(graphs[0])) // 2
        quantized = [_quantized(graph, batches, opset, least_float) for graph in graphs]
        graphs, kept = [graph for graph, _ in quantized], [names for _, names in quantized]
        steps.append(_step("quantize", graphs))
    return Built(
        to_model(join_parts(graphs, generator), opset),
        tuple(steps),
        tuple(dict.fromkeys(name for names in kept for name in names)),
        min(map(len, kept)),
        most,
    )


def _step(name: str, graphs: list[onnx.GraphProto]) -> Step:
    return Step(name, sum(len(g.node) for g in graphs), sum(g.ByteSize() for g in graphs))


def _quantized(
    graph: onnx.GraphProto, batches: Batches, opset: int, least_float: int
) -> tuple[onnx.GraphProto, list[str]]:
    """Return the integer graph, and the names of the layers that had to stay in float."""
    model = to_model(graph, opset)
    scales = calibrate(model, to_calibrate(graph), batches)
    compared = batches[: COMPARED // BATCH]
    want = make_images(model, compared)

    found, kept = layers(graph), list[str]()

    def quantized() -> onnx.GraphProto:
        return quantize(graph, scales, [name for layer in kept for name in found[layer]])

    def mean_and_worst() -> tuple[float, float]:
        ratios = psnr(make_images(to_model(quantized(), opset), compared), want)
        return float(ratios.mean()), float(ratios.min())

    def with_layer(name: str) -> tuple[float, float]:
        kept.append(name)
        reached = mean_and_worst()
        kept.pop()
        return reached

    reached = mean_and_worst()
    # With more than half of the layers in float, it would not be an integer model.
    while len(kept) < len(found) // 2 and (
        len(kept) < least_float or reached[0] < WANTED_MEAN or reached[1] < WANTED_WORST
    ):
        trials = {name: with_layer(name) for name in found if name not in kept}
        kept.append(max(trials, key=lambda name: trials[name]))
        reached = trials[kept[-1]]
    return quantized(), kept


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
