"""Calls a compiled kernel when it is imported: numba takes half a second before the first."""

import numpy as np

from scangan.preprocessing.kernels import shrink

shrink(np.zeros((2, 2), np.uint16), (1, 1))
