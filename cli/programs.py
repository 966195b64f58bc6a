"""The programs that installing scangan puts on your PATH."""

from typing import NoReturn

from scangan.cli.command import run_and_leave


def scangan() -> NoReturn:
    """Run ``scangan COMMAND``."""
    from scangan.cli.front_door import main

    run_and_leave(main)


def prep_scans() -> NoReturn:
    """Run ``prep-scans``, the same as ``scangan prepare``."""
    from scangan.cli.prepare import main

    run_and_leave(main)


def train_gan() -> NoReturn:
    """Run ``train-gan``, the same as ``scangan train``."""
    from scangan.cli.train import main

    run_and_leave(main)


def export_onnx() -> NoReturn:
    """Run ``export-onnx``, the same as ``scangan export``."""
    from scangan.cli.export import main

    run_and_leave(main)


def gen_scans() -> NoReturn:
    """Run ``gen-scans``, the same as ``scangan generate``."""
    from scangan.cli.generate import main

    run_and_leave(main)


def eval_scans() -> NoReturn:
    """Run ``eval-scans``, the same as ``scangan evaluate``."""
    from scangan.cli.evaluate import main

    run_and_leave(main)


def make_phantoms() -> NoReturn:
    """Run ``make-phantoms``, the same as ``scangan phantoms``."""
    from scangan.cli.phantoms import main

    run_and_leave(main)
