"""``python -m scangan.cli`` is ``scangan``."""

from scangan.cli.programs import scangan

if __name__ == "__main__":
    scangan()
