"""The programs that an install puts on the path."""

from typing import NoReturn

from scangan.cli.command import run_and_leave


def scangan() -> NoReturn:
    """Run ``scangan VERB``."""
    from scangan.cli.front_door import main

    run_and_leave(main)


def prep_scans() -> NoReturn:
    """Run ``prep-scans``, which is ``scangan prepare``."""
    from scangan.cli.prepare import main

    run_and_leave(main)


def train_gan() -> NoReturn:
    """Run ``train-gan``, which is ``scangan train``."""
    from scangan.cli.train import main

    run_and_leave(main)


def export_onnx() -> NoReturn:
    """Run ``export-onnx``, which is ``scangan export``."""
    from scangan.cli.export import main

    run_and_leave(main)


def gen_scans() -> NoReturn:
    """Run ``gen-scans``, which is ``scangan generate``."""
    from scangan.cli.generate import main

    run_and_leave(main)
