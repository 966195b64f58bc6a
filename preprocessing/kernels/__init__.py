"""Pixel kernels: equalisation, CLAHE, area shrinking, and equalisation fused with shrinking."""

from scangan.preprocessing.kernels.images import clahe as clahe
from scangan.preprocessing.kernels.images import equalize as equalize
from scangan.preprocessing.kernels.images import shrink as shrink

__all__ = ["clahe", "equalize", "shrink"]
