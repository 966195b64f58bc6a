"""Generate scans from a model file."""

import itertools
import operator
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.card import ModelCard
from scangan.artifacts.latents import LARGEST_INDEX, UNCONDITIONAL, Draw
from scangan.artifacts.request import Span
from scangan.core.counted import counted
from scangan.core.devices import CPU, choose_device
from scangan.core.errors import USAGE, GenerationError, first_line
from scangan.core.session import open_session
from scangan.core.threads import in_order, usable_cpus
from scangan.runtime import DEFAULT_MODEL
from scangan.runtime.catalog import open_model
from scangan.runtime.exclude import Suspects, suspect_indices

CPU_PIXELS, GPU_PIXELS = 1 << 17, 1 << 20  # per batch; larger batches are no faster
IN_FLIGHT = 2  # passes on a GPU: one computes while the scans of the other are fetched
Images = npt.NDArray[np.uint8]


class ScanGenerator:
    """Generate scans; each depends only on the model file, seed, class and index.

    Threads can share a generator. It runs several threads itself, each with its own batch.

    Parameters
    ----------
    model : path or str
        A model file, or the name of a bundled model.
    batch : int, optional
        Scans per pass, 1 to 65,536; the default keeps memory use small.
    threads : int, optional
        Number of threads, 1 to 1024; by default all processors that the process or its container may
        use.
    device : str
        ``auto``, ``cpu``, ``cuda``, or another onnxruntime provider; see `choose_device`.
    precision : {"auto", "fp32", "fp16", "int8"}
        Which of the model's files to use; see `open_model`.
    allow_modified : bool
        Run a graph even if it was changed after its export.

    Raises
    ------
    GenerationError
        The model file or the device cannot be used, or an option is out of range.

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
        batch: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        allow_modified: bool = False,
    ) -> None:
        if batch is not None and not (isinstance(batch, int) and 1 <= batch <= 65_536):
            raise GenerationError(
                f"--batch {batch} is out of range; it takes 1 to 65536", exit_code=USAGE
            )
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= 1024):
            raise GenerationError(
                f"--threads {threads} is out of range; it takes 1 to 1024", exit_code=USAGE
            )
        self._again = partial(
            ScanGenerator,
            model,
            batch=batch,
            threads=threads,
            device=device,
            precision=precision,
            allow_modified=allow_modified,
        )
        self.name = str(model)  # for messages: as the user gave it
        self.device = choose_device(device)
        self.file = open_model(model, self.device, precision, allow_modified=allow_modified)
        self.threads = threads or usable_cpus()
        on_cpu = self.device.provider == CPU
        # Depends only on the image size: off the CPU, all passes have this one shape.
        self._largest = max(1, (CPU_PIXELS if on_cpu else GPU_PIXELS) // self.card.size**2)
        self.batch = batch or self._largest
        # Parallel passes scale better than threads inside an operator.
        self._session = open_session(
            self.file.data, threads=1, device=self.device, name=str(self.file.path)
        )
        self._turns = BoundedSemaphore(self.threads if on_cpu else IN_FLIGHT)
        self._check_signature()

    def _check_signature(self) -> None:
        card = self.card
        inputs: list[tuple[str, str, list[int]]] = [("z", "tensor(float)", [card.latent])]
        if card.classes:
            inputs.append(("label", "tensor(int64)", []))
        wanted = [*inputs, ("image", "tensor(uint8)", [1, card.size, card.size])]
        # The first dimension is the batch, which may be anything.
        parts = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = [(p.name, p.type, list(p.shape[1:])) for p in parts]
        if found != wanted:
            raise GenerationError(
                f"{self.file.path} has {found}, not {wanted} as its card says; export it again"
            )

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.file.card

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their numbers; empty for an unconditional model."""
        return self.card.classes

    @property
    def description(self) -> str:
        """The file, device and threads in use, with the reason for a device chosen by default."""
        why = f" ({self.device.why})" if self.device.why else ""
        threads = counted(self.threads, "thread")
        return f"{self.file.path.name} on {self.device.name}{why}, {threads}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file in hexadecimal."""
        return self.file.sha256

    def class_numbers(self, wanted: Sequence[str | int]) -> tuple[int | None, ...]:
        """Turn class names or numbers into numbers; an empty sequence stands for all classes.

        A model without classes has one number, None.

        Raises
        ------
        GenerationError
            The model has no such class.
        """
        numbers = (self.card.class_number(label, self.name) for label in wanted)
        return tuple(dict.fromkeys(numbers)) or tuple(range(len(self.classes))) or (None,)

    def sample(
        self,
        count: int,
        label: str | int | None = None,
        seed: int = 0,
        start: int = 0,
        *,
        truncation: float = 1.0,
        paired: bool = False,
    ) -> Images:
        """Generate scans of one class.

        Parameters
        ----------
        count : int
            Number of scans, 0 or more.
        label : str or int, optional
            Class name or number; None for an unconditional model.
        seed : int
            Random seed, 0 to 2^64 - 1.
        start : int
            Index of the first scan: ``sample(5, start=10)`` returns the last five of ``sample(15)``.
        truncation, paired
            See `Draw`.

        Returns
        -------
        ndarray
            uint8 [count, H, W].

        Raises
        ------
        GenerationError
            The model has no such class, a value is out of range, or the model fails to run.
        """
        number, draw = self._number(label), Draw(seed, truncation, paired)
        start, count = _checked(start, count)
        out = np.empty((count, self.card.size, self.card.size), np.uint8)
        spans = (
            Span(number, at, min(self.batch, start + count - at))
            for at in range(start, start + count, self.batch)
        )
        workers = self.threads if count > self.batch else 0
        for span, images in in_order(lambda span: self.make([span], draw), spans, workers):
            out[span.start - start : span.start - start + span.count] = images
        return out

    def stream(
        self,
        count: int | None = None,
        label: str | int | None = None,
        seed: int = 0,
        start: int = 0,
        *,
        truncation: float = 1.0,
        paired: bool = False,
        exclude: str | Path | Sequence[str | Path] | None = None,
    ) -> Iterator[tuple[int, str | None, Images]]:
        """Generate scans one by one, computing a few batches ahead.

        Parameters
        ----------
        count : int, optional
            Scans per class; endless by default.
        label : str or int, optional
            Class name or number; by default all classes in turn: index 0 of each, index 1 of each...
        seed, start, truncation, paired
            See `sample`.
        exclude : path or sequence of paths, optional
            The ``suspects.jsonl`` of ``eval-scans privacy``, one or more: leave out their scans.

        Yields
        ------
        index : int
            Index of the scan in its class.
        class : str or None
            Class name; None for an unconditional model.
        image : ndarray
            uint8 [H, W].

        Raises
        ------
        GenerationError
            As `sample`, or the file to exclude is about other scans, or is not a list of suspects.
        """
        numbers: Sequence[int | None] = (
            range(len(self.classes)) if label is None and self.classes else [self._number(label)]
        )
        draw = Draw(seed, truncation, paired)
        start, count = _checked(start, count)
        files = [exclude] if isinstance(exclude, str | Path) else exclude or ()
        lists = [suspect_indices(file, self.file, draw) for file in files]
        suspects = {
            n: frozenset[int]().union(*(each.get(n, ()) for each in lists)) for n in numbers
        }
        # A generator function: it starts with the first scan, so arguments are checked here, earlier.
        return self._stream(numbers, draw, start, start + count, suspects)

    def _stream(
        self, numbers: Sequence[int | None], draw: Draw, start: int, end: int, suspects: Suspects
    ) -> Iterator[tuple[int, str | None, Images]]:
        each = max(1, self.batch // len(numbers))
        batches = (
            [Span(number, at, min(each, end - at)) for number in numbers]
            for at in range(start, end, each)
        )
        names = [None if number is None else self.classes[number] for number in numbers]
        left_out = [suspects.get(number, frozenset()) for number in numbers]
        for spans, images in in_order(lambda b: self.make(b, draw), batches, self.threads):
            by_class = images.reshape(len(spans), -1, *images.shape[1:])
            for i, (offset, name) in itertools.product(range(spans[0].count), enumerate(names)):
                index = spans[0].start + i
                if index not in left_out[offset]:
                    # A copy, so that keeping one scan does not keep its whole batch in memory.
                    yield index, name, by_class[offset, i].copy()

    def make(self, spans: Sequence[Span], draw: Draw) -> Images:
        """Generate a batch in one pass: uint8 [N, H, W], the scans of each span in order."""
        numbers = [UNCONDITIONAL if s.number is None else s.number for s in spans]
        latents = [
            draw.latents(number, span.indices, self.card.latent)
            for number, span in zip(numbers, spans, strict=True)
        ]
        labels = np.repeat(np.array(numbers, np.int64), [s.count for s in spans])
        return self._run(np.concatenate(latents), labels)

    def from_latents(self, z: npt.NDArray[np.float32], label: str | int | None = None) -> Images:
        """Generate scans of one class from your own latents, float32 [N, latent]: uint8 [N, H, W]."""
        number = self._number(label)
        return self._run(z, np.full(len(z), UNCONDITIONAL if number is None else number, np.int64))

    def _run(self, z: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Images:
        feed: dict[str, npt.NDArray[Any]] = {"z": z}
        if self.classes:
            feed["label"] = labels
        with self._turns:
            try:
                if self.device.provider == CPU:
                    image: Images = self._session.run(["image"], feed)[0]
                else:
                    image = self._run_in_one_shape(feed)
            except Exception as error:  # onnxruntime's exceptions have no other common base
                if _is_out_of_memory(error):
                    raise GenerationError(self._out_of_memory(len(z))) from error
                raise GenerationError(
                    f"{self.file.path} failed to run: {first_line(error)}"
                ) from error
        return image[:, 0]

    def _out_of_memory(self, count: int) -> str:
        """Return the error text for a pass of `count` scans that ran out of memory."""
        if self.device.provider == CPU:
            ways = [f"gen-scans --batch {count // 2}"] if count > 1 else []
            ways += ["--threads 1"] if self.threads > 1 else []
        else:  # every pass has one size there
            count, ways = self._largest, ["--device cpu"]
        ways += ["close other programs"]
        return (
            f"{self.file.path} ran out of memory with {counted(count, 'scan')} per pass; "
            f"try {', or '.join(ways)}"
        )

    def _run_in_one_shape(self, feed: dict[str, npt.NDArray[Any]]) -> Images:
        """Run fixed-size passes on a GPU: another shape may use another algorithm and round differently."""
        made = []
        for start in range(0, len(feed["z"]), self._largest):
            binding = self._session.io_binding()
            for name, values in feed.items():
                some = values[start : start + self._largest]
                # Repeat the last one: with one generator per class, no other class has to run.
                padding = [(0, self._largest - len(some)), *[(0, 0)] * (values.ndim - 1)]
                binding.bind_cpu_input(name, np.pad(some, padding, mode="edge"))
            binding.bind_output("image")
            self._session.run_with_iobinding(binding)
            made.append(binding.copy_outputs_to_cpu()[0][: len(some)])
        return np.concatenate(made)

    def _number(self, label: str | int | None) -> int | None:
        if label is not None:
            return self.card.class_number(label, self.name)
        if self.classes:
            known = ", ".join(self.classes)
            raise GenerationError(f"{self.name} needs a class; it has: {known}")
        return None

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle the arguments, so that another process opens the model again."""
        return self._again, ()

    def __enter__(self) -> "ScanGenerator":
        """Return the generator itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: no file is open, and the session is freed with the object."""


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out; onnxruntime has no exception class for that."""
    signs = ("failed to allocate", "bad_alloc", "bad allocation", "out of memory")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def _checked(start: int, count: int | None) -> tuple[int, int]:
    """Turn both into Python integers, whose sum cannot overflow; count None means all indices left."""
    try:
        start = operator.index(start)
        count = LARGEST_INDEX + 1 - start if count is None else operator.index(count)
    except TypeError as error:
        raise GenerationError(f"start and count must be whole numbers: {error}") from error
    if count < 0:
        raise GenerationError(f"count must be 0 or more, not {count}")
    if not 0 <= start <= LARGEST_INDEX or start + count - 1 > LARGEST_INDEX:
        raise GenerationError(
            f"indices must be 0 to 2^63 - 1, not {start} to {start + count - 1}", exit_code=USAGE
        )
    return start, count
