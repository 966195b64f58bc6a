"""Draw latents from seed, class and index, the same way in every language (docs/model-format.md)."""

import dataclasses

import numpy as np
import numpy.typing as npt

from scangan.core.errors import USAGE, GenerationError

UNCONDITIONAL = 0  # class number in the key of a model without classes
LARGEST_SEED = 2**64 - 1
LARGEST_INDEX = 2**63 - 1
LEAST_TRUNCATION = 0.001
WORDS = 4  # 64-bit words in a Philox block


@dataclasses.dataclass(frozen=True)
class Draw:
    """How to draw latents, apart from class and index.

    Parameters
    ----------
    seed : int
        Random seed, 0 to 2^64 - 1.
    truncation : float
        Factor on the latents, 0.001 to 2. Below 1, scans are more typical and less varied (the
        truncation of StyleGAN, Karras et al. 2019, on z).
    paired : bool
        Whether all classes share the latents of class 0, to make counterfactual pairs.

    Raises
    ------
    GenerationError
        A value is out of range.
    """

    seed: int = 0
    truncation: float = 1.0
    paired: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int | np.integer) or not 0 <= self.seed <= LARGEST_SEED:
            raise GenerationError(
                f"--seed {self.seed} is out of range; it takes 0 to 2^64 - 1", exit_code=USAGE
            )
        object.__setattr__(self, "seed", int(self.seed))  # JSON takes no numpy integers
        if not LEAST_TRUNCATION <= self.truncation <= 2.0:
            raise GenerationError(
                f"--truncation {self.truncation} is out of range; it takes {LEAST_TRUNCATION} to 2",
                exit_code=USAGE,
            )

    def latents(
        self, label: int, indices: npt.NDArray[np.int64] | range, length: int
    ) -> npt.NDArray[np.float32]:
        """Draw latents of a class: float32 [N, length]."""
        z = draw_latents(self.seed, UNCONDITIONAL if self.paired else label, indices, length)
        return z if self.truncation == 1.0 else z * np.float32(self.truncation)


def draw_latents(
    seed: int, label: int, indices: npt.NDArray[np.int64] | range, length: int
) -> npt.NDArray[np.float32]:
    """Draw standard normal latents.

    Philox4x64-10 (Salmon et al. 2011) with key (seed, class); block b of index i has the counter
    (b, i, 0, 0). Two words u, v of a block make two normals by Box-Muller in float64:
    ``sqrt(-2 ln a) cos(2 pi b)`` and ``sqrt(-2 ln a) sin(2 pi b)`` with
    ``a = ((u >> 11) + 1) / 2^53`` in (0, 1] and ``b = (v >> 11) / 2^53`` in [0, 1).

    Parameters
    ----------
    seed : int
        Random seed, 0 to 2^64 - 1.
    label : int
        Class number; `UNCONDITIONAL` for a model without classes.
    indices : ndarray or range
        Indices of the scans, int64 [N], 0 to 2^63 - 1.
    length : int
        Length of a latent.

    Returns
    -------
    ndarray
        float32 [N, length]. A longer latent starts with the values of a shorter one.
    """
    blocks = -(-length // WORDS)
    words = np.empty((len(indices), blocks * WORDS), np.uint64)
    # numpy's Philox increments the counter before its first block, so start one block earlier.
    bits = np.random.Philox(key=np.array([seed, label], np.uint64))
    state = bits.state
    for row, index in zip(words, indices, strict=True):
        state["state"]["counter"] = _counter_before(int(index))
        state["buffer_pos"] = WORDS  # discard words left over from the previous index
        bits.state = state
        row[:] = bits.random_raw(blocks * WORDS)
    return normals_of(words)[:, :length]


def _counter_before(index: int) -> npt.NDArray[np.uint64]:
    value = (index << 64) - 1  # block -1 of this index, which borrows from the word above
    return np.array([(value >> (64 * i)) & LARGEST_SEED for i in range(WORDS)], np.uint64)


def normals_of(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
    """Turn raw words, uint64 [N, 2 M], into standard normals, float32 [N, 2 M], by Box-Muller."""
    u, v = words[:, 0::2] >> np.uint64(11), words[:, 1::2] >> np.uint64(11)
    radius = np.sqrt(-2.0 * np.log((u.astype(np.float64) + 1.0) * 2.0**-53))
    angle = (2.0 * np.pi) * (v.astype(np.float64) * 2.0**-53)
    out = np.empty(words.shape, np.float32)
    out[:, 0::2] = radius * np.cos(angle)
    out[:, 1::2] = radius * np.sin(angle)
    return out
