"""``gen-scans`` as a program: ``python -m scangan.runtime``."""

import os
import sys
from typing import NoReturn

from scangan.runtime.cli import main
from scangan.runtime.errors import FAILED


def run() -> NoReturn:
    """Run the command, and leave without taking down what was loaded.

    By then all files are closed and all threads have ended. Unloading onnxruntime and numpy takes
    half as long as importing them, and the system frees their memory anyway.
    """
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # a daemon has none
                stream.flush()
        except OSError:  # whoever read it has gone, or the disk is full
            code = code or FAILED
    os._exit(code)


if __name__ == "__main__":
    run()
