"""Compile kernels. This is the only file that imports numba, and only kernels import it."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function` on its first call, without the GIL, and cache it on disk if possible.

    No ``fastmath``, as results must not depend on the processor. No ``parallel``, as it takes five
    seconds to compile and images run in parallel anyway.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither this folder nor the user's cache is writable
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
