"""Run the command of this folder: ``python -m scangan.training``."""

from scangan.training.cli import main

if __name__ == "__main__":
    main()
