"""Keep features and trained classifiers by content, so that they are computed once."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from scangan.core.files import written_whole

Array = npt.NDArray[np.generic]


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
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
            pass
        arrays = compute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError:  # no space or no permission: the cache only saves time
            pass
        return arrays
