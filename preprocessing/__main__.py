"""``prep-scans`` as a program: ``python -m scangan.preprocessing``."""

from typing import NoReturn

from scangan.preprocessing.cli import main
from scangan.runtime.console import run_and_leave


def run() -> NoReturn:
    """Run the command."""
    run_and_leave(main)


if __name__ == "__main__":
    run()
