"""The networks of Keras that others train on such scans: VGG16, ResNet152V2 and MobileNetV2."""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.errors import EvaluationError
from scangan.evaluation.classifiers import balanced_batches

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported

import keras
import torch

NETWORKS = {"vgg16": "VGG16", "resnet152v2": "ResNet152V2", "mobilenetv2": "MobileNetV2"}
MODULES = {"vgg16": "vgg16", "resnet152v2": "resnet_v2", "mobilenetv2": "mobilenet_v2"}
BATCH, STEPS = 32, 300
RATES = {"vgg16": 1e-4, "resnet152v2": 3e-4, "mobilenetv2": 3e-4}
# Of BatchNorm's averages. With MobileNetV2's own, 0.999, they would be far from the scans after 300 steps,
# and whatever it learns, the network would name every test scan alike.
MOMENTUM = 0.9
LEAST = 32  # pixels that the networks need
# Where the processor multiplies bfloat16 itself (as in training's fast_precision), this takes half the
# time; the last layer, and all weights, stay in float32.
MIXED = any(
    getattr(torch.cpu, name, lambda: False)()
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
)


class KerasNetwork:
    """A network of ``keras.applications`` with a new last layer, all of it trained.

    Parameters
    ----------
    name : str
        ``vgg16``, ``resnet152v2`` or ``mobilenetv2``.
    weights : Path, optional
        A weights file without the last layer (``*_notop.h5``); by default it starts at random.
    steps : int
        Training steps of 32 scans, every class as often.
    """

    by_chance = True

    def __init__(self, name: str, weights: Path | None = None, steps: int = STEPS) -> None:
        if weights is not None and not weights.is_file():
            raise EvaluationError(f"{weights} is missing; give a weights file of {name}")
        self.name, self.weights, self.steps = name, weights, steps
        content = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None
        how = BATCH, steps, RATES[name], MOMENTUM, "bf16" if MIXED else "fp32"
        self.described = (
            f"{name} {content} {how} keras {keras.__version__} torch {version('torch')}"
        )

    def sees(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the scans, enlarged if they are smaller than the network takes."""
        if images.shape[1] >= LEAST:
            return images
        return np.stack([cv2.resize(image, (LEAST, LEAST)) for image in images])

    def scores(
        self,
        rows: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        test: npt.NDArray[np.uint8],
        classes: int,
        seed: int,
    ) -> npt.NDArray[np.float64]:
        """Train, and return the probability of each class."""
        keras.utils.set_random_seed(seed)
        model = self._model(rows.shape[1], classes)
        rng = np.random.default_rng(seed)
        for chosen, asked in balanced_batches(labels, classes, BATCH, self.steps, rng):
            model.train_on_batch(self.fed(rows[chosen]), asked)
        parts = [
            keras.ops.convert_to_numpy(model.predict_on_batch(self.fed(test[at : at + BATCH])))
            for at in range(0, len(test), BATCH)
        ]
        found = np.concatenate(parts).astype(np.float64)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def fed(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn scans into what the network is fed: float32 [N, H, W, 3], all channels grey.

        Pretrained weights expect the colours of their own training; at random, -1 to 1 learns best.
        """
        grey = np.repeat(rows[..., None].astype(np.float32), 3, axis=3)
        if self.weights is None:
            return grey / 127.5 - 1
        applications = getattr(keras.applications, MODULES[self.name])
        return np.asarray(applications.preprocess_input(grey), np.float32)

    def _model(self, side: int, classes: int) -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16" if MIXED else "float32")
        try:
            return self._made(side, classes)
        finally:
            keras.config.set_dtype_policy(before)

    def _made(self, side: int, classes: int) -> Any:
        base = getattr(keras.applications, NETWORKS[self.name])(
            include_top=False, weights=None, input_shape=(side, side, 3), pooling="avg"
        )
        if self.weights is not None:
            try:
                base.load_weights(self.weights)
            except (ValueError, OSError, KeyError) as error:
                raise EvaluationError(
                    f"{self.weights} does not fit {self.name}: give its weights without the last layer "
                    f"(*_notop.h5)"
                ) from error
        for layer in base.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
        head = keras.layers.Dense(classes, activation="softmax", dtype="float32")(base.output)
        model = keras.Model(base.input, head)
        rate = keras.optimizers.Adam(RATES[self.name])
        model.compile(rate, "sparse_categorical_crossentropy", jit_compile=False)
        return model


def make(
    name: str,
    *,
    threads: int | None,  # noqa: ARG001  Keras takes what torch takes
    weights: Path | None,
    steps: int | None,
) -> KerasNetwork:
    """Make the network."""
    return KerasNetwork(name, weights, steps or STEPS)
