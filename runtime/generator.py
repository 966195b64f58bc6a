"""Scans from a model file, on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from scangan.runtime.card import ModelCard
from scangan.runtime.errors import USAGE, GenerationError
from scangan.runtime.latents import LARGEST_SEED, UNCONDITIONAL, draw_latents
from scangan.runtime.modelfile import read_model_file
from scangan.runtime.session import open_session

BUNDLED = Path(__file__).parent / "models"
DEFAULT_MODEL = "brain-mri-64"
DEFAULT_BATCH = 32  # larger ones are no faster on a CPU
LARGEST_INDEX = 2**63 - 1


def bundled_models() -> list[str]:
    """Names of the models that come with scangan."""
    return sorted(path.stem for path in BUNDLED.glob("*.onnx"))


def find_model(model: str | Path) -> Path:
    """Find a model file: a path, or the name of a bundled model.

    Raises
    ------
    GenerationError
        It is neither.
    """
    path = Path(model)
    if path.exists():
        return path
    if str(model) in bundled_models():
        return BUNDLED / f"{model}.onnx"
    known = ", ".join(bundled_models())
    raise GenerationError(f"{model}: no such model file; bundled models: {known}")


def check_seed(seed: int) -> None:
    """Refuse a seed that does not fit the key of the random numbers."""
    if not 0 <= seed <= LARGEST_SEED:
        raise GenerationError(
            f"--seed {seed} is out of range; it takes 0 to 2^64 - 1", exit_code=USAGE
        )


class ScanGenerator:
    """Generates scans; each is a function of (model file, seed, class, index) and of nothing else.

    Parameters
    ----------
    model : path or str
        A model file, or the name of a bundled model.
    batch : int
        Scans a pass, 1 to 65,536.
    threads : int, optional
        Threads of onnxruntime; by default all that the process may use.
    allow_modified : bool
        Run a graph that was changed after its export.

    Raises
    ------
    GenerationError
        The model file cannot be used, or an option is out of range.

    Examples
    --------
    >>> with ScanGenerator("brain-mri-64") as generator:
    ...     images = generator.sample(count=16, label="glioma_tumor", seed=0)
    >>> images.shape, images.dtype
    ((16, 64, 64), dtype('uint8'))
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        batch: int = DEFAULT_BATCH,
        threads: int | None = None,
        allow_modified: bool = False,
    ) -> None:
        if not 1 <= batch <= 65_536:
            raise GenerationError(
                f"--batch {batch} is out of range; it takes 1 to 65536", exit_code=USAGE
            )
        if threads is not None and not 1 <= threads <= 1024:
            raise GenerationError(
                f"--threads {threads} is out of range; it takes 1 to 1024", exit_code=USAGE
            )
        self._file = read_model_file(find_model(model), allow_modified=allow_modified)
        self._batch = batch
        self._session = open_session(self._file.data, threads=threads)
        self._check_signature()

    def _check_signature(self) -> None:
        card = self.card
        inputs: list[tuple[str, str, list[int]]] = [("z", "tensor(float)", [card.latent])]
        if card.classes:
            inputs.append(("label", "tensor(int64)", []))
        wanted = [*inputs, ("image", "tensor(uint8)", [1, card.size, card.size])]
        # The first dimension is the batch, which is free.
        parts = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = [(p.name, p.type, list(p.shape[1:])) for p in parts]
        if found != wanted:
            raise GenerationError(
                f"{self._file.path} has {found}, not {wanted} as its card says; export it again"
            )

    @property
    def card(self) -> ModelCard:
        """What the model file says of itself."""
        return self._file.card

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their numbers; empty for an unconditional model."""
        return self.card.classes

    @property
    def sha256(self) -> str:
        """sha256 of the model file, hexadecimal."""
        return self._file.sha256

    def sample(
        self, count: int, label: str | int | None = None, seed: int = 0, start: int = 0
    ) -> npt.NDArray[np.uint8]:
        """Generate scans of one class.

        Parameters
        ----------
        count : int
            How many.
        label : str or int, optional
            Class name or number; none for an unconditional model.
        seed : int
            0 to 2^64 - 1.
        start : int
            Index of the first scan: ``sample(5, start=10)`` are the last five of ``sample(15)``.

        Returns
        -------
        ndarray
            uint8 [count, H, W].
        """
        if count < 0:
            raise GenerationError(f"count must not be negative, not {count}")
        out = np.empty((count, self.card.size, self.card.size), np.uint8)
        done = 0
        for images in self.stream(range(start, start + count), label, seed):
            out[done : done + len(images)] = images
            done += len(images)
        return out

    def stream(
        self, indices: range, label: str | int | None = None, seed: int = 0
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Generate the scans of `indices` a batch at a time: uint8 [up to batch, H, W]."""
        number = self._number(label)
        check_seed(seed)
        if len(indices) and not (indices[0] >= 0 and indices[-1] <= LARGEST_INDEX):
            raise GenerationError(f"indices must be 0 to 2^63 - 1, not {indices}")
        for start in range(0, len(indices), self._batch):
            yield self._run(number, seed, indices[start : start + self._batch])

    def _number(self, label: str | int | None) -> int:
        if label is not None:
            return self.card.class_number(label, str(self._file.path))
        if self.classes:
            known = ", ".join(self.classes)
            raise GenerationError(f"{self._file.path} needs a class; it has: {known}")
        return UNCONDITIONAL

    def _run(self, label: int, seed: int, indices: range) -> npt.NDArray[np.uint8]:
        feed: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]] = {
            "z": draw_latents(seed, label, indices, self.card.latent)
        }
        if self.classes:
            feed["label"] = np.full(len(indices), label, np.int64)
        try:
            image: npt.NDArray[np.uint8] = self._session.run(["image"], feed)[0]
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = str(error).strip().splitlines()[0]
            raise GenerationError(f"{self._file.path} failed to run: {reason}") from error
        return image[:, 0]

    def __enter__(self) -> "ScanGenerator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open; the session goes with the object."""
