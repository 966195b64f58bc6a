"""Keep features, trained classifiers and results by content, so that they are computed once."""

import functools
import hashlib
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import platformdirs

from scangan.artifacts.records import Record, line_of, parse_record
from scangan.core.files import written_whole
from scangan.evaluation.features import FeatureExtractor

Array = npt.NDArray[np.generic]
R = TypeVar("R", bound=Record)

BLOCK = 128  # scans between two signs of progress


class Cache:
    """A folder of arrays, each named for the content that it was computed from.

    A damaged file is computed again. If the folder cannot be written, nothing is kept.

    Parameters
    ----------
    folder : path, optional
        By default the user's cache folder. It holds features of real scans: treat it as you treat
        the scans.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder else platformdirs.user_cache_path("scangan")

    def get(self, key: object, compute: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Return the arrays kept for a key, or compute and keep them.

        Parameters
        ----------
        key : object
            Everything that the arrays depend on, with a ``repr`` that tells all of it.
        compute : callable
            Returns the arrays by name.
        """
        name = hashlib.sha256(repr(key).encode()).hexdigest()
        path = self.folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as kept:  # zip keeps a CRC of each array
                return {key: kept[key] for key in kept.files}
        except (
            OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError,
            NotImplementedError, RuntimeError,  # "encrypted", or compressed in an unknown way
        ):  # fmt: skip
            pass
        arrays = compute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError:  # no space or no permission: the cache only saves time
            pass
        return arrays

    def result(self, kind: type[R], key: object, compute: Callable[[], R]) -> R:
        """Return the result kept for a key by the same code, or compute and keep it.

        Parameters
        ----------
        kind : type
            The kind of record.
        key : object
            See `get`.
        compute : callable
            Returns the record.
        """

        def text() -> dict[str, Array]:
            return {"json": np.frombuffer(line_of(compute()).encode(), np.uint8)}

        kept = self.get((kind.__name__, version("scangan"), code(), key), text)["json"]
        return parse_record(kind, np.asarray(kept, np.uint8).tobytes())

    def features(
        self,
        images: npt.NDArray[np.uint8],
        extract: FeatureExtractor,
        advance: Callable[[int], None] = lambda _: None,
    ) -> npt.NDArray[np.float32]:
        """Extract features, or read those that were kept: float32 [N, D].

        Parameters
        ----------
        images : ndarray
            uint8 [N, H, W].
        extract : FeatureExtractor
            The network.
        advance : callable
            Called with the number of scans after each block, `N` in all.
        """
        done = 0

        def compute() -> dict[str, Array]:
            nonlocal done
            found = np.empty((0, 0), np.float32)
            for start in range(0, len(images), BLOCK):
                block = extract(images[start : start + BLOCK])
                if not start:  # one array, as two would not fit where one does
                    found = np.empty((len(images), block.shape[1]), np.float32)
                found[start : start + len(block)] = block
                done += len(block)
                advance(len(block))
            return {"features": found}

        content = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
        # The package, as a file of your own is fed in another way than the same file in a package.
        network = extract.sha256, extract.network.tensor, extract.network.package
        key = ("features", code("features"), *network, images.shape, content)
        found = np.asarray(self.get(key, compute)["features"], np.float32)
        advance(len(images) - done)  # those that were kept
        return found


@functools.cache
def code(*modules: str) -> str:
    """SHA-256 of modules of this package, by default all: between two releases they change, too."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in modules] or sorted(here.rglob("*.py"))
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
