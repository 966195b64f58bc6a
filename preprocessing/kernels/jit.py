"""How kernels are compiled; the only file that imports numba, and it is imported by kernels alone."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function` on its first call, without the GIL, cached on disk where that can be written.

    No ``fastmath`` (results must not depend on the processor) and no ``parallel``: it takes five
    seconds to compile, and images are spread over threads anyway.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
