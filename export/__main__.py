"""``export-onnx`` as a program: ``python -m scangan.export``."""

from typing import NoReturn

from scangan.export.cli import main
from scangan.runtime.console import run_and_leave


def run() -> NoReturn:
    """Run the command."""
    run_and_leave(main)


if __name__ == "__main__":
    run()
