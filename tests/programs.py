"""The commands, as tests call them in their own process."""

from importlib import import_module

PROGRAMS = {
    "prep-scans": "prepare",
    "train-gan": "train",
    "export-onnx": "export",
    "gen-scans": "generate",
    "eval-scans": "evaluate",
    "make-phantoms": "phantoms",
}


def main_of(program):
    """Find the click command of a program."""
    return import_module(f"scangan.cli.{PROGRAMS.get(program, 'front_door')}").main
