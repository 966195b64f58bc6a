"""``prep-scans`` as a program: ``python -m scangan.preprocessing``."""

from typing import NoReturn

from scangan.core.terminal import run_and_leave
from scangan.preprocessing.cli import main


def run() -> NoReturn:
    """Run the command."""
    run_and_leave(main)


if __name__ == "__main__":
    run()
