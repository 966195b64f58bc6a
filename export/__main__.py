"""``export-onnx`` as a program: ``python -m scangan.export``."""

from typing import NoReturn

from scangan.core.terminal import run_and_leave
from scangan.export.cli import main


def run() -> NoReturn:
    """Run the command."""
    run_and_leave(main)


if __name__ == "__main__":
    run()
