"""Tune the allocator for a sequence of scans of similar size."""

import contextlib
import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next scan; for commands, not for library use.

    By default, glibc returns the buffers of a large scan to the system and gets them back page by
    page. That costs 400 page faults per radiograph, a fifth of its preparation time. Without Linux
    and glibc, this does nothing.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the maximum that glibc accepts
        mallopt(M_TRIM_THRESHOLD, 1 << 28)
