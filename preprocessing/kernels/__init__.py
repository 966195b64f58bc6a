"""Kernels over pixels: equalising, CLAHE, shrinking by areas, and equalising fused with shrinking."""

from scangan.preprocessing.kernels.images import clahe as clahe
from scangan.preprocessing.kernels.images import equalize as equalize
from scangan.preprocessing.kernels.images import shrink as shrink

__all__ = ["clahe", "equalize", "shrink"]
