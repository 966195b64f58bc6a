"""Run ``scangan`` as ``python -m scangan.cli``."""

from scangan.cli.programs import scangan

if __name__ == "__main__":
    scangan()
